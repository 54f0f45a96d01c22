import { expect } from 'chai'
import fc from 'fast-check'
import { type DeployHost, REQUESTED_BY_PATTERN } from '../../../src/lib/domain/contract/index.js'
import { renderDeploySummary } from '../../../src/lib/domain/deploy/summary.js'
import { detailOf, NEW, OLD } from '../../support/fakes.js'

const hosts: DeployHost[] = [
  {
    ...{ id: 'a', outcome: 'rolled-back', ami: OLD.id, previousAmi: OLD.id, instanceId: 'i-2' },
    ...{ startedAt: '2026-03-01T12:00:00Z', finishedAt: '2026-03-01T12:01:05Z', reason: 'it was *bad*\nand more' },
  },
  { id: 'b', outcome: 'skipped', ami: null, previousAmi: null, instanceId: null },
]
const render = (change: Parameters<typeof detailOf>[0], plan: string[] = [], orphans: string[] = []) =>
  renderDeploySummary(detailOf(change), { planLines: plan, orphans, lost: [] })

describe('renderDeploySummary', () => {
  it('shows hosts, outcomes, requester and plans', () => {
    const error = { code: 'ROLLED_BACK', message: 'It runs the old one again.' } as const
    const asked = { caller: 'c-1', requestedBy: 'Ada', target: 'all', status: 'rolled-back', error } as const
    expect(render({ ...asked, hosts: [...hosts] }, ['replace x["a"]']).split('\n')).to.deep.equal([
      '### Fleet deploy of all: rolled-back',
      '',
      `Request \`request-0001\` (requested by Ada \\(claimed\\) via c-1 \\(claimed\\)), AMI \`${NEW.id}\`.`,
      '',
      '> **ROLLED_BACK**: It runs the old one again.',
      '',
      '| Host | Outcome | AMI before | AMI now | Instance | Took | Reason |',
      '| --- | --- | --- | --- | --- | --- | --- |',
      `| a | **rolled back** | ${OLD.id} | ${OLD.id} | i-2 | 65 s | it was \\*bad\\* and more |`,
      '| b | not touched | – | – | – | – | – |',
      '',
      'Planned and guarded:',
      '',
      '- `replace x["a"]`',
      '',
    ])
  })

  it('names instances that keep running, as text', () => {
    const shown = render({ hosts: [] }, [], ['gone-1', '[x](http://y)'])
    expect(shown).to.include('Not in the registry, left running: gone-1, \\[x\\]\\(http\\://y\\).')
  })

  it('leaves out the error and the plan if there are none', () => {
    const text = render({})
    expect(text).to.include(`Request \`request-0001\` (requested by a person with AWS credentials), AMI \`${NEW.id}\`.`)
    expect(text).to.not.match(/>|Planned/)
  })

  it('shows no null for an unknown AMI', () => {
    expect(render({ ami: null, status: 'failed' })).to.not.include('null')
  })

  const line = (requestedBy: string) => render({ requestedBy }).split('\n')[2] ?? ''
  const attacks = [
    '<img src=x onerror=alert(1)>',
    '[click](https://evil.example)',
    '![x](y)',
    '`code`',
    '**bold**',
    '__init__',
    '~~gone~~',
    '| cell |',
    '# title',
    '\\<b>',
    '<!-- hidden',
  ]
  for (const name of attacks) {
    it(`shows ${name} unchanged`, () => {
      const [, shown] = /\(requested by (.*) \\\(claimed\\\)\), AMI/.exec(line(name)) ?? []
      expect(shown).to.match(/^(?:\\[!-/:-@[-`{-~]|[^\\`*_{}[\]<>()#|!~])*$/)
      expect(shown?.replace(/\\(.)/g, '$1')).to.equal(name)
    })
  }

  for (const name of ['https://evil.example', 'www.evil.example']) {
    it(`makes no link of ${name}`, () => expect(line(name)).to.not.include(name))
  }

  it('keeps every name in its cell, whatever it contains', () => {
    const name = fc.string({
      unit: fc.oneof(fc.constantFrom(...'\\`*_[]<>()#|!~'), fc.string({ minLength: 1, maxLength: 1 })),
    })
    fc.assert(
      fc.property(
        name.filter((text) => REQUESTED_BY_PATTERN.test(text)),
        (requestedBy) => {
          expect(line(requestedBy).replace(/\\./gu, '')).to.match(
            /^Request `request-0001` \(requested by [^`*_[\]<>()#|!~]*\), AMI/u,
          )
          expect(render({ requestedBy }).split('\n')).to.have.length(render({}).split('\n').length)
        },
      ),
    )
  })

  it("also escapes the error's message", () => {
    const error = { code: 'INTERNAL', message: '<script>x</script> | `y`' } as const
    expect(render({ error })).to.include('> **INTERNAL**: \\<script\\>x\\</script\\> \\| \\`y\\`')
  })
})
