import { expect } from 'chai'
import type { DeployHost } from '../../../src/lib/domain/contract/index.js'
import { RecordKeeper, readRecord } from '../../../src/lib/ops/deploy/deployRecord.js'
import { readHistory } from '../../../src/lib/ops/deploy/history.js'
import { failureOf } from '../../support/failure.js'
import { FakeStore, recordOf, upstream } from '../../support/fakes.js'

describe('readHistory', () => {
  const all = Array.from({ length: 250 }, (_, n) => ({ requestId: `request-${1000 + n}` }) as never)
  const asked: object[] = []
  const plane = {
    history: async (page: { limit: number; before?: string }) => {
      asked.push(page)
      const from = Number(page.before ?? 0)
      const to = from + page.limit
      const runs = from === 100 ? 'unavailable' : 'read'
      const records = from === 200 ? 'unavailable' : 'read'
      return {
        deploys: all.slice(from, to),
        next: to < all.length ? String(to) : null,
        sources: { runs, records },
      } as never
    },
  }

  it('reads pages of a hundred, and returns the next cursor and the missing sources of any page', async () => {
    const history = await readHistory(plane, { limit: 230 })
    expect(history.deploys).to.deep.equal(all.slice(0, 230))
    expect([history.next, history.sources]).to.deep.equal(['230', { runs: 'unavailable', records: 'unavailable' }])
    expect(asked.splice(0)).to.deep.equal([{ limit: 100 }, { limit: 100, before: '100' }, { limit: 30, before: '200' }])
    const rest = await readHistory(plane, { limit: 230, before: '230' })
    expect([rest.deploys.length, rest.next]).to.deep.equal([20, null])
    expect(rest.sources).to.deep.equal({ runs: 'read', records: 'read' })
  })
})

describe("a deploy's record", () => {
  const begin = (store: FakeStore, change: Parameters<typeof recordOf>[0]) =>
    RecordKeeper.begin(store, recordOf({ requestId: 'request-0001', ...change }), () => {})

  it('is created once, and again only by its own run', async () => {
    const store = new FakeStore()
    await begin(store, { runId: 7 })
    await begin(store, { runId: 7, createdAt: '2026-03-01T12:30:00.000Z' })
    const before = store.objects.get('deploys/request-0001.json')?.text
    for (const runId of [8, null]) {
      expect((await failureOf(begin(store, { runId }))).code).to.equal('REQUEST_CONFLICT')
    }
    expect(store.objects.get('deploys/request-0001.json')?.text).to.equal(before)
  })

  it('is created if the answer to its write was lost, but not over another or invalid record', async () => {
    const store = new FakeStore()
    store.loseAnswer()
    await begin(store, { runId: null })
    const error = await failureOf(begin(store, { runId: null, createdAt: '2026-03-01T12:30:00.000Z' }))
    expect([error.code, error.hint]).to.deep.equal(['REQUEST_CONFLICT', 'Deploy again with a new request id.'])
    store.set('deploys/request-0001.json', '{')
    expect((await failureOf(begin(store, { runId: null }))).code).to.equal('REQUEST_CONFLICT')
  })

  it('is written in the order of its changes; a failed write is reported', async () => {
    const store = new FakeStore()
    const errors: unknown[] = []
    const keeper = await RecordKeeper.begin(store, recordOf(), (error) => void errors.push(error))
    await keeper.begun(['a', 'b'].map((id) => ({ id, previousAmi: null, instanceId: null })))
    expect((await readRecord(store, 'request-0001'))?.hosts).to.have.length(2)
    const failure = upstream()
    const { put } = store
    let writes = 0
    store.put = async (key, text) => {
      writes += 1
      if (writes === 1) throw failure
      // The first write takes longest.
      await new Promise((done) => setTimeout(done, writes === 2 ? 10 : 0))
      return put.call(store, key, text)
    }
    await Promise.all([
      keeper.host('a', { outcome: 'deploying' }),
      keeper.host('a', { outcome: 'created' }),
      keeper.update({ status: 'succeeded' }),
    ])
    expect(errors).to.deep.equal([failure])
    const written = JSON.parse(store.objects.get('deploys/request-0001.json')?.text ?? '')
    expect(written).to.deep.equal(keeper.record)
    const outcomes = written.hosts.map(({ outcome }: DeployHost) => outcome)
    expect([written.status, outcomes]).to.deep.equal(['succeeded', ['created', 'pending']])
  })
})
