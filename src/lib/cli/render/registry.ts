import { REGISTRY_PATH } from '../../domain/paths.js'
import type { FileProblem } from '../../domain/registry/files.js'
import { formatProblem } from '../../domain/registry/files.js'
import type { RemainingObject, Step } from '../../domain/registry/steps.js'
import type { Paint } from '../text.js'

/** The part of an edit's result that is shown. */
export interface ShownEdit {
  instance: { id: string }
  status: 'written' | 'unchanged' | 'planned' | 'proposed'
  files: readonly { path: string; change: string }[]
  diff: string
  notes: readonly string[]
  pullRequest: { url: string; number: number; branch: string; status: string } | null
  steps: readonly Step[]
  stays: readonly RemainingObject[]
}

/** `registry add` and `registry remove` for people: the changes, then the remaining steps. */
export function renderEdit(edit: ShownEdit, verb: 'add' | 'remove', paint: Paint): string {
  return [
    ...(edit.status === 'planned' ? [renderDiff(edit.diff, paint)] : []),
    headline(edit, verb),
    ...(edit.status === 'written' ? edit.files.map(({ path, change }) => `  ${change.padEnd(8)} ${path}`) : []),
    ...edit.notes.map((note) => `  ${note}`),
    ...renderSteps(edit, paint),
    ...renderStays(edit.stays, paint),
  ].join('\n')
}

function headline({ instance: { id }, status, pullRequest, files }: ShownEdit, verb: 'add' | 'remove'): string {
  if (pullRequest) {
    const done = { created: 'opened', updated: 'updated' }[pullRequest.status] ?? 'open already'
    return `Pull request #${pullRequest.number} (${pullRequest.branch}) is ${done}: ${pullRequest.url}`
  }
  if (status === 'unchanged') return `${id} is in the registry already, with the same values: nothing to do.`
  if (status === 'planned') return 'Dry run: nothing was changed.'
  if (!files.some(({ path }) => path === REGISTRY_PATH))
    return `${id} was in the registry already; the missing files were added.`
  return verb === 'add' ? `Added ${id}.` : `Removed ${id} from the registry.`
}

function renderDiff(diff: string, paint: Paint): string {
  const style = (line: string) => {
    if (/^(?:\+\+\+|---) /.test(line)) return paint('bold', line)
    if (line.startsWith('@@')) return paint('cyan', line)
    if (line.startsWith('+')) return paint('green', line)
    return line.startsWith('-') ? paint('red', line) : line
  }
  return diff.split('\n').map(style).join('\n')
}

function renderSteps({ instance, steps }: ShownEdit, paint: Paint): string[] {
  if (steps.length === 0) return []
  const lines = steps.flatMap((step, index) => {
    const box = step.done ? paint('green', '[x]') : '[ ]'
    const note = step.note === null ? '' : paint('dim', ` (${step.note})`)
    const command = step.done || step.command === null ? [] : [`         ${paint('cyan', step.command)}`]
    return [`  ${box} ${index + 1}. ${step.title}${note}`, ...command]
  })
  return ['', `Steps until ${instance.id} runs:`, ...lines]
}

function renderStays(stays: readonly RemainingObject[], paint: Paint): string[] {
  if (stays.length === 0) return []
  const lines = stays.flatMap(({ what, command }) => [
    `  - ${what}`,
    ...(command === null ? [] : [`      ${paint('cyan', command)}`]),
  ])
  return ['', 'Not removed:', ...lines]
}

/** `registry check` for people and editors: one line per problem or warning. */
export function renderProblems(problems: readonly FileProblem[], instances: number): string {
  const lines = problems.map(formatProblem)
  const well = `${instances === 1 ? '1 instance' : `${instances} instances`}, no error.`
  return [...lines, ...(problems.some(({ severity }) => severity === 'error') ? [] : [well])].join('\n')
}
