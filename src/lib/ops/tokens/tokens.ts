import { CONTROL_TOKEN, MAINTAINERS } from '../../domain/bundles/secrets.js'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import {
  CONTROL_SECRETS_KEY,
  formatTokenTable,
  judgeSecrets,
  MOST_TOKENS,
  parseTokenTable,
  rotateCommand,
  type StoredSecrets,
  TOKEN_TABLES,
  type TokenScope,
  type TokenTable,
} from '../../domain/controlSecrets.js'
import { ClawctlError } from '../../domain/errors.js'
import { nearest } from '../../domain/nearest.js'
import { findEntry, type Registry } from '../../domain/registry/registry.js'
import type { AgeKeys, SecretsFolder } from '../bundles/ports.js'
import { recipientsOf } from '../bundles/rekey.js'
import { changeObject } from '../changeObject.js'
import type { ObjectStore } from '../ports.js'

/** Where a new token goes: encrypted into the checkout of nix-secrets, or into a file for a person. */
export interface TokenPlace {
  /** What is to be said about where it lies. */
  write(id: string, token: string): Promise<string>
}

export interface NewToken {
  token: string
  /** In hexadecimal digits. */
  sha256: string
}

export interface TokenPorts {
  store: ObjectStore
  tokenPlace: TokenPlace
  newToken(): NewToken
}

export interface TokenChange {
  id: string
  scope: TokenScope
  /** How many tokens of this id are accepted now. */
  accepted: number
  /** Where the new token lies; null where none was made. */
  written: string | null
}

/** For a host: `clawdinator-control-token-<id>.age`, which its next bundle has instead of the shared one. */
export function encryptedFor(ports: { secrets: SecretsFolder; keys: AgeKeys; registry: Registry }): TokenPlace {
  return {
    async write(id, token) {
      mustBeRegistered(id, ports.registry)
      const { recipients } = await ports.secrets.read()
      const readers = [...recipientsOf(MAINTAINERS, recipients), ...recipientsOf(id, recipients)]
      const file = `${CONTROL_TOKEN.ownNameFor?.({ id })}.age`
      const bytes = await ports.keys.encrypt(new TextEncoder().encode(token), [...new Set(readers)])
      await ports.secrets.write(new Map([[file, bytes]]))
      return file
    },
  }
}

/**
 * Makes a token and has it accepted, beside the one before while it is rotated. Written to its place first: killed in
 * between, it is asked again, and what is accepted was never less.
 * @param rotate the id has one
 * @throws ClawctlError USAGE, NOT_CONFIGURED, INVALID_SECRETS; then nothing is accepted that was not before
 */
export async function makeToken(
  { id, scope, rotate }: { id: string; scope: TokenScope; rotate: boolean },
  ports: TokenPorts,
): Promise<TokenChange> {
  if (!ID_PATTERN.test(id)) {
    throw new ClawctlError('USAGE', `${JSON.stringify(id)} can't name the owner of a token.`, {
      hint: 'Use lowercase letters, digits and hyphens, such as clawdinator-3 or phone.',
    })
  }
  mayGetToken((await readTables(ports.store)).tables[scope])
  const { token, sha256 } = ports.newToken()
  const written = await ports.tokenPlace.write(id, token)
  let accepted = 0
  await changeTable(scope, ports.store, (table) => {
    const digests = [sha256, ...mayGetToken(table)]
    accepted = digests.length
    return new Map([...table, [id, digests]])
  })
  return { id, scope, accepted, written }

  function mayGetToken(table: TokenTable): readonly string[] {
    const before = table.get(id) ?? []
    if (!rotate && before.length > 0) {
      throw new ClawctlError('USAGE', `${id} has a token of its own.`, {
        hint: `Replace it: ${rotateCommand({ id, scope })}`,
      })
    }
    if (rotate && before.length === 0) throw hasNone(id)
    if (before.length < MOST_TOKENS) return before
    throw new ClawctlError('USAGE', `${id} is being rotated: two tokens are accepted.`, {
      hint: `When it uses the new one, end that first: ${rotateCommand({ id, scope })} --end`,
    })
  }
}

/** Only the newest token is accepted from now on. @throws ClawctlError USAGE */
export async function endRotation(id: string, scope: TokenScope, store: ObjectStore): Promise<TokenChange> {
  await changeTable(scope, store, (table) => {
    const [newest] = table.get(id) ?? []
    if (newest === undefined) throw hasNone(id)
    return new Map([...table, [id, [newest]]])
  })
  return { id, scope, accepted: 1, written: null }
}

/** @throws ClawctlError USAGE */
export async function removeToken(id: string, scope: TokenScope, store: ObjectStore): Promise<TokenChange> {
  await changeTable(scope, store, (table) => {
    if (!table.has(id)) throw hasNone(id)
    return new Map([...table].filter(([owner]) => owner !== id))
  })
  return { id, scope, accepted: 0, written: null }
}

export interface TokenRow {
  id: string
  scope: TokenScope
  /** The first digits of the accepted tokens' SHA-256; none for an instance that uses the shared token. */
  digests: string[]
}

/** Every instance of the registry, and whoever else has a token. */
export async function listTokens(ports: { store: ObjectStore; registry: Registry }): Promise<TokenRow[]> {
  const { tables } = await readTables(ports.store)
  const ids = [...new Set([...ports.registry.map(({ id }) => id), ...tables.deploy.keys()])]
  const row = (id: string, scope: TokenScope) => ({
    id,
    scope,
    digests: (tables[scope].get(id) ?? []).map((hex) => hex.slice(0, 12).toLowerCase()),
  })
  return [...ids.map((id) => row(id, 'deploy')), ...[...tables.read.keys()].map((id) => row(id, 'read'))]
}

function mustBeRegistered(id: string, registry: Registry): void {
  if (findEntry(registry, id)) return
  const near = nearest(
    id,
    registry.map((entry) => entry.id),
  )
  throw new ClawctlError('UNKNOWN_TARGET', `There is no instance ${JSON.stringify(id)} in the registry.`, {
    hint: near ? `Did you mean ${near}?` : 'For a phone or a dashboard make one that only reads: --read.',
  })
}

const hasNone = (id: string) =>
  new ClawctlError('USAGE', `${id} has no token of its own.`, { hint: '`clawctl token list` shows who has one.' })

interface Stored {
  secrets: StoredSecrets
  tables: Record<TokenScope, TokenTable>
}

/** @throws ClawctlError NOT_CONFIGURED for an object that the Control API would not take either */
function tablesIn(text: string | null): Stored {
  const verdict = text === null ? { ok: false as const, problems: ['it is missing'] } : judgeSecrets(text)
  if (!verdict.ok) {
    throw new ClawctlError(
      'NOT_CONFIGURED',
      `${CONTROL_SECRETS_KEY} can not be used: ${verdict.problems.join('; ')}.`,
      { hint: 'Write a complete one: clawctl secrets control-api edit --mode ci --file FILE' },
    )
  }
  const { secrets } = verdict
  const table = (scope: TokenScope) => parseTokenTable(secrets[TOKEN_TABLES[scope]]) ?? new Map()
  return { secrets, tables: { deploy: table('deploy'), read: table('read') } }
}

const readTables = async (store: ObjectStore) => tablesIn((await store.get(CONTROL_SECRETS_KEY))?.text ?? null)

/** Writes the whole object, validated. */
async function changeTable(
  scope: TokenScope,
  store: ObjectStore,
  change: (table: TokenTable) => TokenTable,
): Promise<void> {
  await changeObject(store, CONTROL_SECRETS_KEY, (text) => {
    const { secrets, tables } = tablesIn(text)
    const changed = change(tables[scope])
    const next = { ...secrets, [TOKEN_TABLES[scope]]: changed.size > 0 ? formatTokenTable(changed) : '' }
    const whole = JSON.stringify(next, null, 2)
    const verdict = judgeSecrets(whole)
    if (verdict.ok) return whole
    throw new ClawctlError('INTERNAL', `The secrets would not be complete: ${verdict.problems.join('; ')}.`)
  })
}
