import type { Change } from './plan.js'

const RULE = '─'.repeat(77)

export interface Counts {
  import: number
  add: number
  change: number
  destroy: number
}

/** Counts the changes. A replacement is one to add and one to destroy. */
export function count(changes: readonly Change[]): Counts {
  const having = (action: string) => changes.filter(({ change }) => change.actions.some((a) => a === action)).length
  const imported = changes.filter(({ change }) => change.importing).length
  return { import: imported, add: having('create'), change: having('update'), destroy: having('delete') }
}

/** The plan for people, in the form of the real OpenTofu. Shows the attributes that the stand-in knows. */
export function planText(changes: readonly Change[], drift: readonly Change[]): string {
  const touched = changes.filter(({ change }) => !change.actions.includes('no-op') || change.importing)
  const lost = drift
    .filter(({ change }) => change.actions.includes('delete'))
    .map(({ address }) => `  # ${address} has been deleted outside of OpenTofu`)
  const note =
    lost.length > 0 ? `\nNote: Objects have changed outside of OpenTofu\n\n${lost.join('\n')}\n\n${RULE}\n` : ''
  if (touched.length === 0) {
    return `${note}
No changes. Your infrastructure matches the configuration.

OpenTofu has compared your real infrastructure against your configuration and
found no differences, so no changes are needed.
`
  }
  const { import: imported, add, change, destroy } = count(changes)
  return `${note}
OpenTofu used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
${legend(touched).join('\n')}

OpenTofu will perform the following actions:

${touched.map(block).join('\n')}
Plan: ${imported > 0 ? `${imported} to import, ` : ''}${add} to add, ${change} to change, ${destroy} to destroy.
`
}

/** The text after a plan, for a saved or an unsaved one. */
export function savedText(file: string | null): string {
  return file === null
    ? `\n${RULE}

Note: You didn't use the -out option to save this plan, so OpenTofu can't
guarantee to take exactly these actions if you run "tofu apply" now.
`
    : `\n${RULE}

Saved the plan to: ${file}

To perform exactly these actions, run the following command to apply:
    tofu apply "${file}"
`
}

const SYMBOLS: Readonly<Record<string, [symbol: string, legend: string]>> = {
  create: ['  +', '  + create'],
  update: ['  ~', '  ~ update in-place'],
  delete: ['  -', '  - destroy'],
  'delete,create': ['-/+', '-/+ destroy and then create replacement'],
}

function legend(changes: readonly Change[]): string[] {
  const kinds = new Set(changes.map(({ change }) => change.actions.join()))
  return Object.entries(SYMBOLS).flatMap(([kind, [, line]]) => (kinds.has(kind) ? [line] : []))
}

const REPLACED: Readonly<Record<string, string>> = {
  replace_by_request: 'will be replaced, as requested',
  replace_because_tainted: 'is tainted, so must be replaced',
}

function block({ address, type, name, index, change, action_reason }: Change): string {
  const kind = change.actions.join()
  const verbs: Readonly<Record<string, string>> = {
    'no-op': 'will be imported',
    create: 'will be created',
    update: 'will be updated in-place',
    delete: 'will be destroyed',
    'delete,create': REPLACED[action_reason ?? ''] ?? 'must be replaced',
  }
  const why =
    action_reason === 'delete_because_each_key' ? `\n  # (because key ["${index}"] is not in for_each map)` : ''
  const symbol = SYMBOLS[kind]?.[0] ?? '   '
  return `  # ${address} ${verbs[kind] ?? kind}${why}
${symbol} resource "${type}" "${name}" {
${attributeLines(change, symbol.trim().slice(-1)).join('\n')}
    }
`
}

function attributeLines({ before, after, after_unknown, replace_paths }: Change['change'], symbol: string): string[] {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {}), ...Object.keys(after_unknown)])]
  const forces = new Set(replace_paths?.map(([name]) => name))
  const width = Math.max(...names.map((name) => name.length))
  return names.sort().flatMap((name) => {
    const old = before?.[name]
    const next = after_unknown[name] === true ? undefined : after?.[name]
    if (JSON.stringify(old) === JSON.stringify(next)) return []
    const [from, to] = [value(old), next === undefined && after ? '(known after apply)' : value(next)]
    const mark = old === undefined ? '+' : after ? '~' : symbol
    const forced = forces.has(name) ? ' # forces replacement' : ''
    return [`      ${mark} ${name.padEnd(width)} = ${old === undefined ? to : `${from} -> ${to}`}${forced}`]
  })
}

/** One line; a long text such as user data by its length. */
function value(of: unknown): string {
  const text = JSON.stringify(of ?? null)
  return text.length > 160 ? `(${text.length} characters)` : text
}
