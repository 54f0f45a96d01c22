import { expect } from 'chai'
import { indexKey } from '../../../src/lib/domain/deploy/run.js'
import { getDeploy, listDeploys, newestRecords } from '../../../src/lib/ops/deploy/deploys.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeRuns, FakeStore, NEW, recordOf, runOf, START, upstream } from '../../support/fakes.js'

const MINUTE = 60_000
const at = (minutes: number) => new Date(Date.parse(START) + minutes * MINUTE).toISOString()
const outage = async () => Promise.reject(upstream())

function world() {
  const [runs, store, clock] = [new FakeRuns(), new FakeStore(), new FakeClock()]
  const ports = { runs, store, clock }
  /**
   * With an index, a record is written for up to an hour after the request: its object is newer than its index entry.
   */
  const record = (requestId: string, minutes: number, { index = true, change = {} } = {}) => {
    const createdAt = at(minutes)
    store.set(
      `deploys/${requestId}.json`,
      recordOf({ requestId, createdAt, ...change }),
      new Date(at(minutes + (index ? 60 : 0))),
    )
    if (index) store.set(indexKey(createdAt, requestId), '{}')
  }
  const run = (id: number, minutes: number, change: Parameters<typeof runOf>[1] = {}) =>
    runs.runs.push(runOf(id, { title: `fleet deploy a [request-run${id}]`, createdAt: at(minutes), ...change }))
  const page = async (limit: number, before?: string) =>
    listDeploys(ports, before === undefined ? { limit } : { limit, before })
  const pages = async (limit: number) => {
    const ids: string[][] = []
    for (let next: string | null | undefined; next !== null; ) {
      const { deploys, next: after } = await page(limit, next)
      ids.push(deploys.map(({ requestId }) => requestId))
      next = after
    }
    return ids
  }
  return { runs, store, clock, ports, record, run, page, pages }
}

describe('pages of the history', () => {
  it('contain every deploy once and in order, also runs and records of the same moment, for every size', async () => {
    const { record, run, pages } = world()
    for (const id of ['request-aaa', 'request-ccc', 'request-bbb']) record(id, 5)
    run(9, 7)
    run(8, 5)
    run(7, 5, { title: 'nightly', attempt: 2 })
    run(6, 3, { status: 'completed' })
    record('request-run6', 3)
    record('request-old', 1)
    const all = [
      ...['request-run9', 'request-run8', '7-r2', 'request-aaa', 'request-bbb', 'request-ccc'],
      ...['request-run6', 'request-old'],
    ]
    expect(await pages(100)).to.deep.equal([all])
    for (const size of [1, 2, 3, 5]) {
      const split = await pages(size)
      expect(split.flat()).to.deep.equal(all)
      expect(split).to.have.length(Math.ceil(all.length / size))
    }
    expect(await pages(all.length)).to.deep.equal([all])
  })

  it('continue beyond one listing of the index', async () => {
    const { record, pages } = world()
    const names = (n: number) => ['a', 'b'].map((one) => `request-${String(n).padStart(3, '0')}${one}`)
    for (let n = 0; n < 80; n += 1) for (const id of names(n)) record(id, n)
    const ids = (await pages(7)).flat()
    expect(ids).to.deep.equal(Array.from({ length: 80 }, (_, n) => names(79 - n)).flat())
  })

  it("continue beyond one page of GitHub's runs", async () => {
    const { run, pages } = world()
    for (let n = 120; n > 0; n -= 1) run(n, n)
    expect((await pages(50)).flat()).to.deep.equal(Array.from({ length: 120 }, (_, n) => `request-run${120 - n}`))
  })

  it('end at the last deploy, but may continue if GitHub returned a full list of runs', async () => {
    const { run, page } = world()
    expect((await page(5)).next).to.equal(null)
    for (let n = 1; n <= 99; n += 1) run(n, n)
    expect((await page(100)).next).to.equal(null)
    run(100, 100)
    expect((await page(100)).next).to.be.a('string')
  })

  it('refuse an invalid cursor', async () => {
    const error = await failureOf(world().page(5, 'yesterday'))
    expect(error.code).to.equal('INVALID_REQUEST')
    expect(error.hint).to.include('`next`')
  })

  it("take a record's place from the newest index entry, and its order from the record", async () => {
    const { store, record, page } = world()
    record('request-0001', 10)
    record('request-0002', 20)
    record('request-0002', 5)
    record('request-0003', -100, { index: false })
    store.set(
      'deploys/request-0003.json',
      recordOf({ requestId: 'request-0003', createdAt: at(-100) }),
      new Date(at(30)),
    )
    const ids = async (limit: number) => (await page(limit)).deploys.map(({ requestId }) => requestId)
    expect(await ids(2)).to.deep.equal(['request-0002', 'request-0003'])
    expect(await ids(3)).to.deep.equal(['request-0001', 'request-0002', 'request-0003'])
  })

  it('report for each run which one it waits for, and read no record of a run without a request id', async () => {
    const { store, run, page } = world()
    run(1, 1, { status: 'in_progress' })
    run(2, 2)
    run(3, 0, { title: 'nightly', status: 'completed' })
    const read: string[] = []
    store.get = async (key) => {
      read.push(key)
      return null
    }
    const { deploys } = await page(5)
    expect(deploys.map(({ waitsFor }) => waitsFor?.requestId)).to.deep.equal(['request-run1', undefined, undefined])
    expect(read).to.have.members(['deploys/request-run1.json', 'deploys/request-run2.json'])
  })
})

describe('the newest records', () => {
  it('are the last fifty by their own times, without entries that have no record', async () => {
    const { store, record } = world()
    const id = (n: number) => `request-${String((n * 7) % 60).padStart(3, '0')}`
    for (let n = 0; n < 60; n += 1) record(id(n), n, { index: n > 54 })
    record(id(57), 100, { index: false })
    store.set(indexKey(at(200), 'request-lost'), '{}')
    store.set('deploys/by-time/nonsense', '{}')
    const ids = (await newestRecords(store)).map(({ requestId }) => requestId)
    const rest = Array.from({ length: 60 }, (_, n) => 59 - n).filter((n) => n !== 57)
    expect(ids).to.deep.equal([57, ...rest].slice(0, 49).map(id))
  })
})

describe('a history with one unavailable source', () => {
  const both = () => {
    const all = world()
    all.run(2, 20)
    all.record('request-run2', 20, { change: { ami: NEW.id } })
    all.record('request-0001', 10)
    return all
  }
  const shown = async ({ page }: ReturnType<typeof world>) => {
    const { deploys, sources } = await page(5)
    return [deploys.map(({ requestId, ami }) => `${requestId} ${ami}`), sources]
  }

  it('reports both sources as read', async () => {
    expect(await shown(both())).to.deep.equal([
      [`request-run2 ${NEW.id}`, `request-0001 ${NEW.id}`],
      { runs: 'read', records: 'read' },
    ])
  })

  it('comes from the records without GitHub', async () => {
    const all = both()
    all.runs.list = outage
    const ids = [`request-run2 ${NEW.id}`, `request-0001 ${NEW.id}`]
    expect(await shown(all)).to.deep.equal([ids, { runs: 'unavailable', records: 'read' }])
  })

  it('comes from the runs without the list of records, and without an unreadable record', async () => {
    for (const broken of ['list', 'get'] as const) {
      const all = both()
      all.store[broken] = outage
      expect(await shown(all)).to.deep.equal([['request-run2 null'], { runs: 'read', records: 'unavailable' }])
    }
  })

  it('fails with the outage if no source answers, with and without a bucket', async () => {
    const { runs, store, clock, page } = both()
    runs.list = outage
    expect((await failureOf(listDeploys({ runs, store: null, clock }, { limit: 1 }))).code).to.equal('UPSTREAM')
    store.list = outage
    expect((await failureOf(page(1))).code).to.equal('UPSTREAM')
  })
})

describe('a deploy with one unavailable source', () => {
  const step = { name: 'plan', status: 'completed', conclusion: 'success' } as const
  const both = (status: 'queued' | 'completed' = 'completed') => {
    const all = world()
    all.run(9, 30)
    all.run(2, 20, { status, conclusion: status === 'completed' ? 'success' : null })
    all.runs.jobsOf.set(2, [{ name: 'deploy', steps: [step] }])
    all.record('request-run2', 20, { change: { ami: NEW.id, status: 'succeeded' } })
    all.store.set('claims/request-0001.json', {
      ...{ nonce: 'settled', at: START, order: 'fleet deploy a [request-0001]' },
      run: { id: 2, url: 'https://github.example/runs/2', requestId: 'request-run2' },
    })
    return all
  }
  const shown = async ({ ports }: ReturnType<typeof world>, id: string) => {
    const { deploy, sources } = await getDeploy(ports, id)
    const { requestId, status, ami, steps } = deploy
    return { found: `${requestId} ${status} ${ami} ${steps.length}`, ...sources }
  }
  const whole = { found: `request-run2 succeeded ${NEW.id} 1`, runs: 'read', records: 'read' }

  for (const id of ['request-run2', '2', 'request-0001']) {
    it(`has run, record and steps by ${id}, or those that can be read`, async () => {
      expect(await shown(both(), id)).to.deep.equal(whole)
      const unsteady = both()
      unsteady.runs.jobs = outage
      expect(await shown(unsteady, id)).to.deep.equal({
        ...whole,
        found: `request-run2 succeeded ${NEW.id} 0`,
        runs: 'unavailable',
      })
    })
  }

  it('is its run without S3, and its record without GitHub', async () => {
    const withoutS3 = both()
    withoutS3.store.get = outage
    const run = { found: 'request-run2 succeeded null 1', runs: 'read', records: 'unavailable' }
    expect(await shown(withoutS3, 'request-run2')).to.deep.equal(run)
    const withoutGitHub = both()
    withoutGitHub.runs.list = outage
    const record = { found: `request-run2 succeeded ${NEW.id} 0`, runs: 'unavailable', records: 'read' }
    for (const id of ['request-run2', 'request-0001']) expect(await shown(withoutGitHub, id)).to.deep.equal(record)
  })

  it('reads no steps of a run that has not started', async () => {
    expect((await shown(both('queued'), 'request-run2')).found).to.match(/ 0$/)
  })

  it('is not reported as missing if the failed service may have it', async () => {
    const all = both()
    all.runs.list = outage
    all.store.objects.delete('deploys/request-run2.json')
    for (const id of ['request-run2', 'request-0001'])
      expect((await failureOf(getDeploy(all.ports, id))).code).to.equal('UPSTREAM')
    const missing = await failureOf(getDeploy(both().ports, 'request-0009'))
    expect([missing.code, missing.hint]).to.deep.equal(['NOT_FOUND', 'See `clawctl fleet history` for the ids.'])
  })

  it('is found by its claim before GitHub lists its run, but not without permission to read claims', async () => {
    const all = both()
    all.runs.runs = [runOf(4, { title: 'nightly' })]
    all.store.objects.delete('deploys/request-run2.json')
    expect(await shown(all, 'request-0001')).to.deep.equal({
      ...{ found: 'request-run2 queued null 0', runs: 'read', records: 'read' },
    })
    const { get } = all.store
    all.store.get = async (key) => {
      if (key.startsWith('claims/')) throw new Error('denied')
      return get.call(all.store, key)
    }
    expect((await failureOf(getDeploy(all.ports, 'request-0001'))).code).to.equal('NOT_FOUND')
  })

  it('is its run without a bucket', async () => {
    const { runs, clock } = both()
    const ports = { runs, clock, store: null }
    expect((await getDeploy(ports, 'request-run2')).sources).to.deep.equal({ runs: 'read', records: 'read' })
    expect((await failureOf(getDeploy(ports, 'request-0001'))).code).to.equal('NOT_FOUND')
  })
})
