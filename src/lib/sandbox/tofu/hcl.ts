/** As much of HCL as telling blocks apart needs: comments, strings and braces. Not an evaluator. */

export interface Block {
  type: string
  labels: string[]
  /** Between the braces, comments blanked. */
  body: string
  /** Line of the block's first word, from 1. */
  line: number
}

/** The top-level blocks of a file. */
export function topLevelBlocks(text: string): Block[] {
  const { clean, mask } = scan(text)
  const blocks: Block[] = []
  const opening = /^[ \t]*([a-z_]+)((?:[ \t]+"[^"\n]*")*)[ \t]*\{/gm
  for (let match = opening.exec(clean); match; match = opening.exec(clean)) {
    const start = match.index + match[0].length
    const end = closingBrace(mask, start)
    blocks.push({
      type: match[1] ?? '',
      labels: [...(match[2] ?? '').matchAll(/"([^"]*)"/g)].map(([, label]) => label ?? ''),
      body: clean.slice(start, end),
      line: clean.slice(0, match.index).split('\n').length,
    })
    opening.lastIndex = end + 1
  }
  return blocks
}

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
