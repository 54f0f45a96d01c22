import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

export type Role = { kind: 'laptop' } | { kind: 'ci' } | { kind: 'instance'; id: string }

/** Variables of the caller's environment that must not leak into the sandbox. */
const FOREIGN_PREFIXES = ['AWS', 'CLAWDINATOR', 'CLAWCTL', 'GITHUB', 'ACTIONS', 'RUNNER', 'TF', 'TOFU', 'OTEL']
const FOREIGN_NAMES = ['CI', 'S3_BUCKET']
const FOREIGN = new RegExp(`^(?:${FOREIGN_PREFIXES.join('|')})_|^(?:${FOREIGN_NAMES.join('|')})$`)

/** The same for a shell, whose variables are not known here. */
export const UNSET_FOREIGN = `unset $(env | sed -nE 's/^((${FOREIGN_PREFIXES.join('|')})_[A-Za-z0-9_]*|${FOREIGN_NAMES.join('|')})=.*/\\1/p')`

/** Settings shared by all commands of one sandbox; written to the session file, so that others can join. */
export interface SessionPaths {
  /** The sandbox's folder. */
  folder: string
  /** Folder with `clawctl`. */
  bin: string
  /** Folder with `tofu`, for the direct plane only. */
  toolBin: string
  sessionFile: string
}

export interface Session {
  paths: SessionPaths
  checkoutRoot: string
  registryFile: string | null
  controlApiUrl: string
  controlToken: string
  /** The token of each instance that had one at the start; the others use the shared one. */
  hostTokens: Record<string, string>
  /** The direct plane: region, bucket, endpoints, credentials, GitHub. */
  ci: Record<string, string>
  /** Endpoint for adding faults. */
  adminUrl: string
  adminToken: string
  pid: number
}

/** The environment without variables of a real fleet. */
export function cleanEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined || FOREIGN.test(name) ? [] : [[name, value]])),
  )
}

/**
 * The environment of a command in its role. A laptop and an instance get the Control API's URL and token, GitHub to open pull
 * requests, and no AWS variable; `ci` gets AWS and OpenTofu. Each has its own clone of the branch: its
 * edits there are not deployed, and the user's checkout is not changed.
 */
export async function environmentFor(
  role: Role,
  session: Session,
  surroundings: NodeJS.ProcessEnv,
  copyCheckout: (folder: string) => Promise<void>,
): Promise<Record<string, string>> {
  const { paths } = session
  const base = cleanEnvironment(surroundings)
  const path = (...folders: string[]) => [...folders, base.PATH ?? ''].join(delimiter)
  const common = { ...base, CLAWCTL_SANDBOX: paths.sessionFile, PATH: path(paths.bin) }
  const checkout = await branchFolder(session, copyCheckout)
  if (role.kind === 'instance') {
    return {
      ...common,
      ...githubOf(session),
      CLAWCTL_HOST_ROOT: await hostRoot(role.id, session),
      CLAWCTL_CHECKOUT: checkout,
    }
  }
  const host = join(paths.folder, 'hosts', '.none')
  if (role.kind === 'laptop') {
    return {
      ...common,
      ...githubOf(session),
      CLAWCTL_CHECKOUT: checkout,
      CLAWCTL_HOST_ROOT: host,
      CLAWDINATOR_CONTROL_API_URL: session.controlApiUrl,
      CLAWDINATOR_CONTROL_TOKEN_FILE: await tokenFile(session),
    }
  }
  return {
    ...common,
    ...session.ci,
    PATH: path(paths.toolBin, paths.bin),
    CLAWCTL_HOST_ROOT: host,
    CLAWCTL_MODE: 'ci',
    AWS_DEFAULT_REGION: session.ci.AWS_REGION ?? '',
    RUNNER_TEMP: await scratch(session),
    CLAWCTL_CHECKOUT: checkout,
  }
}

/** The token that a host gets from the GitHub App; a laptop gets it, too. */
function githubOf({ ci }: Session): Record<string, string> {
  const { GITHUB_TOKEN = '', GITHUB_API_URL = '', GITHUB_REPOSITORY = '' } = ci
  return { GITHUB_TOKEN, GITHUB_API_URL, GITHUB_REPO: GITHUB_REPOSITORY }
}

/** Like a runner's temporary folder; removed with the sandbox. */
async function scratch(session: Session): Promise<string> {
  const folder = join(session.paths.folder, 'scratch')
  await mkdir(folder, { recursive: true })
  return folder
}

async function tokenFile(session: Session): Promise<string> {
  const file = join(session.paths.folder, 'control-token')
  await writeFile(file, `${session.controlToken}\n`, { mode: 0o600 })
  return file
}

/** A clone of the branch, with the sandbox's registry: `registry add` and OpenTofu write there. */
async function branchFolder(session: Session, copy: (folder: string) => Promise<void>): Promise<string> {
  const folder = await mkdtemp(join(session.paths.folder, 'branch-'))
  await copy(folder)
  return folder
}

/** The files that a booted host has: its name, the Control API's URL, and the token that agenix decrypts. */
async function hostRoot(id: string, session: Session): Promise<string> {
  const root = join(session.paths.folder, 'hosts', id)
  await mkdir(join(root, 'etc/clawdinator'), { recursive: true })
  await mkdir(join(root, 'run/agenix'), { recursive: true })
  await writeFile(join(root, 'etc/clawdinator/instance-name'), `${id}\n`)
  await writeFile(join(root, 'etc/clawdinator/control-api-url'), `${session.controlApiUrl}\n`)
  await writeFile(
    join(root, 'run/agenix/clawdinator-control-token'),
    `${session.hostTokens[id] ?? session.controlToken}\n`,
    {
      mode: 0o600,
    },
  )
  return root
}

/** Quotes a text as one word of a POSIX shell. */
export const shellQuote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** `clawctl` and `tofu` as programs in PATH. */
export async function writePrograms(
  paths: SessionPaths,
  programs: { clawctl: string; tofu: { kind: 'script' | 'program'; path: string } },
): Promise<void> {
  await mkdir(paths.bin, { recursive: true })
  await mkdir(paths.toolBin, { recursive: true })
  const launcher = (script: string) => `#!/bin/sh\nexec ${shellQuote(process.execPath)} ${shellQuote(script)} "$@"\n`
  await writeFile(join(paths.bin, 'clawctl'), launcher(programs.clawctl), { mode: 0o755 })
  const tofu = join(paths.toolBin, 'tofu')
  if (programs.tofu.kind === 'program') await symlink(programs.tofu.path, tofu)
  else await writeFile(tofu, launcher(programs.tofu.path), { mode: 0o755 })
}
