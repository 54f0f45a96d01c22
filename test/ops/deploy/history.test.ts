import { expect } from 'chai'
import { RecordKeeper } from '../../../src/lib/ops/deploy/deployRecord.js'
import { readHistory } from '../../../src/lib/ops/deploy/history.js'
import { failureOf } from '../../support/failure.js'
import { FakeStore, recordOf } from '../../support/fakes.js'

describe('readHistory', () => {
  const all = Array.from({ length: 250 }, (_, n) => ({ requestId: `request-${1000 + n}` }) as never)
  const asked: object[] = []
  const plane = {
    history: async (page: { limit: number; before?: string }) => {
      asked.push(page)
      const from = Number(page.before ?? 0)
      const to = from + page.limit
      const runs = from >= 100 ? 'unavailable' : 'read'
      return {
        deploys: all.slice(from, to),
        next: to < all.length ? String(to) : null,
        sources: { runs, records: 'read' },
      } as never
    },
  }

  it('goes through pages of a hundred, and says where it goes on and what was missing of any', async () => {
    const history = await readHistory(plane, { limit: 230 })
    expect(history.deploys).to.deep.equal(all.slice(0, 230))
    expect([history.next, history.sources.runs]).to.deep.equal(['230', 'unavailable'])
    expect(asked.splice(0)).to.deep.equal([{ limit: 100 }, { limit: 100, before: '100' }, { limit: 30, before: '200' }])
    const rest = await readHistory(plane, { limit: 230, before: '230' })
    expect([rest.deploys.length, rest.next]).to.deep.equal([20, null])
  })
})

describe("a deploy's record", () => {
  const begin = (store: FakeStore, change: Parameters<typeof recordOf>[0]) =>
    RecordKeeper.begin(store, recordOf({ requestId: 'request-0001', ...change }), () => {})

  it('is begun once, but by the run that it is of', async () => {
    const store = new FakeStore()
    await begin(store, { runId: 7 })
    await begin(store, { runId: 7, createdAt: '2026-03-01T12:30:00.000Z' })
    const before = store.objects.get('deploys/request-0001.json')?.text
    for (const runId of [8, null]) {
      expect((await failureOf(begin(store, { runId }))).code).to.equal('REQUEST_CONFLICT')
    }
    expect(store.objects.get('deploys/request-0001.json')?.text).to.equal(before)
  })
})
