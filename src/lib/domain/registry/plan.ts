import type { Code } from '../errors.js'
import type { RegistryEntry } from './registry.js'

/** The files of the fleet that an edit looks at before it decides. */
export interface FleetFiles {
  registry: { text: string; origin: string }
  /** The text of `nix/hosts/<id>.nix`, or null. */
  hostFile: string | null
}

/** One file's text before and after; null where it is not there. */
export interface FileChange {
  path: string
  before: string | null
  after: string | null
}

/** What an edit comes to, decided before anything is written. The changes are in the order in which they are written. */
export type RegistryPlan =
  | { kind: 'change'; entry: RegistryEntry; changes: readonly FileChange[]; notes: readonly string[] }
  | { kind: 'nothing'; entry: RegistryEntry }
  | {
      kind: 'refused'
      code: Extract<Code, 'INVALID_REQUEST' | 'REGISTRY_CONFLICT' | 'UNKNOWN_TARGET'>
      message: string
      hint: string
    }

export type AcceptedPlan = Exclude<RegistryPlan, { kind: 'refused' }>
