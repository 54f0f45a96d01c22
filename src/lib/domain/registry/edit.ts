import { type Node, parseTree } from 'jsonc-parser'
import { FIELD_NAMES, type RegistryEntry } from './registry.js'
import { endOf, properties } from './tree.js'

/**
 * Edits of a registry that `checkRegistry` accepted. Everything but the entry stays byte for byte the same:
 * order, indentation, line ends, text after the last brace.
 */

const INDENT = '  '

/** Appends the entry in the style of the previous one: same field order, on one line or on several. */
export function insertEntry(text: string, entry: RegistryEntry): string {
  const root = rootOf(text)
  const entries = properties(root)
  const [last, previous] = [entries.at(-1), entries.at(-2)]
  if (!last) {
    const lines = JSON.stringify({ [entry.id]: fieldsOf(entry) }, null, INDENT).split('\n')
    return splice(text, root.offset, endOf(root), lines.join(text.includes('\r\n') ? '\r\n' : '\n'))
  }
  const colon = text.slice(endOf(last.key), last.value.offset)
  const separator = previous
    ? text.slice(endOf(previous.value), last.key.offset)
    : `,${gapBefore(text, last.key.offset, /\s/.test(colon) ? ' ' : '')}`
  const value = valueLike(text, last.value, entry)
  return splice(text, endOf(last.value), endOf(last.value), `${separator}${JSON.stringify(entry.id)}${colon}${value}`)
}

/** The text without the entry and its one comma. */
export function deleteEntry(text: string, id: string): string {
  const root = rootOf(text)
  const entries = properties(root)
  const index = entries.findIndex((entry) => entry.name === id)
  const [previous, own, next] = [entries[index - 1], entries[index], entries[index + 1]]
  if (!own) return text
  if (next) return splice(text, own.key.offset, next.key.offset, '')
  if (previous) return splice(text, endOf(previous.value), endOf(own.value), '')
  return splice(text, root.offset, endOf(root), '{}')
}

/** White space before a second entry or field: a new line if the first has its own line. */
function gapBefore(text: string, offset: number, onOneLine: string): string {
  const gap = /\s*$/.exec(text.slice(0, offset))?.[0] ?? ''
  return gap.includes('\n') ? gap : onOneLine
}

/** The fields, with the braces, commas and colons of the model entry. */
function valueLike(text: string, model: Node, entry: RegistryEntry): string {
  const values = fieldsOf(entry)
  let at = model.offset
  let written = ''
  for (const { name, value } of properties(model)) {
    written += text.slice(at, value.offset) + JSON.stringify(values[name])
    at = endOf(value)
  }
  return written + text.slice(at, endOf(model))
}

function fieldsOf(entry: RegistryEntry): Record<string, string> {
  return Object.fromEntries(FIELD_NAMES.map((name) => [name, entry[name]]))
}

function rootOf(text: string): Node {
  const root = parseTree(text)
  if (root?.type !== 'object') throw new Error('the registry was not checked before it is edited')
  return root
}

function splice(text: string, from: number, to: number, insert: string): string {
  return text.slice(0, from) + insert + text.slice(to)
}
