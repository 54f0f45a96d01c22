import { spawn } from 'node:child_process'
import xterm from '@xterm/headless'

/** What a program wrote, and when, in milliseconds since its start. */
export interface Chunk {
  at: number
  text: string
}

export interface Size {
  cols: number
  rows: number
}

/** Of a glyph, in the units of the picture. */
const CELL = { width: 8.4, height: 18, font: 14 }
const PADDING = 14
/** GitHub's dark colours for the sixteen of a terminal. */
const PALETTE = [
  ...['#484f58', '#ff7b72', '#3fb950', '#d29922', '#58a6ff', '#bc8cff', '#39c5cf', '#b1bac4'],
  ...['#6e7681', '#ffa198', '#56d364', '#e3b341', '#79c0ff', '#d2a8ff', '#56d4dd', '#ffffff'],
]
const BACKGROUND = '#0d1117'
const FOREGROUND = '#e6edf3'
/** Frames closer together than this are merged: the difference is not visible, and each costs bytes. */
const FRAME_MS = 250

/** Runs a command on a terminal of its own (util-linux `script`) and records what it writes. */
export function record(
  command: string,
  size: Size,
  env: NodeJS.ProcessEnv,
): Promise<{ chunks: Chunk[]; code: number }> {
  const line = `stty cols ${size.cols} rows ${size.rows}; ${command}`
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', line, '/dev/null'], {
    env: { ...env, COLUMNS: String(size.cols), LINES: String(size.rows), TERM: 'xterm-256color' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const start = Date.now()
  const chunks: Chunk[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => chunks.push({ at: Date.now() - start, text }))
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code) => resolve({ chunks, code: code ?? 1 }))
  })
}

/** A still picture of the terminal at the end. */
export async function still(chunks: readonly Chunk[], size: Size, title: string): Promise<string> {
  const [frame] = (await framesOf(chunks, size)).slice(-1)
  const lines = (frame?.lines ?? []).slice(0, 1 + lastFilled(frame?.lines ?? []))
  return svg({ ...size, rows: lines.length }, title, '', lines.map(row).join(''))
}

/**
 * A recording that plays in a loop and pauses at its last frame. Each displayed line is drawn once and used by every
 * frame that has it. With `prefers-reduced-motion`, only the last frame is shown.
 */
export async function animation(
  chunks: readonly Chunk[],
  size: Size,
  title: string,
  options: { speed: number; holdMs: number },
): Promise<string> {
  const frames = await framesOf(chunks, size)
  const last = frames.at(-1)
  const total = (last?.at ?? 0) / options.speed + options.holdMs
  const ids = new Map<string, string>()
  for (const line of frames.flatMap(({ lines }) => lines)) if (line && !ids.has(line)) ids.set(line, `l${ids.size}`)
  const defs = [...ids].map(([line, id]) => `<g id="${id}">${line}</g>`).join('\n')
  const percent = (ms: number) => `${((ms / total) * 100).toFixed(2)}%`
  const groups: string[] = []
  const rules: string[] = []
  for (const [index, { at, lines }] of frames.entries()) {
    const next = frames[index + 1]
    const [from, to] = [percent(at / options.speed), next ? percent(next.at / options.speed) : '100%']
    const hidden = index === 0 ? '' : '0%{visibility:hidden}'
    const after = next ? `${to}{visibility:hidden}` : '100%{visibility:visible}'
    rules.push(`@keyframes f${index}{${hidden}${from}{visibility:visible}${after}}.f${index}{animation-name:f${index}}`)
    const uses = lines.flatMap((line, y) => (line ? [`<use href="#${ids.get(line)}" y="${y * CELL.height}"/>`] : []))
    groups.push(`<g class="f f${index}${next ? '' : ' last'}">${uses.join('')}</g>`)
  }
  const style = `.f{visibility:hidden;animation-duration:${(total / 1000).toFixed(2)}s;animation-timing-function:step-end;animation-iteration-count:infinite}
${rules.join('\n')}
@media (prefers-reduced-motion:reduce){.f{animation:none}.last{visibility:visible}}`
  return svg(size, title, `<style>${style}</style><defs>${defs}</defs>`, groups.join('\n'))
}

interface Frame {
  at: number
  /** Each line of the screen as SVG; '' for an empty line. */
  lines: string[]
}

async function framesOf(chunks: readonly Chunk[], size: Size): Promise<Frame[]> {
  const terminal = new xterm.Terminal({ ...size, allowProposedApi: true, scrollback: 0 })
  const frames: Frame[] = []
  for (const [index, { at, text }] of chunks.entries()) {
    await new Promise<void>((resolve) => terminal.write(text, resolve))
    const last = frames.at(-1)
    const next = chunks[index + 1]
    const soon = next !== undefined && next.at - at < FRAME_MS
    if (soon && last && at - last.at < FRAME_MS) continue
    const lines = screen(terminal, size)
    if (lines.join('\n') === last?.lines.join('\n')) continue
    if (last && at - last.at < FRAME_MS) last.lines = lines
    else frames.push({ at: last ? at : 0, lines })
  }
  return frames
}

function screen(terminal: InstanceType<typeof xterm.Terminal>, { cols, rows }: Size): string[] {
  const buffer = terminal.buffer.active
  return Array.from({ length: rows }, (_, y) => {
    const line = buffer.getLine(buffer.viewportY + y)
    const spans: { style: string; x: number; text: string }[] = []
    for (let x = 0; x < cols; x += 1) {
      const cell = line?.getCell(x)
      const text = cell?.getChars() || ' '
      const style = cell ? styleOf(cell) : ''
      const last = spans.at(-1)
      if (last && last.style === style) last.text += text
      else spans.push({ style, x, text })
    }
    return spans
      .filter(({ text }) => text.trim() !== '')
      .map(({ style, x, text }) => {
        const skipped = text.length - text.trimStart().length
        const left = ((x + skipped) * CELL.width).toFixed(1)
        return `<text x="${left}"${style} xml:space="preserve">${escaped(text.trim())}</text>`
      })
      .join('')
  })
}

type Cell = NonNullable<
  ReturnType<NonNullable<ReturnType<InstanceType<typeof xterm.Terminal>['buffer']['active']['getLine']>>['getCell']>
>

function styleOf(cell: Cell): string {
  const colour = cell.isFgPalette() ? PALETTE[cell.getFgColor()] : undefined
  const parts = [
    colour ? ` fill="${colour}"` : '',
    cell.isBold() ? ' font-weight="bold"' : '',
    cell.isDim() ? ' opacity=".6"' : '',
    cell.isUnderline() ? ' text-decoration="underline"' : '',
  ]
  return parts.join('')
}

const row = (line: string, y: number) => (line ? `<g transform="translate(0 ${y * CELL.height})">${line}</g>` : '')
const lastFilled = (lines: readonly string[]) => lines.findLastIndex((line) => line !== '')
const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

function svg({ cols, rows }: Size, title: string, head: string, body: string): string {
  const width = Math.ceil(cols * CELL.width + 2 * PADDING)
  const height = Math.ceil(rows * CELL.height + 2 * PADDING)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="${escaped(title)}">
<title>${escaped(title)}</title>
${head}
<rect width="${width}" height="${height}" rx="8" fill="${BACKGROUND}"/>
<g transform="translate(${PADDING} ${PADDING + CELL.font})" fill="${FOREGROUND}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace" font-size="${CELL.font}">
${body}
</g>
</svg>
`
}
