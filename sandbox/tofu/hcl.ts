/** As much of HCL as telling blocks apart needs: comments, strings and braces. Not an evaluator. */

export interface Block {
  type: string
  labels: string[]
  /** Between the braces, comments blanked. */
  body: string
  /** Line of the block's first word, from 1. */
  line: number
}

/** The top-level blocks of a file. @throws HclError for what is no block */
export function topLevelBlocks(text: string): Block[] {
  return blocksIn(text, true)
}

/** The blocks in the body of another, between its attributes. */
export function nestedBlocks(body: string): Block[] {
  return blocksIn(body, false)
}

function blocksIn(text: string, alone: boolean): Block[] {
  const { clean, mask } = scan(text)
  const blocks: Block[] = []
  const opening = /^[ \t]*([a-z_]+)((?:[ \t]+"[^"\n]*")*)[ \t]*\{/gm
  let before = 0
  for (let match = opening.exec(clean); match; match = opening.exec(clean)) {
    if (alone) mustBeBlank(clean, before, match.index)
    const start = match.index + match[0].length
    const end = closingBrace(mask, start)
    if (end === mask.length) throw new HclError('Unclosed configuration block', lineOf(clean, match.index))
    before = end + 1
    blocks.push({
      type: match[1] ?? '',
      labels: [...(match[2] ?? '').matchAll(/"([^"]*)"/g)].map(([, label]) => label ?? ''),
      body: clean.slice(start, end),
      line: lineOf(clean, match.index),
    })
    opening.lastIndex = end + 1
  }
  if (alone) mustBeBlank(clean, before, clean.length)
  return blocks
}

/** What OpenTofu would refuse to parse, as far as the blocks of a file show it. */
export class HclError extends Error {
  readonly line: number
  constructor(summary: string, line: number) {
    super(summary)
    this.line = line
  }
}

function mustBeBlank(text: string, from: number, to: number): void {
  const offset = text.slice(from, to).search(/\S/)
  if (offset >= 0) throw new HclError('Invalid block definition', lineOf(text, from + offset))
}

const lineOf = (text: string, offset: number) => text.slice(0, offset).split('\n').length

/** The text after `name =` on its line or in its brackets, or null. */
export function attribute(body: string, name: string): string | null {
  const match = new RegExp(`^[ \\t]*${name}[ \\t]*=[ \\t]*(\\[[^\\]]*\\]|.*)$`, 'm').exec(body)
  return match?.[1]?.trim() ?? null
}

function closingBrace(mask: string, from: number): number {
  let depth = 1
  for (let i = from; i < mask.length; i++) {
    if (mask[i] === '{') depth += 1
    else if (mask[i] === '}') depth -= 1
    if (depth === 0) return i
  }
  return mask.length
}

/** The text without comments, and the same without what is inside strings; both as long as the text. */
function scan(text: string): { clean: string; mask: string } {
  const clean = text.split('')
  const mask = text.split('')
  const blank = (chars: string[], from: number, to: number) => {
    for (let i = from; i < to; i++) if (chars[i] !== '\n') chars[i] = ' '
  }
  let i = 0
  while (i < text.length) {
    const heredoc = /^<<-?([A-Za-z_]\w*)\n/.exec(text.slice(i, i + 80))
    if (text[i] === '#' || text.startsWith('//', i)) {
      const end = endOr(text, text.indexOf('\n', i))
      blank(clean, i, end)
      blank(mask, i, end)
      i = end
    } else if (text.startsWith('/*', i)) {
      const end = endOr(text, text.indexOf('*/', i + 2) + 2, 2)
      blank(clean, i, end)
      blank(mask, i, end)
      i = end
    } else if (heredoc) {
      const close = new RegExp(`^[ \\t]*${heredoc[1]}[ \\t]*$`, 'm').exec(text.slice(i + heredoc[0].length))
      const end = close ? i + heredoc[0].length + close.index + close[0].length : text.length
      blank(mask, i, end)
      i = end
    } else if (text[i] === '"') {
      const end = stringEnd(text, i)
      blank(mask, i + 1, end - 1)
      i = end
    } else i += 1
  }
  return { clean: clean.join(''), mask: mask.join('') }
}

function endOr(text: string, index: number, notFound = 0): number {
  return index < notFound ? text.length : index
}

/** Behind the closing quote of the string that opens at `start`; a template in it may hold strings of its own. */
function stringEnd(text: string, start: number): number {
  let i = start + 1
  let depth = 0
  while (i < text.length) {
    const char = text[i]
    if (depth === 0 && char === '\\') i += 2
    else if (depth === 0 && char === '"') return i + 1
    else if ((char === '$' || char === '%') && text[i + 1] === '{' && text[i - 1] !== char) {
      depth += 1
      i += 2
    } else if (depth > 0 && char === '"') i = stringEnd(text, i)
    else {
      if (depth > 0 && char === '{') depth += 1
      if (depth > 0 && char === '}') depth -= 1
      i += 1
    }
  }
  return text.length
}
