import { markdownCode } from '../markdown.js'
import type { FileChange } from './plan.js'
import { FIELD_NAMES, type RegistryEntry } from './registry.js'
import { remainingObjects, type Step } from './steps.js'

export type EditKind = 'add' | 'remove'

/** The branch name of an edit; the same edit has the same branch. */
export const branchOf = (kind: EditKind, id: string) => `registry/${kind}-${id}`

export function titleOf(kind: EditKind, id: string): string {
  return kind === 'add' ? `Add ${id} to the fleet` : `Remove ${id} from the registry`
}

const TREE_TRAILER = 'Clawctl-Tree'

/** By the trailer, clawctl later detects whether the commit is still its own. */
export function commitMessage(kind: EditKind, entry: RegistryEntry, tree: string): string {
  const about = FIELD_NAMES.map((field) => `${field}: ${entry[field]}`).join('\n')
  return `${titleOf(kind, entry.id)}\n\n${about}\n\n${TREE_TRAILER}: ${tree}\n`
}

interface BranchHead {
  tree: string
  parents: readonly string[]
  message: string
}

/** Whether only clawctl has committed to the branch: then clawctl may replace it. */
export function isUntouched(head: BranchHead): boolean {
  const trailer = new RegExp(`^${TREE_TRAILER}: (\\w+)$`, 'm').exec(head.message)
  return head.parents.length === 1 && trailer?.[1] === head.tree
}

export type BranchVerdict = 'create' | 'keep' | 'replace' | 'refuse'

/**
 * Decides what to do with the branch of an edit. `done`: the branch already has the requested edit.
 * A branch that others have written to is never rewritten.
 */
export function decideBranch(head: BranchHead | null, facts: { base: string; done: boolean }): BranchVerdict {
  if (head === null) return 'create'
  if (!isUntouched(head)) return facts.done ? 'keep' : 'refuse'
  return facts.done && head.parents[0] === facts.base ? 'keep' : 'replace'
}

export interface Proposer {
  /** The requester's name, or null. */
  requestedBy: string | null
  /** The instance that opens it, or null. */
  caller: string | null
}

const rowsOf = (entry: RegistryEntry) => FIELD_NAMES.map((field) => `| ${field} | ${markdownCode(entry[field])} |`)

/** Whether a pull request's text still has these values. Text and ticks that people added do not matter. */
export const describes = (body: string, entry: RegistryEntry) => rowsOf(entry).every((row) => body.includes(row))

/** The pull request's text: the change, the remaining steps, the requester. */
export function pullRequestBody(
  kind: EditKind,
  entry: RegistryEntry,
  changes: readonly FileChange[],
  steps: readonly Step[],
  asker: Proposer,
): string {
  const todo =
    kind === 'add'
      ? [
          '### Before and after the merge',
          '',
          ...steps.map((step) => {
            const command = step.command === null || step.id === 'merged' ? '' : `: ${markdownCode(step.command)}`
            return `- [${step.done ? 'x' : ' '}] ${step.title}${command}`
          }),
        ]
      : [
          '### Not removed',
          '',
          ...remainingObjects(entry).map(
            ({ what, command }) => `- ${what}${command ? ` ${markdownCode(command)}` : ''}`,
          ),
        ]
  const by = asker.requestedBy === null ? '' : ` for ${markdownCode(asker.requestedBy)}`
  const via = asker.caller === null ? '' : ` by ${markdownCode(asker.caller)}`
  const done = changes.map(({ path, before, after }) => {
    const verb = before === null ? 'creates' : after === null ? 'deletes' : 'changes'
    return `${verb} ${markdownCode(path)}`
  })
  return [
    `${titleOf(kind, entry.id)}: ${done.join(', ')}.`,
    '',
    '| Setting | Value |',
    '| --- | --- |',
    ...rowsOf(entry),
    '',
    ...todo,
    '',
    `Opened with \`clawctl registry ${kind}\`${via}${by}.`,
    '',
  ].join('\n')
}
