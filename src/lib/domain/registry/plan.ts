import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff'
import type { Code } from '../errors.js'
import type { RegistryEntry } from './registry.js'

/** The files that an edit reads before it decides. */
export interface FleetFiles {
  registry: { text: string; origin: string }
  /** The text of `nix/hosts/<id>.nix`, or null. */
  hostFile: string | null
}

/** One file's text before and after; null if it does not exist. */
export interface FileChange {
  path: string
  before: string | null
  after: string | null
}

/** The result of an edit, decided before anything is written. Changes are in the order of writing. */
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

const NOWHERE = '/dev/null'

/** The changes as one unified diff, in the format that `git apply` reads. */
export function unifiedDiff(changes: readonly FileChange[]): string {
  return changes
    .map(({ path, before, after }) =>
      createTwoFilesPatch(
        before === null ? NOWHERE : `a/${path}`,
        after === null ? NOWHERE : `b/${path}`,
        before ?? '',
        after ?? '',
        undefined,
        undefined,
        { context: 3, headerOptions: FILE_HEADERS_ONLY },
      ),
    )
    .join('')
}
