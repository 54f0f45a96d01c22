import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'
import { commandsOfSource, problemOf } from '../support/sources.js'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md') && file !== 'commands.md')
    .map((file) => `docs/${file}`),
  ...['fleet', 'memory', 'github-triage'].map((name) => `clawdinator/workspace/skills/${name}/SKILL.md`),
]

/** Every `clawctl …` that a reader would copy: lines of shell blocks and inline code, up to a pipe. */
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

describe('the commands in the documentation', () => {
  it('exist, with options that they accept', async () => {
    const commands = await commandsOfSource()
    const typed = PAGES.flatMap((page) => typedIn(page).map((line) => ({ page, line })))
    expect(typed.length).to.be.greaterThan(80)
    const wrong = typed.flatMap(({ page, line }) => {
      const problem = problemOf(line, commands)
      return problem ? [`${page}: ${line}: ${problem}`] : []
    })
    expect(wrong).to.deep.equal([])
  })
})
