import { needsOf } from '../../domain/bundles/assemble.js'
import { IDENTITIES_FOLDER, MAINTAINERS, RECIPIENTS_FOLDER } from '../../domain/bundles/secrets.js'
import { targetIds } from '../../domain/deploy/policy.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Registry, RegistryEntry } from '../../domain/registry/registry.js'
import type { RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import type { AgeKeys, Identities, Identity, SecretsFolder, SecretsListing } from './ports.js'

export interface RekeyPorts {
  registry: RegistrySource
  secrets: SecretsFolder
  identities: Identities
  keys: AgeKeys
}

export interface Rekeyed {
  /** The new public keys. */
  identities: { id: string; recipient: string }[]
  /** Paths in the secrets directory that were written. */
  written: string[]
}

/**
 * Creates age identities of instances and encrypts their secrets for them, in one step: each identity for the
 * maintainers (`identities/<id>.age`), its public key (`recipients/<id>.txt`), and every secret that the instances need,
 * for the maintainers and for each instance that needs it. A rotation leaves the old identity out. If it is killed,
 * run it again: the maintainer's identity decrypts every file, old or new, and an upload refuses a mixture.
 * @param request `target`: an id, or `all` for every instance without one; `rotate`: the new one replaces the old
 * @throws ClawctlError INVALID_SECRETS, INVALID_TARGET, UNKNOWN_TARGET, USAGE; then nothing was written
 */
export async function renewIdentities(
  request: { target: string; rotate: boolean },
  ports: RekeyPorts,
): Promise<Rekeyed> {
  const registry = await readRegistry(ports.registry)
  const folder = await ports.secrets.read()
  const ids = idsOf(request, registry, folder)
  const maintainer = await maintainerIdentity(ports.identities)
  const made = await Promise.all(ids.map(async (id) => ({ id, ...(await ports.keys.generate()) })))
  const recipients = new Map([...folder.recipients, ...made.map(({ id, recipient }) => [id, [recipient]] as const)])
  const maintainers = recipientsOf(MAINTAINERS, recipients)
  const files = new Map<string, Uint8Array>()
  for (const [name, readers] of readersOf(ids, registry, folder)) {
    const plaintext = await maintainer.decrypt(fileOf(name, folder))
    if (!plaintext) throw cannotOpen(`${name}.age`)
    const all = [...maintainers, ...readers.flatMap((reader) => recipientsOf(reader, recipients))]
    files.set(`${name}.age`, await ports.keys.encrypt(plaintext, [...new Set(all)]))
  }
  const utf8 = new TextEncoder()
  for (const { id, text, recipient } of made) {
    files.set(`${IDENTITIES_FOLDER}/${id}.age`, await ports.keys.encrypt(utf8.encode(text), maintainers))
    files.set(`${RECIPIENTS_FOLDER}/${id}.txt`, utf8.encode(`${recipient}\n`))
  }
  await ports.secrets.write(files)
  return { identities: made.map(({ id, recipient }) => ({ id, recipient })), written: [...files.keys()] }
}

/** @throws ClawctlError USAGE if the identity exists already, or there is none to rotate */
function idsOf({ target, rotate }: { target: string; rotate: boolean }, registry: Registry, folder: SecretsListing) {
  const has = (id: string) => folder.identities.has(id) || folder.recipients.has(id)
  const ids = targetIds(target, registry)
  const fitting = ids.filter((id) => has(id) === rotate)
  const [only = ''] = ids
  if (fitting.length > 0) return fitting
  throw rotate
    ? new ClawctlError('USAGE', `There is no identity of ${target} in the secrets directory.`, {
        hint: `Create one: clawctl secrets identity new ${target}`,
      })
    : new ClawctlError(
        'USAGE',
        ids.length === 1 ? `${only} has an identity already.` : 'Every instance has an identity already.',
        {
          hint: `To replace it: clawctl secrets identity rotate ${target}`,
        },
      )
}

/** The existing secrets that the instances need, each with every instance that needs it. */
function readersOf(ids: readonly string[], registry: Registry, folder: SecretsListing): Map<string, string[]> {
  const available = new Set(folder.files.map(({ name }) => name))
  const named = (entry: RegistryEntry) =>
    needsOf(entry, available).flatMap(({ name, present }) => (present ? [name] : []))
  const own = registry.filter((entry) => ids.includes(entry.id)).flatMap(named)
  return new Map(
    own.map((name) => [name, registry.filter((entry) => named(entry).includes(name)).map((entry) => entry.id)]),
  )
}

/** @throws ClawctlError INVALID_SECRETS if they are unknown: the other instances would lose the secret */
export function recipientsOf(name: string, recipients: SecretsListing['recipients']): readonly string[] {
  const lines = recipients.get(name) ?? []
  if (lines.length > 0) return lines
  const path = `${RECIPIENTS_FOLDER}/${name}.txt`
  const how =
    name === MAINTAINERS
      ? 'Write the public age key of each maintainer into it, one per line: age-keygen -y KEY_FILE prints it.'
      : `Write the public key of its identity into it: age-keygen -y ${name}.key, or create all that are missing: clawctl secrets identity new all.`
  throw new ClawctlError('INVALID_SECRETS', `${path} is missing or empty, so nothing can be encrypted for ${name}.`, {
    hint: `${how} Nothing was changed.`,
  })
}

function fileOf(name: string, folder: SecretsListing): Uint8Array {
  const file = folder.files.find((one) => one.name === name)
  if (!file) throw cannotOpen(`${name}.age`)
  return file.bytes
}

async function maintainerIdentity(identities: Identities): Promise<Identity> {
  const identity = await identities.shared()
  if (identity) return identity
  throw new ClawctlError('USAGE', "The secrets must be encrypted again, but no maintainer's identity was given.", {
    hint: 'Pass the file of your age key with --identity.',
  })
}

function cannotOpen(file: string): ClawctlError {
  return new ClawctlError('INVALID_SECRETS', `${file} can't be decrypted with --identity.`, {
    hint: 'Pass the identity of a maintainer that it is encrypted for. Nothing was changed.',
  })
}
