import * as z from 'zod/mini'
import { ID_PATTERN } from '../src/lib/domain/contract/index.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { parseJson } from '../src/lib/domain/json.js'
import { DEFAULT_REPOSITORY, DEPLOY_WORKFLOW } from '../src/lib/domain/paths.js'

/** Instance id → SHA-256, in hexadecimal digits, of that instance's own token. */
const callerTokensSchema = z.record(z.string().check(z.regex(ID_PATTERN)), z.string().check(z.regex(/^[0-9a-f]{64}$/i)))

/** The function's environment. `AWS_REGION` is set by Lambda itself. A test holds this against the OpenTofu stack. */
export const configurationSchema = z.object({
  CONTROL_API_TOKEN: z.string().check(z.minLength(1)),
  CONTROL_API_TOKEN_PREVIOUS: z.optional(z.string()),
  /** JSON of `callerTokensSchema`; read by authenticate.ts. */
  CONTROL_API_CALLER_TOKENS: z.optional(z.string().check(z.refine((text) => parseCallerTokens(text) !== null))),
  /** For how many milliseconds a picture of the fleet or of the runs is shown again; 0 for never. */
  CONTROL_API_REUSE_MS: z._default(z.string().check(z.regex(/^[0-9]{1,5}$/)), '2000'),
  /** Either this, or the three of a GitHub App. */
  GITHUB_TOKEN: z.optional(z.string()),
  GITHUB_APP_ID: z.optional(z.string().check(z.regex(/^[A-Za-z0-9.]{1,64}$/))),
  GITHUB_APP_INSTALLATION_ID: z.optional(z.string().check(z.regex(/^[0-9]{1,20}$/))),
  /** PEM, see parsePrivateKey. */
  GITHUB_APP_PRIVATE_KEY: z.optional(z.string()),
  GITHUB_REPO: z._default(z.string().check(z.regex(/^[A-Za-z0-9_.-]+\/[A-Za-z0-9_.-]+$/)), DEFAULT_REPOSITORY),
  GITHUB_WORKFLOW: z._default(z.string().check(z.regex(/^[A-Za-z0-9_.-]+\.ya?ml$/)), DEPLOY_WORKFLOW),
  GITHUB_REF: z._default(z.string().check(z.minLength(1)), 'main'),
  GITHUB_API_URL: z._default(z.url(), 'https://api.github.com'),
  /** Object of the bucket with the secrets among these variables: lambda/storedSecrets.ts. */
  CONTROL_API_SECRETS_KEY: z.optional(z.string()),
  /** Heartbeats and the deploys' records; without it health and hosts are unknown. */
  S3_BUCKET: z.optional(z.string()),
  AWS_REGION: z.string().check(z.minLength(1)),
})

type Variables = z.infer<typeof configurationSchema>
const APP_VARIABLES = ['GITHUB_APP_ID', 'GITHUB_APP_INSTALLATION_ID', 'GITHUB_APP_PRIVATE_KEY'] as const

export type GithubAccess =
  | { kind: 'token'; token: string }
  | { kind: 'app'; appId: string; installationId: string; privateKey: string }
export type Configuration = Omit<Variables, 'GITHUB_TOKEN' | (typeof APP_VARIABLES)[number]> & { github: GithubAccess }

/**
 * Variables of the configuration that are secrets. The platform stack leaves them out of the function's environment,
 * which would put them into its state: see docs/adr/0022.
 */
export const SECRET_NAMES = [
  'CONTROL_API_TOKEN',
  'CONTROL_API_TOKEN_PREVIOUS',
  'CONTROL_API_CALLER_TOKENS',
  'GITHUB_TOKEN',
  'GITHUB_APP_PRIVATE_KEY',
] as const

export type Env = Readonly<Record<string, string | undefined>>

/** Null for what is not such a table. */
export function parseCallerTokens(text: string | undefined): ReadonlyMap<string, string> | null {
  if (!text) return new Map()
  const parsed = callerTokensSchema.safeParse(parseJson(text))
  return parsed.success ? new Map(Object.entries(parsed.data)) : null
}

/** @throws ClawctlError NOT_CONFIGURED naming the variables, never their values */
export function readConfiguration(env: Env): Configuration {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const parsed = configurationSchema.safeParse(set)
  if (!parsed.success) {
    const names = [...new Set(parsed.error.issues.map((issue) => String(issue.path[0])))]
    throw notConfigured(`${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} missing or malformed`)
  }
  const { GITHUB_TOKEN, GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID, GITHUB_APP_PRIVATE_KEY, ...rest } = parsed.data
  return { ...rest, github: githubAccess(parsed.data) }
}

function githubAccess(variables: Variables): GithubAccess {
  const { GITHUB_TOKEN: token } = variables
  const { GITHUB_APP_ID: appId, GITHUB_APP_INSTALLATION_ID: installationId } = variables
  const { GITHUB_APP_PRIVATE_KEY: privateKey } = variables
  const given = APP_VARIABLES.filter((name) => variables[name])
  if (token && given.length > 0) {
    throw notConfigured(`GITHUB_TOKEN is set beside ${given.join(', ')}, and only one of both is to be used`)
  }
  if (token) return { kind: 'token', token }
  if (appId && installationId && privateKey) return { kind: 'app', appId, installationId, privateKey }
  const missing = APP_VARIABLES.filter((name) => !variables[name])
  if (given.length > 0)
    throw notConfigured(`${missing.join(', ')} of the GitHub App ${missing.length > 1 ? 'are' : 'is'} missing`)
  throw notConfigured(`GITHUB_TOKEN is missing, and so are ${APP_VARIABLES.join(', ')}`)
}

function notConfigured(what: string): ClawctlError {
  return new ClawctlError('NOT_CONFIGURED', `The Control API is not configured: ${what}.`, {
    hint: "Set it in the function's environment, through the platform stack.",
  })
}
