import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { cleanEnvironment } from '../sandbox/environment.js'
import { Sandbox } from '../sandbox/sandbox.js'

const ROOT = fileURLToPath(new URL('../', import.meta.url)).replace(/\/$/, '')
const BIN = join(ROOT, 'bin/run.js')
const SHARED = ['anthropic-api-key', 'openai-api-key', 'github-app-key']

export interface Fleet {
  registry: string
  secretsDir: string
  repos: string
  /** Shared secrets in addition to the list. */
  extra: string[]
  clones: string[]
}

/** A registry, secrets (each instance with its own Discord and control token) and repositories of random content. */
export async function makeFleet(
  folder: string,
  size: { instances: number; secrets: number; repositories: number; bytes: number },
): Promise<Fleet> {
  const ids = Array.from({ length: size.instances }, (_, n) => `host-${n + 1}`)
  const secretsDir = join(folder, 'secrets')
  mkdirSync(secretsDir)
  const extra = Array.from({ length: size.secrets - SHARED.length - 2 }, (_, n) => `extra-${n + 1}`)
  const own = ids.flatMap((id) => [`discord-token-${id}`, `clawdinator-control-token-${id}`])
  const recipient = await identityToRecipient(await generateX25519Identity())
  for (const name of [...SHARED, ...extra, ...own]) {
    const encrypter = new Encrypter()
    encrypter.addRecipient(recipient)
    writeFileSync(join(secretsDir, `${name}.age`), await encrypter.encrypt(randomBytes(40)))
  }
  const registry = join(folder, 'instances.json')
  const entries = ids.map((id) => [
    id,
    {
      host: id,
      instanceType: 't3.large',
      bootstrapPrefix: `bootstrap/${id}`,
      discordTokenSecret: `discord-token-${id}`,
    },
  ])
  writeFileSync(registry, JSON.stringify(Object.fromEntries(entries), null, 2))
  const clones = Array.from({ length: size.repositories }, (_, n) =>
    join(folder, n === 0 ? 'clawdinators' : `repo-${n}`),
  )
  for (const clone of clones) {
    mkdirSync(clone)
    git(clone, 'init', '--quiet', '--initial-branch=main')
    commit(clone, size.bytes / size.repositories)
  }
  const repos = join(folder, 'repos.tsv')
  writeFileSync(repos, clones.map((clone) => `${clone.split('/').pop()}\tfile://${clone}\tmain\n`).join(''))
  return { registry, secretsDir, repos, extra, clones }
}

/** One more commit with files of the same total size. */
export function commit(clone: string, bytes: number): void {
  const files = Math.max(1, Math.ceil(bytes / (1024 * 1024)))
  for (let n = 0; n < files; n += 1) writeFileSync(join(clone, `file-${n}`), randomBytes(Math.ceil(bytes / files)))
  git(clone, 'add', '--all')
  git(clone, '-c', 'user.name=bench', '-c', 'user.email=bench@localhost', 'commit', '--quiet', '--message=more')
}

function git(clone: string, ...args: string[]): void {
  execFileSync('git', ['-C', clone, ...args], {
    stdio: 'ignore',
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
  })
}

export async function startSandbox(registry: string): Promise<{ sandbox: Sandbox; env: Record<string, string> }> {
  const surroundings = cleanEnvironment(process.env)
  const sandbox = await Sandbox.start({
    packageRoot: ROOT,
    checkoutRoot: ROOT,
    registryFile: registry,
    runningIds: [],
    faults: [],
    tofu: 'stand-in',
    env: surroundings,
  })
  return { sandbox, env: await sandbox.environment({ kind: 'ci' }, surroundings) }
}

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
  ms: number
  /** Peak memory of the process. */
  peakKiB: number
}

/** Runs `clawctl …`, and kills it when `killWhen` returns true. */
export async function clawctl(
  args: readonly string[],
  env: Record<string, string>,
  killWhen: () => boolean = () => false,
): Promise<Ran> {
  const started = process.hrtime.bigint()
  const child = spawn(process.execPath, [BIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ran: Ran = { code: null, stdout: '', stderr: '', ms: 0, peakKiB: 0 }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    ran.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    ran.stderr += text
  })
  const watch = setInterval(() => {
    ran.peakKiB = Math.max(ran.peakKiB, peakOf(child))
    if (killWhen()) child.kill('SIGKILL')
  }, 2)
  ran.code = await new Promise((resolve) => child.once('close', resolve))
  clearInterval(watch)
  ran.ms = Number(process.hrtime.bigint() - started) / 1e6
  return ran
}

function peakOf(child: ChildProcess): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0 // it has just ended, or this is not Linux
  }
}
