import {
  CONTROL_SECRETS_KEY,
  judgeControlSecrets,
  PREVIOUS_SECRETS_KEY,
  SECRET_NAMES,
  type StoredSecrets,
} from '../../domain/controlSecrets.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'
import { putUnchanged } from '../changeObject.js'
import type { ObjectStore } from '../ports.js'

export interface ControlSecretsPorts {
  store: ObjectStore
  /** First digits of the SHA-256 of a text. */
  digest(text: string): string
}

export interface SecretText {
  digest(text: string): string
  /** @param path `-` is stdin. @throws ClawctlError USAGE */
  fromFile(path: string): Promise<string>
  /** In an editor; null if nothing was changed. @throws ClawctlError USAGE, CANCELLED */
  edited(text: string): Promise<string | null>
}

export interface SecretEntry {
  name: string
  /** First digits of the value's SHA-256. */
  digest: string
  change?: 'added' | 'changed' | 'same' | 'removed'
}

export interface ControlSecretsReport {
  key: string
  entries: SecretEntry[]
  /** Why the Control API would not accept the object; names, no values. */
  problems: string[]
}

/** Checks the object like the Control API; returns names and digests. @throws ClawctlError NOT_FOUND if it does not exist */
export async function checkControlSecrets({ store, digest }: ControlSecretsPorts): Promise<ControlSecretsReport> {
  const object = await store.get(CONTROL_SECRETS_KEY)
  if (!object) {
    throw new ClawctlError('NOT_FOUND', `The bucket has no ${CONTROL_SECRETS_KEY}.`, {
      hint: 'Write it: clawctl secrets control-api edit --file FILE',
    })
  }
  const verdict = judgeControlSecrets(object.text)
  const entries = [...valuesOf(object.text)].map(([name, value]) => ({ name, digest: digest(value) }))
  return { key: CONTROL_SECRETS_KEY, entries, problems: verdict.ok ? [] : verdict.problems }
}

/**
 * Writes the whole object, if it is complete and was not changed meanwhile. The previous version is kept beside it.
 * @param next makes the new text from the current one; null: no change
 * @throws ClawctlError INVALID_SECRETS, OBJECT_CONFLICT
 */
export async function editControlSecrets(
  next: (text: string) => Promise<string | null>,
  { store, digest }: ControlSecretsPorts,
): Promise<ControlSecretsReport & { written: boolean }> {
  const object = await store.get(CONTROL_SECRETS_KEY)
  const before = valuesOf(object?.text ?? '{}')
  const edited = await next(object?.text ?? template())
  const verdict = edited === null ? null : judgeControlSecrets(edited)
  if (verdict && !verdict.ok) throw invalid(verdict.problems)
  const secrets: StoredSecrets = verdict?.ok ? verdict.secrets : Object.fromEntries(before)
  const after = new Map(Object.entries(secrets))
  const names = [...new Set([...before.keys(), ...after.keys()])]
  const entries = names.map((name): SecretEntry => {
    const [was, is] = [before.get(name), after.get(name)]
    const change = was === undefined ? 'added' : is === undefined ? 'removed' : was === is ? 'same' : 'changed'
    return { name, digest: digest(is ?? was ?? ''), change }
  })
  const written = entries.some(({ change }) => change !== 'same')
  if (written) {
    if (object) await store.put(PREVIOUS_SECRETS_KEY, object.text)
    const text = `${JSON.stringify(secrets, null, 2)}\n`
    if (!(await putUnchanged(store, CONTROL_SECRETS_KEY, text, object?.etag ?? null))) throw conflict()
  }
  return { key: CONTROL_SECRETS_KEY, entries, problems: [], written }
}

/** The non-empty texts, even if the object has problems. */
function valuesOf(text: string): Map<string, string> {
  const data = parseJson(text)
  const entries = typeof data === 'object' && data !== null ? Object.entries(data) : []
  return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1] !== ''))
}

const template = () => `${JSON.stringify(Object.fromEntries(SECRET_NAMES.map((name) => [name, ''])), null, 2)}\n`

const invalid = (problems: string[]) =>
  new ClawctlError('INVALID_SECRETS', 'The Control API would not accept this object. Nothing was written.', {
    details: problems.map((problem) => `${problem}.`),
    hint: 'Correct what the lines above name, then run the command again.',
  })

const conflict = () =>
  new ClawctlError(
    'OBJECT_CONFLICT',
    `Another process changed ${CONTROL_SECRETS_KEY} meanwhile. Nothing was written.`,
    {
      hint: 'Run the command again: the editor opens the current version. A file must be made from that version, else it undoes the other change.',
    },
  )
