import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { IDENTITIES, type IdentityText, ORDER_INPUTS, STRATEGIES } from '../domain/contract/order.js'
import { ID_PATTERN } from '../domain/contract/patterns.js'
import { runReference } from '../domain/deploy/stateLock.js'
import { ClawctlError } from '../domain/errors.js'
import { DEFAULT_REPOSITORY, DEPLOY_WORKFLOW, FLEET_STATE_KEY, REGISTRY_PATH } from '../domain/paths.js'
import { type FindKeychain, readSaved, readSavedToken, savedFiles } from './savedSettings.js'

/**
 * Settings of the command: from flags, environment and the host's files; the first found wins.
 * `CLAWCTL_HOST_ROOT` is put before /etc and /run, for the sandbox and for tests.
 */

export type Mode = 'agent' | 'ci'
export type Env = Readonly<Record<string, string | undefined>>

const INSTANCE_NAME_FILE = '/etc/clawdinator/instance-name'
const URL_FILE = '/etc/clawdinator/control-api-url'
const TOKEN_FILE = '/run/agenix/clawdinator-control-token'

/** An empty variable is an unset one: workflows pass optional inputs as "". */
export function read(env: Env, name: string): string | undefined {
  const value = env[name]?.trim()
  return value ? value : undefined
}

function hostFile(env: Env, path: string): { path: string; text: string | null } {
  const [full, text] = hostSource(env, path)
  return { path: full, text: text() ?? null }
}

/** Null if the file does not exist. @throws ClawctlError NOT_CONFIGURED if it exists but can't be read */
function fileText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new ClawctlError('NOT_CONFIGURED', `${path} can't be read (${code}).`, {
      hint: `Let the user that runs clawctl read ${path}.`,
    })
  }
}

/**
 * The instance id of this machine, or the one set in CI; null on a laptop.
 * @throws ClawctlError NOT_CONFIGURED for an invalid id: a host without a valid id must not count as a person
 */
export function callerOf(env: Env): string | null {
  const file = hostFile(env, INSTANCE_NAME_FILE)
  const name = file.text ?? read(env, 'CLAWDINATOR_INSTANCE_NAME') ?? null
  if (name !== null && !ID_PATTERN.test(name)) {
    const from = file.text === null ? 'CLAWDINATOR_INSTANCE_NAME' : file.path
    throw new ClawctlError('NOT_CONFIGURED', `${from} holds ${JSON.stringify(name)}, which is not an instance id.`, {
      hint: `Write the instance's id into it, such as clawdinator-1.`,
    })
  }
  return name
}

/** The identity that the Control API wrote into the inputs of the run. Without it, caller and requester are claimed. */
export function requesterIdentity(env: Env): IdentityText | undefined {
  const text = read(env, ORDER_INPUTS.identity.variable)
  return IDENTITIES.find((identity) => identity === text)
}

/** @throws ClawctlError USAGE, ON_AGENT_HOST */
export function modeOf(env: Env, flag: string | undefined): Mode {
  const asked = flag ?? read(env, 'CLAWCTL_MODE')
  if (asked !== undefined && asked !== 'agent' && asked !== 'ci') {
    throw new ClawctlError('USAGE', `CLAWCTL_MODE is ${JSON.stringify(asked)}; it must be agent or ci.`, {
      hint: 'Unset it, or set CLAWCTL_MODE=agent.',
    })
  }
  const mode = asked ?? (env.GITHUB_ACTIONS === 'true' || env.CI === 'true' ? 'ci' : 'agent')
  if (mode === 'ci') {
    const file = hostFile(env, INSTANCE_NAME_FILE)
    if (file.text !== null) {
      throw new ClawctlError('ON_AGENT_HOST', `This is a fleet host (${file.path} exists), where ci mode is refused.`, {
        hint: 'Unset CLAWCTL_MODE, CI and GITHUB_ACTIONS, or drop --mode ci: the Control API can do the same without AWS credentials.',
      })
    }
  }
  return mode
}

/** Addresses of webhooks, separated by blanks or lines, or null. They are secrets. */
export const webhooks = (env: Env): string | null => read(env, 'CLAWCTL_WEBHOOKS') ?? null

/** The Control API's URL and its source. @throws ClawctlError NOT_CONFIGURED */
export function controlApiUrl(env: Env, flag: string | undefined): { url: string; from: string } {
  const file = hostSource(env, URL_FILE)
  const { value: url, from } = firstFound([
    ['--control-api-url', () => flag],
    ['CLAWDINATOR_CONTROL_API_URL', () => read(env, 'CLAWDINATOR_CONTROL_API_URL')],
    file,
    [savedFiles(env).config, () => readSaved(env)?.controlApiUrl],
  ])
  if (!url) {
    throw new ClawctlError('NOT_CONFIGURED', "The Control API's URL is not known.", {
      hint: `Run \`clawctl login\`, set CLAWDINATOR_CONTROL_API_URL to the Function URL (https://….lambda-url.REGION.on.aws/), or write it into ${file[0]}.`,
    })
  }
  checkUrl(url, from)
  return { url, from }
}

type Source = readonly [from: string, read: () => string | null | undefined]

/** The first source that has a value; without one, `from` is the last. */
function firstFound(sources: readonly Source[]): { value: string | null; from: string } {
  let from = ''
  for (const [name, read] of sources) {
    from = name
    const value = read()
    if (value !== null && value !== undefined) return { value, from }
  }
  return { value: null, from }
}

function hostSource(env: Env, path: string): Source {
  const full = join(read(env, 'CLAWCTL_HOST_ROOT') ?? '/', path)
  return [full, () => fileText(full)]
}

/** A bearer token must not be sent in plaintext. @throws ClawctlError NOT_CONFIGURED */
export function checkUrl(url: string, from: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : null
  const loopback = parsed && ['127.0.0.1', '[::1]', 'localhost'].includes(parsed.hostname)
  const secure = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && loopback)
  if (secure && !parsed.username && !parsed.password) return
  throw new ClawctlError(
    'NOT_CONFIGURED',
    `${from} does not hold the URL of a Control API: it must begin with https:// and contain no user.`,
    {
      hint: 'Copy the Function URL from the output of the platform stack.',
    },
  )
}

/**
 * The token and where it was found.
 * @param url a saved token is only used for the saved URL
 * @throws ClawctlError NOT_CONFIGURED
 */
export async function controlToken(
  env: Env,
  url: string | null,
  findKeychain: FindKeychain,
): Promise<{ token: string; from: string }> {
  const named = read(env, 'CLAWDINATOR_CONTROL_TOKEN_FILE')
  const agenix = hostSource(env, TOKEN_FILE)
  const given = firstFound([
    ...(named ? [[named, () => fileText(named)] as const] : []),
    ['CLAWDINATOR_CONTROL_TOKEN', () => read(env, 'CLAWDINATOR_CONTROL_TOKEN')],
    agenix,
  ])
  const saved = given.value === null ? await readSavedToken(env, url, findKeychain) : null
  const { token, from } = saved ?? { token: given.value, from: given.from }
  if (!token) {
    const missing = named && fileText(named) === null ? ` (${named} does not exist)` : ''
    throw new ClawctlError('NOT_CONFIGURED', `The control token is not known${missing}.`, {
      hint: `Run \`clawctl login\`, or write the token into a file and set CLAWDINATOR_CONTROL_TOKEN_FILE to its path, or set CLAWDINATOR_CONTROL_TOKEN; on a host, agenix writes it to ${agenix[0]}.`,
    })
  }
  checkToken(token, from)
  return { token, from }
}

/** @throws ClawctlError NOT_CONFIGURED, without the token */
export function checkToken(token: string, from: string): void {
  if (/^[\x21-\x7e]+$/.test(token)) return
  throw new ClawctlError('NOT_CONFIGURED', `${from} has characters that a control token can't have.`, {
    hint: 'It must hold only the decrypted token, on one line.',
  })
}

/** The saved name; not on a fleet host, where each request must name its requester. */
export const savedName = (env: Env): string | undefined =>
  callerOf(env) === null ? readSaved(env)?.requestedBy : undefined

export interface DirectSettings {
  region: string
  bucket: string
}

/** @throws ClawctlError NOT_CONFIGURED */
export function directSettings(env: Env): DirectSettings {
  return {
    region: required(env, ['AWS_REGION', 'AWS_DEFAULT_REGION'], "the fleet's region, such as eu-central-1"),
    bucket: required(env, ['S3_BUCKET'], "the name of the fleet's bucket"),
  }
}

/** Default strategy for replacing hosts. @throws ClawctlError NOT_CONFIGURED */
export function deployStrategy(env: Env): (typeof STRATEGIES)[number] {
  const value = read(env, 'FLEET_DEPLOY_STRATEGY') ?? 'handover'
  const known = STRATEGIES.find((strategy) => strategy === value)
  if (known) return known
  throw new ClawctlError('NOT_CONFIGURED', 'FLEET_DEPLOY_STRATEGY is neither handover nor replace.', {
    hint: 'Correct the repository variable DEPLOY_STRATEGY, or remove it.',
  })
}

/** Other accounts whose AMIs may be deployed. */
export const amiOwners = (env: Env) =>
  (read(env, 'CLAWCTL_AMI_OWNERS') ?? '').split(',').flatMap((id) => id.trim() || [])

/** Variables of the stack with a default, by the setting that overrides it. */
const OPTIONAL_STACK_VARS = {
  kms_key_arn: 'FLEET_KMS_KEY_ARN',
  memory_security_group_id: 'FLEET_MEMORY_SECURITY_GROUP_ID',
  permissions_boundary_arn: 'FLEET_PERMISSIONS_BOUNDARY_ARN',
  vpc_id: 'FLEET_VPC_ID',
  subnet_id: 'FLEET_SUBNET_ID',
  root_volume_gib: 'FLEET_ROOT_VOLUME_GIB',
}

/** Backend and variables of the fleet stack. @throws ClawctlError NOT_CONFIGURED */
export function fleetStack(env: Env, aws: DirectSettings) {
  const lockTable = read(env, 'TOFU_LOCK_TABLE')
  const ownS3 = read(env, 'AWS_ENDPOINT_URL_S3') ?? read(env, 'AWS_ENDPOINT_URL')
  return {
    backendConfig: {
      bucket: aws.bucket,
      key: FLEET_STATE_KEY,
      region: aws.region,
      ...(lockTable ? { dynamodb_table: lockTable } : {}),
      // A custom endpoint (an emulator, for example) rarely has a host name per bucket.
      ...(ownS3 ? { use_path_style: 'true' } : {}),
    },
    vars: {
      bucket: aws.bucket,
      region: aws.region,
      control_api_url: required(env, ['CLAWDINATOR_CONTROL_API_URL'], "the Control API's URL, which new hosts get"),
      ...Object.fromEntries(
        Object.entries(OPTIONAL_STACK_VARS).flatMap(([name, setting]) => {
          const value = read(env, setting)
          return value === undefined ? [] : [[name, value]]
        }),
      ),
    },
  }
}

/** VPC of the fleet stack; null for the account's default. */
export const fleetVpc = (env: Env) => read(env, OPTIONAL_STACK_VARS.vpc_id) ?? null

/** The place of the state's lock, and the run that takes it. */
export function stateLock(env: Env): { key: string; table: string | null; run: string } {
  const { url, attempt } = workflowRun(env)
  const run = url === null ? '' : runReference(url, attempt)
  return { key: FLEET_STATE_KEY, table: read(env, 'TOFU_LOCK_TABLE') ?? null, run }
}

/** The token that the runner gives a job. @throws ClawctlError NOT_CONFIGURED */
export const githubToken = (env: Env) => required(env, ['GITHUB_TOKEN'], 'a token that may read actions')

/** A token that may push branches and open pull requests. @throws ClawctlError NOT_CONFIGURED */
export const pushToken = (env: Env, repository: string) =>
  required(
    env,
    ['GITHUB_TOKEN'],
    `a token with contents: write and pull_requests: write on ${repository}, or name a GitHub App with GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID and GITHUB_APP_PRIVATE_KEY_FILE`,
  )

export const githubApiUrl = (env: Env) => read(env, 'GITHUB_API_URL') ?? 'https://api.github.com'

/** @throws ClawctlError NOT_CONFIGURED naming the variable */
function ownerAndName(variable: string, value: string): { owner: string; repo: string } {
  const [, owner = '', repo = ''] = /^([\w.-]+)\/([\w.-]+)$/.exec(value) ?? []
  if (owner) return { owner, repo }
  const message = `${variable} is ${JSON.stringify(value)}, which is not of the form owner/name.`
  throw new ClawctlError('NOT_CONFIGURED', message, { hint: `Set it as in ${variable}=${DEFAULT_REPOSITORY}.` })
}

/** GitHub's settings in a CI job. @throws ClawctlError NOT_CONFIGURED */
export function githubSettings(env: Env) {
  const repository = required(env, ['GITHUB_REPOSITORY'], 'owner/name of the repository')
  return {
    apiUrl: githubApiUrl(env),
    ...ownerAndName('GITHUB_REPOSITORY', repository),
    workflow: DEPLOY_WORKFLOW,
    ref: read(env, 'GITHUB_REF_NAME') ?? 'main',
  }
}

/**
 * The repository that pull requests go to, with `base`, the branch to merge into; null for its default branch.
 * @throws ClawctlError NOT_CONFIGURED
 */
export function pullRequestSettings(env: Env) {
  const named = read(env, 'GITHUB_REPO')
  const [variable, repository] =
    named === undefined
      ? ['GITHUB_REPOSITORY', read(env, 'GITHUB_REPOSITORY') ?? DEFAULT_REPOSITORY]
      : ['GITHUB_REPO', named]
  const ref = read(env, 'GITHUB_REF')?.replace(/^refs\/heads\//, '') ?? null
  return {
    apiUrl: githubApiUrl(env),
    ...ownerAndName(variable, repository),
    // A run of a tag or a pull request has no branch.
    base: ref?.startsWith('refs/') ? null : ref,
  }
}

/** What uploads of bundles read from the environment. */
export function uploadSettings(env: Env) {
  return {
    kmsKey: read(env, 'FLEET_KMS_KEY_ARN'),
    /** For clones from GitHub. */
    githubToken: read(env, 'GITHUB_TOKEN'),
    /** Commit of the checkout, from the workflow. */
    revision: read(env, 'GITHUB_SHA') ?? null,
  }
}

function required(env: Env, names: readonly [string, ...string[]], what: string): string {
  for (const name of names) {
    const value = read(env, name)
    if (value !== undefined) return value
  }
  const onLaptop = env.CI === 'true' && env.GITHUB_ACTIONS !== 'true' && read(env, 'CLAWCTL_MODE') === undefined
  const why = onLaptop ? ' CI=true selected ci mode. To use the Control API instead, unset CI or add --mode agent.' : ''
  throw new ClawctlError('NOT_CONFIGURED', `${names.join(' or ')} is not set.`, {
    hint: `Set ${names[0]} to ${what}.${why}`,
  })
}

/** The checkout of nix-secrets: `--secrets-dir`, else CLAWCTL_SECRETS_DIR. */
export function secretsDir(env: Env, flag: string | undefined): string | null {
  return flag ?? read(env, 'CLAWCTL_SECRETS_DIR') ?? null
}

/** The workflow run that this process belongs to. */
export function workflowRun(env: Env): { id: number | null; url: string | null; attempt: number } {
  const id = Number(read(env, 'GITHUB_RUN_ID'))
  if (!Number.isSafeInteger(id) || id <= 0) return { id: null, url: null, attempt: 1 }
  const server = read(env, 'GITHUB_SERVER_URL') ?? 'https://github.com'
  const attempt = Math.max(1, Math.trunc(Number(read(env, 'GITHUB_RUN_ATTEMPT') ?? 1)) || 1)
  return { id, attempt, url: `${server}/${read(env, 'GITHUB_REPOSITORY') ?? ''}/actions/runs/${id}` }
}

/**
 * The checkout that the command works on: CLAWCTL_CHECKOUT, else the nearest folder upwards with a registry.
 * Null if there is none.
 */
export function findCheckout(env: Env, from: string): string | null {
  const named = read(env, 'CLAWCTL_CHECKOUT')
  if (named !== undefined) return resolve(from, named)
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    if (fileText(join(folder, REGISTRY_PATH)) !== null) return folder
    if (dirname(folder) === folder) return null
  }
}
