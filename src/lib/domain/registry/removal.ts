import { nearest } from '../nearest.js'
import { REGISTRY_PATH } from '../paths.js'
import { deleteEntry } from './edit.js'
import { hostFilePath, isScaffold } from './hostFile.js'
import type { FleetFiles, RegistryPlan } from './plan.js'
import { findEntry, parseRegistry } from './registry.js'

/**
 * The registry without the entry. The host file is removed too, unless it was edited by hand. The host file is removed
 * first: as long as the entry exists, repeating the request completes an interrupted one.
 * @throws ClawctlError INVALID_REGISTRY if the registry was invalid before
 */
export function planRemoval(files: FleetFiles, id: string): RegistryPlan {
  const registry = parseRegistry(files.registry.text, files.registry.origin)
  const entry = findEntry(registry, id)
  if (!entry) {
    const ids = registry.map((known) => known.id)
    const near = nearest(id, ids)
    const known = ids.length > 0 ? `The instances are ${ids.join(', ')}.` : 'The registry is empty.'
    return {
      kind: 'refused',
      code: 'UNKNOWN_TARGET',
      message: `There is no instance ${JSON.stringify(id.slice(0, 80))} in the registry.`,
      hint: near ? `Did you mean ${near}?` : known,
    }
  }
  const path = hostFilePath(id)
  const hostFileGoes = files.hostFile !== null && isScaffold(id, files.hostFile)
  return {
    kind: 'change',
    entry,
    changes: [
      ...(hostFileGoes ? [{ path, before: files.hostFile, after: null }] : []),
      { path: REGISTRY_PATH, before: files.registry.text, after: deleteEntry(files.registry.text, id) },
    ],
    notes: [
      ...(files.hostFile !== null && !hostFileGoes ? [`${path} was edited by hand, so it was not removed.`] : []),
      ...(registry.length === 1 ? ['The registry is empty now.'] : []),
    ],
  }
}
