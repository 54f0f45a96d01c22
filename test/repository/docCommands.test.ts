import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'
import { commandsOfSource, type SourceCommand } from '../support/sources.js'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md') && file !== 'commands.md')
    .map((file) => `docs/${file}`),
  ...['fleet', 'memory', 'github-triage'].map((name) => `clawdinator/workspace/skills/${name}/SKILL.md`),
]

/** Every `clawctl …` that a reader would paste: lines of shell blocks and code in the text, without what follows a pipe. */
function typedIn(page: string): string[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  const blocks = [...text.matchAll(/^```(?:bash|sh|shell)\n([\s\S]*?)^```/gm)].map(([, block]) => block ?? '')
  const lines = blocks.flatMap((block) => block.replaceAll('\\\n', ' ').split('\n'))
  const inline = [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`(clawctl [^`]+)`/g)].map(
    ([, code]) => code ?? '',
  )
  return [...lines, ...inline].flatMap((line) => {
    const plain = line
      .replace(/(^|\s)#.*$/, '')
      .replace(/'[^']*'|"[^"]*"/g, (quoted) => quoted.replaceAll(/[;&|]/g, ' '))
    return plain.split(/&&|\|\||[;|]/).flatMap((part) => /(?:^|\s|\$\()(clawctl(?: .*)?)$/.exec(part.trim())?.[1] ?? [])
  })
}

/** What is wrong with a typed command, or null. `…`, ID and [OPTIONAL] are a reader's own. */
function problemOf(typed: string, commands: readonly SourceCommand[], topics: ReadonlySet<string>): string | null {
  const end = typed.indexOf(' -- ')
  const words = (end < 0 ? typed : typed.slice(0, end)).split(/\s+/).slice(1).filter(Boolean)
  const names = words.filter((word) => !word.startsWith('-')).map((word) => word.replace(/[^a-z-].*$/, ''))
  const command = commands
    .filter(({ id }) => id.split(' ').every((part, index) => names[index] === part))
    .sort((a, b) => b.id.length - a.id.length)[0]
  const flags = words.filter((word) => /^--[a-z]/.test(word)).map((word) => word.slice(2).replace(/[=,.…)\]].*$/, ''))
  if (!command) {
    const asked = names.filter(Boolean).join(' ')
    return asked === '' || topics.has(asked) || /^[A-Z…]/.test(words[0] ?? '') ? null : `no command "${asked}"`
  }
  const known = new Set([...Object.keys({ ...command.command.baseFlags, ...command.command.flags }), 'json', 'help'])
  const unknown = flags.filter((flag) => !known.has(flag))
  return unknown.length > 0 ? `${command.id} has no --${unknown.join(', --')}` : null
}

describe('the commands in the documentation', () => {
  it('are commands that exist, with options that they take', async () => {
    const commands = await commandsOfSource()
    const topics = new Set(commands.flatMap(({ id }) => id.split(' ').map((_, n, all) => all.slice(0, n).join(' '))))
    const typed = PAGES.flatMap((page) => typedIn(page).map((line) => ({ page, line })))
    expect(typed.length).to.be.greaterThan(80)
    const wrong = typed.flatMap(({ page, line }) => {
      const problem = problemOf(line, commands, topics)
      return problem ? [`${page}: ${line}: ${problem}`] : []
    })
    expect(wrong).to.deep.equal([])
  })
})
