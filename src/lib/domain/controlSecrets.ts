import * as z from 'zod/mini'
import { ID_PATTERN } from './contract/patterns.js'
import { parseAs, parseJson } from './json.js'

/** The object in the fleet's bucket with the Control API's secrets: docs/adr/0022. */
export const CONTROL_SECRETS_KEY = 'control-api/secrets.json'

/** The previous version of the object. */
export const PREVIOUS_SECRETS_KEY = 'control-api/secrets.previous.json'

/** 16 characters of base64 are 96 random bits; `openssl rand -hex 32` makes 64. */
export const MIN_TOKEN_LENGTH = 16

/** The variables with a table of tokens, by what the tokens allow. */
export const TOKEN_TABLES = {
  /** Tokens of instances. */
  deploy: 'CONTROL_API_CALLER_TOKENS',
  /** Read tokens of phones and dashboards. */
  read: 'CONTROL_API_READ_TOKENS',
} as const
export type TokenScope = keyof typeof TOKEN_TABLES

/** The command that replaces a token; with `--end` it ends the rotation. */
export const rotateCommand = ({ id, scope }: { id: string; scope: TokenScope }): string =>
  `clawctl token rotate ${id}${scope === 'read' ? ' --read' : ''}`

/** Two while an owner's token is rotated. */
export const MAX_TOKENS = 2

const digest = z.string().check(z.regex(/^[0-9a-fA-F]{64}$/))
/** SHA-256 of tokens in hexadecimal digits; older tables have one text per owner. */
const tableSchema = z.record(
  z.string().check(z.regex(ID_PATTERN)),
  z.union([digest, z.array(digest).check(z.minLength(1), z.maxLength(MAX_TOKENS))]),
)

/** Owner → digests, newest first. */
export type TokenTable = ReadonlyMap<string, readonly string[]>

/** Null if the text is not a table. */
export function parseTokenTable(text: string | undefined): TokenTable | null {
  if (!text) return new Map()
  const table = parseAs(tableSchema, text)
  return table && new Map(Object.entries(table).map(([owner, digests]) => [owner, [digests].flat()]))
}

export const formatTokenTable = (table: TokenTable): string => JSON.stringify(Object.fromEntries(table))

const token = z.string().check(z.minLength(MIN_TOKEN_LENGTH, `has less than ${MIN_TOKEN_LENGTH} characters`))
const table = z
  .string()
  .check(z.refine((text) => parseTokenTable(text) !== null, 'is not JSON of ids and SHA-256 digests'))
/** PEM, or PEM in base64. */
const privateKey = z
  .string()
  .check(
    z.regex(/-----BEGIN [A-Z ]*PRIVATE KEY-----|^\s*LS0tLS1CRUdJTi/, 'is not a private key in PEM, nor one in base64'),
  )

/**
 * The variables of the Control API that are secrets. The platform stack does not put them into the function's environment,
 * because they would then be in its state. An empty one counts as absent.
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
 * The parsed object, or all problems, by names and never by values.
 * @param around the function's environment
 */
export function judgeControlSecrets(
  text: string,
  around: Readonly<Record<string, string | undefined>> = {},
): SecretsVerdict {
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
  if (github && app) problems.push('GITHUB_TOKEN and GITHUB_APP_PRIVATE_KEY are both set; set one of them')
  const [current, previous] = [secrets.CONTROL_API_TOKEN, secrets.CONTROL_API_TOKEN_PREVIOUS]
  if (current !== undefined && current === previous) problems.push('CONTROL_API_TOKEN_PREVIOUS is CONTROL_API_TOKEN')
  return problems.length > 0 ? { ok: false, problems } : { ok: true, secrets }
}
