import { ClawctlError } from '../domain/errors.js'
import type { ObjectStore } from './ports.js'

/** For concurrent writes. */
const ATTEMPTS = 5

type Store = Pick<ObjectStore, 'get' | 'putIf'>

/** Writes if the object has not changed meanwhile. A write whose answer was lost counts as written. */
export async function putUnchanged(store: Store, key: string, text: string, etag: string | null): Promise<boolean> {
  return (await store.putIf(key, text, etag)) || (await store.get(key))?.text === text
}

/**
 * Changes an object that other processes change as well: after a concurrent write, the change starts again from the new text.
 * @param change makes the new text from the current one, or from null if the object does not exist. An error ends the change.
 * @throws ClawctlError UPSTREAM after five attempts
 */
export async function changeObject(store: Store, key: string, change: (text: string | null) => string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const object = await store.get(key)
    if (await putUnchanged(store, key, change(object?.text ?? null), object?.etag ?? null)) return
  }
  throw new ClawctlError('UPSTREAM', `Other processes changed ${key} at the same time.`, {
    hint: 'Run the command again.',
  })
}
