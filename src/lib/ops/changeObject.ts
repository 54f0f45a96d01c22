import { ClawctlError } from '../domain/errors.js'
import type { ObjectStore } from './ports.js'

/** Others write at the same moment, but not often. */
const ATTEMPTS = 5

type Store = Pick<ObjectStore, 'get' | 'putIf'>

/** Writes only if nobody else wrote meanwhile. A write may arrive although its answer is lost. */
export async function putUnchanged(store: Store, key: string, text: string, etag: string | null): Promise<boolean> {
  return (await store.putIf(key, text, etag)) || (await store.get(key))?.text === text
}

/**
 * Changes an object that others change as well: if another write came between, the change starts again from the new text.
 * @param change the new text; `null` is given where there is no object. What it throws ends the change.
 * @throws ClawctlError UPSTREAM after five attempts
 */
export async function changeObject(store: Store, key: string, change: (text: string | null) => string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const object = await store.get(key)
    if (await putUnchanged(store, key, change(object?.text ?? null), object?.etag ?? null)) return
  }
  throw new ClawctlError('UPSTREAM', `Others changed ${key} at the same moment.`, { hint: 'Run the command again.' })
}
