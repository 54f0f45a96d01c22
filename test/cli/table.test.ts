import { expect } from 'chai'
import fc from 'fast-check'
import { renderDeploys } from '../../src/lib/cli/render/deploy/deploys.js'
import { renderFleet } from '../../src/lib/cli/render/deploy/fleet.js'
import { renderPreflight } from '../../src/lib/cli/render/preflight.js'
import { type Column, painter, printable, printableJson, table } from '../../src/lib/cli/text.js'
import type { Deploy, Fleet } from '../../src/lib/domain/contract/index.js'

const NOW = new Date('2026-11-26T12:00:00.000Z')
const REQUEST = '7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11'
const paint = painter({ isTTY: false })

const fleet: Fleet = {
  latestAmi: { id: 'ami-0a1c1aad1e5000002', name: 'clawdinator', createdAt: '2026-11-21T00:00:00.000Z' },
  instances: ['clawdinator-1', 'clawdinator-2'].map((id) => ({
    id,
    state: 'running' as const,
    instanceId: 'i-0123456789abcdef0',
    ami: 'ami-0a1c1aad1e5000002',
    amiStatus: 'latest' as const,
    instanceType: 't3.large',
    publicIp: '203.0.113.111',
    launchedAt: '2026-11-21T01:00:00.000Z',
    health: 'unhealthy' as const,
    revision: '9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9',
  })),
}

const deploy: Deploy = {
  requestId: REQUEST,
  target: 'clawdinator-2',
  amiOverride: null,
  caller: 'clawdinator-1',
  requestedBy: 'Josephine',
  ami: 'ami-0a1c1aad1e5000002',
  status: 'rolled-back',
  waitsFor: null,
  queuePosition: null,
  runId: 1,
  runUrl: null,
  createdAt: '2026-11-26T11:00:00.000Z',
  startedAt: '2026-11-26T11:00:10.000Z',
  finishedAt: '2026-11-26T11:08:10.000Z',
  durationMs: 480_000,
  hosts: [],
  error: null,
}
const waiting: Deploy = {
  ...deploy,
  status: 'queued',
  waitsFor: { requestId: REQUEST, target: 'clawdinator-1', runId: 2 },
  startedAt: null,
  finishedAt: null,
}

/** Runs `show` on a terminal of that width. */
function on(columns: number, show: () => string): string {
  const { isTTY, columns: before } = process.stdout
  Object.assign(process.stdout, { isTTY: true, columns })
  try {
    return show()
  } finally {
    Object.assign(process.stdout, { isTTY, columns: before })
  }
}

const widest = (text: string) => Math.max(...text.split('\n').map((line) => line.length))

describe('tables', () => {
  for (const columns of [60, 80, 100, 120]) {
    it(`fit ${columns} columns, and keep every id and state`, () => {
      const status = on(columns, () => renderFleet(fleet, NOW, paint).split('\n\n')[0] ?? '')
      expect(widest(status)).to.be.at.most(columns)
      for (const text of ['clawdinator-2', 'running', 'unhealthy', 'ami-0a1c1aad1e5000002', 'latest']) {
        expect(status).to.include(text)
      }
      const history = on(columns, () => renderDeploys([waiting, deploy], NOW, paint))
      expect(widest(history)).to.be.at.most(columns)
      for (const text of ['clawdinator-2', 'queued', 'rolled-back', 'ami-0a1c1aad1e5000002', REQUEST.slice(0, 8)]) {
        expect(history).to.include(text)
      }
    })
  }

  it('drop columns in a fixed order, fewer on wider terminals', () => {
    const header = (columns: number) => on(columns, () => renderFleet(fleet, NOW, paint).split('\n')[0] ?? '')
    expect([120, 100, 90, 80, 60].map((columns) => header(columns).trim().split(/\s+/).slice(4))).to.deep.equal([
      ['TYPE', 'ADDRESS', 'AGE', 'REVISION'],
      ['TYPE', 'ADDRESS', 'AGE'],
      ['ADDRESS', 'AGE'],
      ['AGE'],
      [],
    ])
    expect(on(200, () => renderDeploys([deploy], NOW, paint)))
      .to.include(REQUEST)
      .and.include('2026-11-26 11:00:00')
    expect(on(80, () => renderDeploys([deploy], NOW, paint))).not.to.include(REQUEST)
  })

  it('have no limit in a pipe', () => {
    expect(renderDeploys([deploy], NOW, paint))
      .to.include(REQUEST)
      .and.include('2026-11-26 11:00:00')
  })

  it('never shorten a column without an order, and become blocks of lines if too narrow', () => {
    const cell = fc.stringMatching(/^[a-z0-9-]{1,20}$/)
    const column = fc.record({ narrow: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }) })
    const tables = fc
      .array(column, { minLength: 1, maxLength: 6 })
      .chain((columns) =>
        fc.tuple(
          fc.constant(columns.map(({ narrow }, at): Column => ({ title: `C${at}`, ...(narrow ? { narrow } : {}) }))),
          fc.array(fc.array(cell, { minLength: columns.length, maxLength: columns.length }), { maxLength: 4 }),
          fc.integer({ min: 30, max: 140 }),
        ),
      )
    fc.assert(
      fc.property(tables, ([columns, rows, width]) => {
        const text = table(columns, rows, width)
        expect(widest(text)).to.be.at.most(width)
        for (const row of rows) {
          for (const [at, { narrow }] of columns.entries()) {
            if (narrow === undefined) expect(text).to.include(row[at])
          }
        }
      }),
    )
  })

  it("puts a check's evidence below its title if the terminal is too narrow for both", () => {
    const check = {
      id: 'x',
      title: 'There is an image',
      status: 'pass' as const,
      evidence: 'ami-1, 1 day old.',
      fix: null,
    }
    const shown = (width: number) =>
      renderPreflight(
        { checks: [{ ...check, parts: [] }], ready: true, failed: 0, skipped: 0, text: 'Ready to fly.' },
        paint,
        width,
      ).split('\n')
    expect(shown(38)[0]).to.equal('✔ There is an image  ami-1, 1 day old.')
    expect(shown(37).slice(0, 2)).to.deep.equal(['✔ There is an image', '    ami-1, 1 day old.'])
  })
})

describe('text that leaves for a terminal', () => {
  /** Half of it ASCII; the controls of Unicode are below U+2070. */
  const anything = fc
    .array(fc.oneof(fc.nat(0x7f), fc.nat(0x20ff), fc.constant(0x1f527)))
    .map((codes) => String.fromCodePoint(...codes))
  const UNPRINTABLE = /[^\P{Cc}\n\t]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u

  it('contains no control or bidi characters; newlines, tabs and our colours stay', () => {
    const red = painter({ isTTY: true }, {})('red', 'failed')
    expect(printable(`${red}\ta\n\u001b[2J\u001b[8mb\r\u009bc\u202e👩‍🔧 é\n`)).to.equal(`${red}\ta\n[2J[8mbc👩‍🔧 é\n`)
    fc.assert(
      fc.property(anything, (text) => {
        const shown = printable(text)
        expect(shown).not.to.match(UNPRINTABLE)
        if (!UNPRINTABLE.test(text)) expect(printable(text)).to.equal(text)
      }),
    )
  })

  it('keeps the JSON document equal, in printable characters', () => {
    fc.assert(
      fc.property(fc.record({ text: anything }), (document) => {
        const shown = printableJson(document)
        expect(shown).not.to.match(UNPRINTABLE)
        expect(JSON.parse(shown)).to.deep.equal(document)
      }),
    )
  })
})
