import { CONTROL_TOKEN, MAINTAINERS } from '../../domain/bundles/secrets.js'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import {
  CONTROL_SECRETS_KEY,
  formatTokenTable,
  judgeControlSecrets,
  MAX_TOKENS,
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

/** The place of a new token: encrypted in the checkout of nix-secrets, or a file for a person. */
export interface TokenPlace {
  /** A description of the place. */
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
  /** The number of accepted tokens of this id. */
  accepted: number
  /** The place of the new token, or null. */
  written: string | null
}

/** For a host: `clawdinator-control-token-<id>.age`, which replaces the shared token in its next bundle. */
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
 * Makes a token that the Control API accepts; during a rotation also the previous one is accepted. The token is written
 * first, so that after an interruption the command can be repeated.
 * @param rotate the id has a token already
 * @throws ClawctlError USAGE, NOT_CONFIGURED, INVALID_SECRETS; then the accepted tokens have not changed
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
      throw new ClawctlError('USAGE', `${id} has a token already.`, {
        hint: `Replace it: ${rotateCommand({ id, scope })}`,
      })
    }
    if (rotate && before.length === 0) throw hasNone(id)
    if (before.length < MAX_TOKENS) return before
    throw new ClawctlError('USAGE', `${id} is being rotated: two tokens are accepted.`, {
      hint: `When it uses the new one, end that first: ${rotateCommand({ id, scope })} --end`,
    })
  }
}

/** Ends a rotation: only the newest token is accepted. @throws ClawctlError USAGE */
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

/** Every instance of the registry, and other holders of tokens. */
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
    hint: near ? `Did you mean ${near}?` : 'For a phone or a dashboard, make a read token: --read.',
  })
}

const hasNone = (id: string) =>
  new ClawctlError('USAGE', `${id} has no token.`, { hint: '`clawctl token list` shows the holders of tokens.' })

interface Stored {
  secrets: StoredSecrets
  tables: Record<TokenScope, TokenTable>
}

/** @throws ClawctlError NOT_CONFIGURED if the object is not valid */
function tablesIn(text: string | null): Stored {
  const verdict = text === null ? { ok: false as const, problems: ['it is missing'] } : judgeControlSecrets(text)
  if (!verdict.ok) {
    throw new ClawctlError('NOT_CONFIGURED', `${CONTROL_SECRETS_KEY} can't be used: ${verdict.problems.join('; ')}.`, {
      hint: 'Write a complete object: clawctl secrets control-api edit --mode ci --file FILE',
    })
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
    const verdict = judgeControlSecrets(whole)
    if (verdict.ok) return whole
    throw new ClawctlError('INTERNAL', `The secrets would not be complete: ${verdict.problems.join('; ')}.`)
  })
}
