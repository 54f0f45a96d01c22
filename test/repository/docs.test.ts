import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { GENERATED, ROOT, replacePart } from '../../scripts/docs.js'
import { diagram, THEMES } from '../../scripts/pictures/diagrams.js'
import { logo } from '../../scripts/pictures/logo.js'
import { HOST_STAGES } from '../../src/lib/domain/contract/stage.js'
import { heartbeatSchema } from '../../src/lib/domain/contract/stored.js'

import { commandsOfSource, sourcesBelow } from '../support/sources.js'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true }).map((f) => `docs/${f}`),
]

describe('the documentation', () => {
  for (const { file, name, content } of GENERATED) {
    it(`has the current ${name} in ${file} (npm run docs updates them)`, async () => {
      expect(read(file)).to.equal(replacePart(read(file), name, await content()))
    })
  }

  it('has current diagrams and logo (npm run readme updates them)', () => {
    expect(read('assets/logo.svg')).to.equal(logo())
    for (const file of readdirSync(join(ROOT, 'docs/pictures'))) {
      for (const [theme, colours] of Object.entries(THEMES)) {
        const picture = read(`assets/${file.replace(/\.mmd$/, '')}-${theme}.svg`)
        expect(picture).to.equal(diagram(read(`docs/pictures/${file}`), colours))
      }
    }
  })

  it('has every paragraph of every description in docs/commands.md', async () => {
    const squeeze = (text: string) => text.replace(/\s+/g, ' ')
    const page = squeeze(readFileSync(join(ROOT, 'docs/commands.md'), 'utf8'))
    for (const { id, command } of await commandsOfSource()) {
      if (command.hidden) continue
      for (const paragraph of (command.description ?? '').split('\n').filter(Boolean)) {
        expect(page, id).to.include(squeeze(paragraph))
      }
    }
  })

  it('names the two commands of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    for (const command of ['demo', 'test']) {
      expect(read('README.md')).to.match(new RegExp(`^npm ci && npm (?:run )?${command}\\b`, 'm'))
      expect(scripts).to.have.property(command)
    }
  })

  it('names every script of package.json that a person runs', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const page = read('CONTRIBUTING.md') + read('README.md')
    const unnamed = Object.keys(scripts).filter(
      (name) => !/^(?:pre|post)pack$|^knip$/.test(name) && !new RegExp(`npm (?:run )?${name}(?![:\\w])`).test(page),
    )
    expect(unnamed).to.deep.equal([])
  })

  it('names only existing files of the repository', () => {
    const made = ['infra/opentofu/aws/platform/platform.auto.tfvars', 'nix/hosts/ID.nix', 'nix/hosts/clawdinator-3.nix']
    const folders = '(?:assets|bench|docs|infra|lambda|memory|nix|sandbox|scripts|src|test|\\.github)'
    const path = new RegExp(`\`(${folders}/[\\w./-]+)\`|(?<![\\w./-])(${folders}/[\\w./-]*\\w\\.\\w+)(?![\\w*{])`, 'g')
    const missing = PAGES.filter((page) => page.endsWith('.md')).flatMap((page) =>
      [...read(page).matchAll(path)]
        .map(([, quoted, file = quoted ?? '']) => file)
        .filter((file) => !existsSync(join(ROOT, file)) && !made.includes(file))
        .map((file) => `${page}: ${file}`),
    )
    expect(missing).to.deep.equal([])
  })

  it('explains every field of a heartbeat', () => {
    const [, section = ''] = /^## The heartbeat$([\s\S]*?)^## /m.exec(read('docs/CONTROL_PLANE.md')) ?? []
    const fields = [...section.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, names = '']) => names.match(/\w+/g) ?? [])
    expect(fields).to.have.members(Object.keys(heartbeatSchema.shape))
    for (const stage of HOST_STAGES) expect(section).to.include(`\`${stage}\``)
  })

  it('quotes only messages of the source in the runbook', () => {
    const scripts = readdirSync(join(ROOT, 'scripts'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.sh'))
      .map((file) => `scripts/${file}`)
    const source = [...['src', 'lambda'].flatMap(sourcesBelow), ...scripts].map(read).join('\n')
    const rows = [...read('docs/RUNBOOK.md').matchAll(/^\|.*Message.*\|\n\| ---.*\n((?:\|.*\n)+)/gm)]
    const bullets = [...read('docs/RUNBOOK.md').matchAll(/^- (`[^`]+`)/gm)].map(([, quoted = '']) => quoted)
    const cells = rows.flatMap(([, table = '']) => table.split('\n').map((row) => row.split(' | ').slice(0, 2).join()))
    const quotes = [...cells, ...bullets].flatMap((text) => [...text.matchAll(/`([^`]+)`/g)].map(([, one = '']) => one))
    const parts = quotes
      .filter((quote) => !/^(?:aws|clawctl) /.test(quote))
      .flatMap((quote) => quote.split(/i-…|…|\b(?:FILE|NAME\.age)\b/))
      .map((part) => part.trim())
      .filter((part) => part.includes(' '))
    expect(parts.length).to.be.greaterThan(12)
    expect(parts.filter((part) => !source.includes(part))).to.deep.equal([])
  })

  it('has no broken link', () => {
    const dead = PAGES.filter((page) => page.endsWith('.md')).flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !existsSync(join(ROOT, dirname(page), target)))
        .map((target) => `${page}: ${target}`),
    )
    expect(dead).to.deep.equal([])
  })

  it('names every dependency and its reason', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, object>
    const decision = read('docs/adr/0003-dependencies.md')
    const unnamed = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => {
      const short = name.replace(/^@types\//, '').replace(/^@[^/]+\//, '')
      return !name.startsWith('@types/') && !decision.includes(short)
    })
    expect(unnamed).to.deep.equal([])
  })
})
