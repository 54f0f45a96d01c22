import { targetIds } from '../../domain/deploy/policy.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Progress, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { type Depth, examineBundles } from './examine.js'
import type { BundleReader } from './ports.js'

export interface VerifiedBundle {
  id: string
  whole: boolean
  generation: number | null
  objects: number
  bytes: number
  createdAt: string | null
  revision: string | null
  /** Objects that the manifest does not name: an upload under way, or what a killed one left. */
  unnamed: number
  /** Secrets that were not decrypted with the bundle's identity, neither now nor before the upload. */
  untested: string[]
  problems: string[]
}

/** The most problems that are printed; --json has all. */
const MAX_DETAILS = 40

/**
 * Reads the bundles of the target back and verifies them.
 * @throws ClawctlError BUNDLE_INCOMPLETE with every problem of every bundle, and all bundles in `partial.bundles`
 */
export async function verifyBundles(
  request: { target: string; depth: Depth },
  ports: { registry: RegistrySource; store: BundleReader; progress: Progress },
): Promise<{ bundles: VerifiedBundle[]; notes: string[] }> {
  const registry = await readRegistry(ports.registry)
  const ids = targetIds(request.target, registry)
  const entries = registry.filter((entry) => ids.includes(entry.id))
  const examined = await ports.progress.task('read the bundles back', () =>
    examineBundles(ports.store, entries, registry, request.depth),
  )
  const bundles = examined.map(({ id, problems, manifest, unnamed, untested }): VerifiedBundle => {
    const bytes = (manifest?.objects ?? []).reduce((sum, { size }) => sum + size, 0)
    return {
      id,
      whole: problems.length === 0,
      generation: manifest?.generation ?? null,
      objects: manifest?.objects.length ?? 0,
      bytes,
      createdAt: manifest?.createdAt ?? null,
      revision: manifest?.revision ?? null,
      unnamed,
      untested,
      problems,
    }
  })
  const notes = [...new Set(examined.flatMap((one) => one.notes))]
  for (const note of notes) ports.progress.note(note)
  const bad = bundles.filter(({ whole }) => !whole)
  if (bad.length === 0) return { bundles, notes }
  const lines = bad.flatMap(({ id, problems }) => problems.map((problem) => `${id}: ${problem}`))
  throw new ClawctlError(
    'BUNDLE_INCOMPLETE',
    `${bad.length} of ${bundles.length} bundles ${bad.length === 1 ? 'does' : 'do'} not verify: ${bad.map(({ id }) => id).join(', ')}.`,
    {
      hint: `Upload again: clawctl bootstrap upload ${bad.length === 1 ? bad[0]?.id : 'all'}`,
      details: lines.slice(0, MAX_DETAILS),
      partial: { bundles, notes },
    },
  )
}
