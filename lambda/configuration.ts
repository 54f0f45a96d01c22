import * as z from 'zod/mini'
import { parseTokenTable } from '../src/lib/domain/controlSecrets.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { DEFAULT_REPOSITORY, DEPLOY_WORKFLOW } from '../src/lib/domain/paths.js'

const tokenTable = z.optional(z.string().check(z.refine((text) => parseTokenTable(text) !== null)))

/** The function's environment. `AWS_REGION` is set by Lambda itself. A test compares this with the OpenTofu stack. */
export const configurationSchema = z.object({
  CONTROL_API_TOKEN: z.string().check(z.minLength(1)),
  CONTROL_API_TOKEN_PREVIOUS: z.optional(z.string()),
  /** Tables of digests: src/lib/domain/controlSecrets.ts. Read by authenticate.ts. */
  CONTROL_API_CALLER_TOKENS: tokenTable,
  CONTROL_API_READ_TOKENS: tokenTable,
  /** How many milliseconds answers of EC2, S3 and GitHub are cached for reads; 0: not at all. */
  CONTROL_API_REUSE_MS: z._default(z.string().check(z.regex(/^[0-9]{1,5}$/)), '2000'),
  /** GITHUB_TOKEN, or instead the three variables of a GitHub App. */
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
  /** Ids of the accounts whose AMIs may be deployed, with commas between them; this account's own may be in any case. */
  AMI_OWNERS: z._default(z.string().check(z.regex(/^[0-9]{12}(?:,[0-9]{12})*$/)), ''),
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

export type Env = Readonly<Record<string, string | undefined>>

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
    throw notConfigured(`GITHUB_TOKEN and ${given.join(', ')} are both set; set one of them`)
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
