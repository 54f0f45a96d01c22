import { mkdtempSync, rmSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { cleanEnvironment, type Role } from '../../sandbox/environment.js'
import { Sandbox } from '../../sandbox/sandbox.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { BIN, COMMAND_TIMEOUT_MS, type Ended, inThread, writeLauncher } from './commandThreads.js'
import { atEndOfFile } from './heldToContract.js'
import { ROOT } from './plane.js'

export { BIN, ROOT }

/** The sandbox's images; made up, and the same each time. */
export const OLDER_AMI = 'ami-0a1c1aad1e5000001'
export const LATEST_AMI = 'ami-0a1c1aad1e5000002'

export interface Outcome extends Ended {
  /** The one document on stdout; throws where there is anything beside it. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on what it reads
  json(): any
}

export interface Commanded {
  env?: Record<string, string | undefined>
  cwd?: string
  /** The command is meant to print a secret (`env`, say). */
  printsSecrets?: boolean
  /** `clawctl` as a process of its own, where the test is about that. */
  process?: boolean
}

/** Everything that a command, a run or the Lambda said while these tests ran, for the check at the end. */
const said: { by: string; text: string }[] = []
const secrets = new Set<string>()
const opened = new Set<Sandbox>()
/** Stories whose test may have been left out with --grep: they are waited for all the same. */
const begunStories: Promise<unknown>[] = []

/** The developer's own shell must not reach into a test. */
export function surroundings(): Record<string, string> {
  const { NODE_OPTIONS: _o, FORCE_COLOR: _f, NO_COLOR: _n, ...rest } = cleanEnvironment(process.env)
  // Nor what the developer saved with `clawctl login`.
  return { ...rest, XDG_CONFIG_HOME: '/nowhere' }
}

/** Runs a program to its end. */
export async function run(argv: readonly string[], options: Commanded = {}): Promise<Outcome> {
  const [program = '', ...args] = argv
  const result = await execa(program, args, {
    env: options.env ?? surroundings(),
    extendEnv: false,
    cwd: options.cwd ?? ROOT,
    stdin: 'ignore',
    reject: false,
    stripFinalNewline: false,
    timeout: COMMAND_TIMEOUT_MS,
  })
  return outcomeOf(argv, { code: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr }, options)
}

function outcomeOf(argv: readonly string[], ended: Ended, options: Commanded): Outcome {
  if (!options.printsSecrets) said.push({ by: argv.join(' '), text: `${ended.stdout}\n${ended.stderr}` })
  return { ...ended, json: () => JSON.parse(ended.stdout) }
}

/** `clawctl …` as built, outside any sandbox unless `env` says so. */
export async function clawctl(args: readonly string[], options: Commanded = {}): Promise<Outcome> {
  if (options.process) return run([process.execPath, BIN, ...args], options)
  const { env = surroundings(), cwd } = options
  return outcomeOf(['clawctl', ...args], await inThread({ args, env, cwd }), options)
}

export interface SandboxFlags extends Commanded {
  as?: string
  faults?: readonly string[]
  registry?: string
  running?: readonly string[]
}

/** `clawctl sandbox run … -- COMMAND`; a text is a bash script. */
export function runInSandbox(flags: SandboxFlags, command: readonly string[] | string): Promise<Outcome> {
  const argv = typeof command === 'string' ? ['bash', '-c', command] : command
  const options = [
    ...(flags.as === undefined ? [] : ['--as', flags.as]),
    ...(flags.faults ?? []).flatMap((fault) => ['--fault', fault]),
    ...(flags.registry === undefined ? [] : ['--registry', flags.registry]),
    ...(flags.running === undefined ? [] : ['--running', flags.running.join(',')]),
  ]
  return clawctl(['sandbox', 'run', ...options, '--', ...argv], { ...flags, process: true })
}

/** A sandbox in this process, whose world a test can look at and change, with the built command run against it. */
export class TestSandbox {
  readonly inner: Sandbox
  readonly #environments = new Map<string, Promise<Record<string, string>>>()
  /** One at a time: making an environment copies the checkout into the sandbox's folder. */
  #lastEnvironment: Promise<unknown> = Promise.resolve()

  private constructor(inner: Sandbox) {
    this.inner = inner
  }

  static async start(
    options: { faults?: readonly string[]; registry?: string; running?: readonly string[]; checkout?: string } = {},
  ): Promise<TestSandbox> {
    const inner = await Sandbox.start({
      packageRoot: ROOT,
      checkoutRoot: options.checkout ?? (await minimalCheckout()),
      registryFile: options.registry ?? null,
      runningIds: options.running ?? ['clawdinator-1'],
      faults: (options.faults ?? []).map(parseFault),
      tofu: 'stand-in',
      env: surroundings(),
      // A test sees what it changed in the world, however quick it is.
      reuseMs: 0,
    })
    opened.add(inner)
    if (process.platform === 'linux') {
      const { bin, toolBin } = inner.session.paths
      await writeLauncher(join(bin, 'clawctl'), 'clawctl', '[[ $GITHUB_ACTIONS != true ]]')
      await writeLauncher(join(toolBin, 'tofu'), 'tofu', '[[ "$*" == *"state push"* ]]')
    }
    const { controlToken, ci } = inner.session
    for (const secret of [controlToken, ci.AWS_SECRET_ACCESS_KEY, ci.GITHUB_TOKEN]) if (secret) secrets.add(secret)
    return new TestSandbox(inner)
  }

  get world() {
    return this.inner.world
  }

  /** Objects of the fleet's bucket. */
  get bucket() {
    return this.world.buckets.get(this.inner.session.ci.S3_BUCKET ?? '') ?? new Map()
  }

  /** How many requests a service has seen. */
  asked(service: string): number {
    return this.inner.requests.filter((request) => request.service === service).length
  }

  addFault(text: string): void {
    this.inner.faults.add(parseFault(text))
  }

  /** Runs that begin now wait in the middle, until the returned function is called. */
  hold(): () => void {
    const { options } = this.inner.github
    const step = 'opentofu/setup-opentofu'
    const install = options.actions?.[step]
    if (!install) throw new Error(`no run has ${step}`)
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const held: typeof install = async (context) => {
      await Promise.race([released, new Promise((stop) => context.signal.addEventListener('abort', stop))])
      return install(context)
    }
    Object.assign(options, { actions: { ...options.actions, [step]: held } })
    return release
  }

  /** Instances that EC2 has not terminated, as `id ami`. */
  hosts(): string[] {
    return [...this.world.instances.values()]
      .filter((instance) => instance.state !== 'terminated' && instance.state !== 'shutting-down')
      .map((instance) => `${instance.tags.get('clawdinator:id')} ${instance.imageId}`)
      .sort()
  }

  environment(as: string): Promise<Record<string, string>> {
    const role: Role = as === 'laptop' || as === 'ci' ? { kind: as } : { kind: 'instance', id: as }
    let known = this.#environments.get(as)
    if (!known) {
      known = this.#lastEnvironment.then(() => this.inner.environment(role, surroundings()))
      this.#lastEnvironment = known.catch(() => {})
      this.#environments.set(as, known)
    }
    return known
  }

  /** `clawctl …` in a role. A variable set to undefined is not there. */
  async clawctl(as: string, args: readonly string[], options: Commanded = {}): Promise<Outcome> {
    return clawctl(args, { ...options, env: { ...(await this.environment(as)), ...options.env } })
  }

  async run(as: string, argv: readonly string[], options: Commanded = {}): Promise<Outcome> {
    return run(argv, { ...options, env: { ...(await this.environment(as)), ...options.env } })
  }

  /** A request as any HTTP client could send it; a token of null sends none. */
  async request(method: string, path: string, body?: unknown, token: string | null = this.inner.session.controlToken) {
    const response = await fetch(this.inner.session.controlApiUrl + path, {
      method,
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
    })
    const text = await response.text()
    said.push({ by: `${method} ${path}`, text })
    // biome-ignore lint/suspicious/noExplicitAny: a test asserts on what it reads
    return { status: response.status, body: JSON.parse(text) as any }
  }

  async close(): Promise<void> {
    said.push({ by: "the Lambda's log", text: this.inner.lambdaLog.join('') })
    for (const { displayTitle, jobs } of this.inner.github.runs) {
      const text = jobs.flatMap((job) => [
        ...job.log.map((line) => line.text),
        ...job.steps.map((step) => step.summary),
      ])
      said.push({ by: `the log of "${displayTitle}"`, text: text.join('\n') })
    }
    opened.delete(this.inner)
    await this.inner.close()
  }
}

/** Opens a sandbox for one story and closes it whatever happens. */
export async function inSandbox<T>(
  options: Parameters<typeof TestSandbox.start>[0],
  story: (sandbox: TestSandbox) => Promise<T>,
): Promise<T> {
  const sandbox = await TestSandbox.start(options)
  try {
    return await story(sandbox)
  } finally {
    await sandbox.close()
  }
}

/** Independent stories that mostly wait: begun a few at a time before the tests, each of which awaits its own. */
export function concurrently<T extends Record<string, () => Promise<unknown>>>(
  stories: T,
  width = 4,
): { [K in keyof T]: ReturnType<T[K]> } {
  let free = width
  const waiting: (() => void)[] = []
  const begun = Object.entries(stories).map(([name, story]) => {
    const outcome = (async () => {
      if (free > 0) free -= 1
      else await new Promise<void>((resolve) => waiting.push(resolve))
      try {
        return await story()
      } finally {
        const next = waiting.shift()
        if (next) next()
        else free += 1
      }
    })()
    // The test that awaits it reports it.
    outcome.catch(() => {})
    begunStories.push(outcome)
    return [name, outcome]
  })
  return Object.fromEntries(begun)
}

/** A folder that is gone after the suite that asked for it. */
export function temporaryFolder(): { path(name: string): string; write(name: string, text: string): Promise<string> } {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-cli-test-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))
  const path = (name: string) => join(folder, name)
  return {
    path,
    async write(name, text) {
      await writeFile(path(name), text)
      return path(name)
    },
  }
}

/** A copy of what the sandbox reads of the checkout, to be changed by a test. */
export async function copyCheckout(folder: string): Promise<void> {
  for (const part of ['nix', 'infra', '.github']) await cp(join(ROOT, part), join(folder, part), { recursive: true })
  await symlink(join(ROOT, 'package.json'), join(folder, 'package.json'))
}

/** What commands and workflows write into. */
const WRITTEN = ['nix/instances.json', 'nix/hosts', 'infra/opentofu/aws/fleet']
let minimal: Promise<string> | undefined

/** One for this process, with links wherever nothing is written: each role and each run copies it. */
export function minimalCheckout(): Promise<string> {
  minimal ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-checkout-'))
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    const place = async (path: string): Promise<void> => {
      const [from, to] = [join(ROOT, path), join(folder, path)]
      if (WRITTEN.includes(path)) await cp(from, to, { recursive: true })
      else if (path !== '' && !WRITTEN.some((one) => one.startsWith(`${path}/`))) await symlink(from, to)
      else {
        await mkdir(to, { recursive: true })
        for (const name of await readdir(from)) await place(join(path, name))
      }
    }
    await place('')
    return folder
  })()
  return minimal
}

/** `{"a": entry, …}` with values that no two entries share. */
export function registryOf(ids: readonly string[]): string {
  const entries = ids.map((id) => [
    id,
    { host: id, instanceType: 't3.large', bootstrapPrefix: `bootstrap/${id}`, discordTokenSecret: `token-${id}` },
  ])
  return JSON.stringify(Object.fromEntries(entries), null, 2)
}

/** The failure's document: exactly one, in the one shape. */
export function expectFailure(outcome: Outcome, code: string, exit: number): { message: string; hint?: string } {
  const document = outcome.json()
  expect(document.error, outcome.stderr).to.include({ code })
  expect(document.ok).to.equal(false)
  expect(Object.keys(document).slice(0, 2)).to.deep.equal(['ok', 'error'])
  expect(document.error.message).to.be.a('string').and.not.equal('')
  expect(outcome.code).to.equal(exit)
  return document.error
}

/** After each file. A hook of the root suite would be one of the first file alone that a worker takes. */
atEndOfFile('no secret was ever printed', async () => {
  await Promise.allSettled(begunStories.splice(0))
  const left = opened.size
  for (const sandbox of opened) await sandbox.close()
  expect(left, 'sandboxes left open').to.equal(0)
  const forms = [/cct_[\w-]{20,}/, /gh[ps]_\w{20,}/]
  for (const { by, text } of said.splice(0)) {
    for (const secret of secrets) expect(text.includes(secret), `a secret in the output of: ${by}`).to.equal(false)
    for (const form of forms) expect(form.test(text), `${form} in the output of: ${by}`).to.equal(false)
  }
})
