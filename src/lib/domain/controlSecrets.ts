import * as z from 'zod/mini'
import { ID_PATTERN } from './contract/patterns.js'
import { parseJson } from './json.js'

/** The object in the fleet's bucket that the Control API reads its secrets from: docs/adr/0022. */
export const CONTROL_SECRETS_KEY = 'control-api/secrets.json'

/** What the object was before its last change. */
export const PREVIOUS_SECRETS_KEY = 'control-api/secrets.previous.json'

/** 16 characters of base64 are 96 random bits; `openssl rand -hex 32` makes 64. */
export const SHORTEST_TOKEN = 16

/** The variables that hold a table of tokens: whose each is, and what it opens. */
export const TOKEN_TABLES = {
  /** Of instances: each deploys as itself. */
  deploy: 'CONTROL_API_CALLER_TOKENS',
  /** Of phones and dashboards: they look, and change nothing. */
  read: 'CONTROL_API_READ_TOKENS',
} as const
export type TokenScope = keyof typeof TOKEN_TABLES

/** The command that replaces a token; with `--end` it ends the rotation. */
export const rotateCommand = ({ id, scope }: { id: string; scope: TokenScope }): string =>
  `clawctl token rotate ${id}${scope === 'read' ? ' --read' : ''}`

/** Two of one owner while its token is rotated. */
export const MOST_TOKENS = 2

const digest = z.string().check(z.regex(/^[0-9a-fA-F]{64}$/))
/** SHA-256 of tokens in hexadecimal digits; older tables have one text for each owner. */
const tableSchema = z.record(
  z.string().check(z.regex(ID_PATTERN)),
  z.union([digest, z.array(digest).check(z.minLength(1), z.maxLength(MOST_TOKENS))]),
)

/** Owner → digests, newest first. */
export type TokenTable = ReadonlyMap<string, readonly string[]>

/** Null for what is not such a table. */
export function parseTokenTable(text: string | undefined): TokenTable | null {
  if (!text) return new Map()
  const parsed = tableSchema.safeParse(parseJson(text))
  if (!parsed.success) return null
  return new Map(Object.entries(parsed.data).map(([owner, digests]) => [owner, [digests].flat()]))
}

export const formatTokenTable = (table: TokenTable): string => JSON.stringify(Object.fromEntries(table))

const token = z.string().check(z.minLength(SHORTEST_TOKEN, `has less than ${SHORTEST_TOKEN} characters`))
const table = z
  .string()
  .check(z.refine((text) => parseTokenTable(text) !== null, 'is no JSON of ids and SHA-256 digests'))
/** PEM, or PEM in base64, which begins so. */
const privateKey = z
  .string()
  .check(
    z.regex(/-----BEGIN [A-Z ]*PRIVATE KEY-----|^\s*LS0tLS1CRUdJTi/, 'is no private key in PEM, nor one in base64'),
  )

/**
 * The variables of the Control API that are secrets. The platform stack leaves them out of the function's environment,
 * which would put them into its state. Empty is as good as absent.
 */
const FIELDS = {
  CONTROL_API_TOKEN: token,
  CONTROL_API_TOKEN_PREVIOUS: token,
  CONTROL_API_CALLER_TOKENS: table,
  CONTROL_API_READ_TOKENS: table,
  GITHUB_TOKEN: token,
  GITHUB_APP_PRIVATE_KEY: privateKey,
} as const

export type SecretName = keyof typeof FIELDS
export const SECRET_NAMES = Object.keys(FIELDS) as SecretName[]
export type StoredSecrets = { [Name in SecretName]?: string }

export type SecretsVerdict = { ok: true; secrets: StoredSecrets } | { ok: false; problems: string[] }

/**
 * The whole object, or everything that is wrong with it, by names and never by values.
 * @param around what the function's environment sets itself
 */
export function judgeSecrets(text: string, around: Readonly<Record<string, string | undefined>> = {}): SecretsVerdict {
  const data = parseJson(text)
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return { ok: false, problems: ['it is not one JSON object'] }
  }
  const problems: string[] = []
  const secrets: StoredSecrets = {}
  for (const [name, value] of Object.entries(data)) {
    const schema = FIELDS[name as SecretName]
    if (!Object.hasOwn(FIELDS, name)) problems.push(`${JSON.stringify(name.slice(0, 40))} is not one of the names`)
    else if (typeof value !== 'string') problems.push(`${name} is not text`)
    else if (value !== '') {
      const parsed = schema.safeParse(value)
      if (parsed.success) secrets[name as SecretName] = value
      else problems.push(`${name} ${parsed.error.issues[0]?.message ?? 'is malformed'}`)
    }
  }
  const has = (name: SecretName) =>
    Boolean(secrets[name] ?? around[name]) || problems.some((one) => one.startsWith(name))
  if (!has('CONTROL_API_TOKEN')) problems.push('CONTROL_API_TOKEN is missing')
  const [github, app] = [has('GITHUB_TOKEN'), has('GITHUB_APP_PRIVATE_KEY')]
  if (!github && !app) problems.push('GITHUB_TOKEN is missing, and so is GITHUB_APP_PRIVATE_KEY')
  if (github && app)
    problems.push('GITHUB_TOKEN is set beside GITHUB_APP_PRIVATE_KEY, and only one of both is to be used')
  const [current, previous] = [secrets.CONTROL_API_TOKEN, secrets.CONTROL_API_TOKEN_PREVIOUS]
  if (current !== undefined && current === previous) problems.push('CONTROL_API_TOKEN_PREVIOUS is CONTROL_API_TOKEN')
  return problems.length > 0 ? { ok: false, problems } : { ok: true, secrets }
}
