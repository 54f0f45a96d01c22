import { ClawctlError } from '../domain/errors.js'
import type { Registry, RegistryEntry } from '../domain/registry.js'
import { examineBundles } from './bundles/examine.js'
import type { BundleReader } from './bundles/ports.js'

/**
 * Before anything is destroyed: every host that is about to boot finds its bundle whole, and no other's secrets in it.
 * @throws ClawctlError BUNDLE_INCOMPLETE naming every instance and what it lacks
 */
export async function checkBundles(
  store: BundleReader,
  entries: readonly RegistryEntry[],
  registry: Registry,
): Promise<void> {
  const bad = (await examineBundles(store, entries, registry, { kind: 'gate' })).filter(
    ({ problems }) => problems.length > 0,
  )
  if (bad.length === 0) return
  throw new ClawctlError(
    'BUNDLE_INCOMPLETE',
    `Not every bootstrap bundle is whole, so nothing was replaced. ${bad.map((b) => `${b.id}: ${b.problems.join(', ')}`).join('; ')}.`,
    { hint: 'Upload the bundle of each instance named above, then deploy again.' },
  )
}
