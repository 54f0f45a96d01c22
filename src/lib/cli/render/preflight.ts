import type { CheckStatus } from '../../domain/contract/index.js'
import type { Preflight } from '../../ops/preflight/preflight.js'
import { type Paint, terminalWidth } from '../text.js'
import { fitChat } from './deploy/fleet.js'

const MARKS = { pass: ['green', '✔'], fail: ['red', '✖'], skip: ['yellow', '–'] } as const

/**
 * `preflight` for people: one line per check, the fix below it, the verdict last. A line that is wider than the terminal
 * has its evidence below the title.
 */
export function renderPreflight({ checks, ready, text }: Preflight, paint: Paint, width = terminalWidth()): string {
  const lines = checks.flatMap(({ title, status, evidence, fix }) => {
    const [style, mark] = MARKS[status]
    const what = (fix ?? '').split('\n').filter(Boolean)
    const advice =
      status === 'fail' ? what.map((line) => `    ${line}`) : what.map((line) => `    ${paint('dim', line)}`)
    const gap = title.length + evidence.length + 4 > width ? '\n    ' : '  '
    return [`${paint(style, mark)} ${title}${gap}${paint('dim', evidence)}`, ...advice]
  })
  return [...lines, '', paint(ready ? 'green' : 'red', text)].join('\n')
}

/** For a chat message: the verdict, then only failed and skipped checks. */
export function renderPreflightForChat({ checks, text }: Preflight): string {
  const WORDS: Record<CheckStatus, string> = { pass: '', fail: 'failed', skip: 'not checked' }
  const bad = checks.filter(({ status }) => status !== 'pass')
  return fitChat([
    text,
    ...bad.map(({ title, status, evidence, fix }) => {
      const first = status === 'fail' ? fix?.split('\n')[0] : undefined
      return `${WORDS[status]}: ${title}. ${evidence}${first ? ` → ${first}` : ''}`
    }),
  ])
}
