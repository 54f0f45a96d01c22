import { bundleProblems, markerKey } from '../domain/bundle.js'
import { ClawctlError } from '../domain/errors.js'
import type { RegistryEntry } from '../domain/registry.js'
import type { ObjectStore } from './ports.js'

/**
 * Before anything is destroyed: every host that is about to boot finds its bundle whole.
 * @throws ClawctlError BUNDLE_INCOMPLETE naming every instance and what it lacks
 */
export async function checkBundles(store: ObjectStore, entries: readonly RegistryEntry[]): Promise<void> {
  const checked = await Promise.all(
    entries.map(async (entry) => {
      const [marker, objects] = await Promise.all([
        store.get(markerKey(entry)),
        store.list(`${entry.bootstrapPrefix}/`),
      ])
      return { id: entry.id, problems: bundleProblems(entry, marker?.text ?? null, objects) }
    }),
  )
  const bad = checked.filter((bundle) => bundle.problems.length > 0)
  if (bad.length === 0) return
  throw new ClawctlError(
    'BUNDLE_INCOMPLETE',
    `Not every bootstrap bundle is whole, so nothing was replaced. ${bad.map((b) => `${b.id}: ${b.problems.join(', ')}`).join('; ')}.`,
    { hint: 'Upload the bundle of each instance named above, then deploy again.' },
  )
}
