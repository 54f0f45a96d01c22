import pMap from 'p-map'
import { judgeBundle, manifestKey, parseManifest } from '../../domain/bundles/manifest.js'
import type { BundleManifest } from '../../domain/contract/index.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Registry, RegistryEntry } from '../../domain/registry/registry.js'
import { AT_ONCE, type ObjectStore } from '../ports.js'
import { examineBundles } from './examine.js'
import type { BundleReader } from './ports.js'

/** The problems of each instance's bundle, by manifest, names and sizes only; empty if it is complete. */
export async function inspectBundles(
  store: ObjectStore,
  registry: Registry,
): Promise<{ entry: RegistryEntry; manifest: BundleManifest | null; problems: string[] }[]> {
  const inspect = async (entry: RegistryEntry) => {
    const [stored, objects] = await Promise.all([
      store.get(manifestKey(entry)),
      store.list(`${entry.bootstrapPrefix}/`),
    ])
    const manifest = stored?.text ?? null
    return { entry, manifest: parseManifest(manifest), problems: judgeBundle(entry, { manifest, objects }, registry) }
  }
  return pMap(registry, inspect, { concurrency: AT_ONCE })
}

/**
 * The gate before anything is destroyed: the bundle of every host that will boot is complete and holds no secrets of others.
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
    `A bootstrap bundle is incomplete, so nothing was replaced. ${bad.map((b) => `${b.id}: ${b.problems.join(', ')}`).join('; ')}.`,
    { hint: 'Upload the bundle of each instance named above, then deploy again.' },
  )
}
