import pMap from 'p-map'
import { bundleProblems, markerKey } from '../domain/bundle.js'
import { ClawctlError } from '../domain/errors.js'
import type { RegistryEntry } from '../domain/registry.js'
import { AT_ONCE, type ObjectStore } from './ports.js'

/** What keeps each instance from booting with its bundle; `problems` is empty where the bundle is whole. */
export async function inspectBundles(
  store: ObjectStore,
  entries: readonly RegistryEntry[],
): Promise<{ id: string; problems: string[] }[]> {
  const inspect = async (entry: RegistryEntry) => {
    const [marker, objects] = await Promise.all([store.get(markerKey(entry)), store.list(`${entry.bootstrapPrefix}/`)])
    return { id: entry.id, problems: bundleProblems(entry, marker?.text ?? null, objects) }
  }
  return pMap(entries, inspect, { concurrency: AT_ONCE })
}

/**
 * Before anything is destroyed: every host that is about to boot finds its bundle whole.
 * @throws ClawctlError BUNDLE_INCOMPLETE naming every instance and what it lacks
 */
export async function checkBundles(store: ObjectStore, entries: readonly RegistryEntry[]): Promise<void> {
  const bad = (await inspectBundles(store, entries)).filter((bundle) => bundle.problems.length > 0)
  if (bad.length === 0) return
  throw new ClawctlError(
    'BUNDLE_INCOMPLETE',
    `Not every bootstrap bundle is whole, so nothing was replaced. ${bad.map((b) => `${b.id}: ${b.problems.join(', ')}`).join('; ')}.`,
    { hint: 'Upload the bundle of each instance named above, then deploy again.' },
  )
}
