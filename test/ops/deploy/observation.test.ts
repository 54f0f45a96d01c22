import { expect } from 'chai'
import type { ActiveMachine } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE } from '../../../src/lib/domain/deploy/active.js'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { isGone, observe, readRole, serves, standingOfId, writeRole } from '../../../src/lib/ops/deploy/observation.js'
import { failureOf } from '../../support/failure.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, REQUEST_ID, registryOf, START, upstream } from '../../support/fakes.js'

const fleet = () => fakeDirectPlane(registryOf('a', 'b'), ['a', 'b'])

describe('the role of a machine', () => {
  const next = { id: 'a', instanceId: 'i-b', from: null, deploy: REQUEST_ID }

  it('is lost if another process deletes the object at the same moment', async () => {
    const { store, ports } = fleet()
    store.put = async () => {}
    const error = await failureOf(writeRole(ports, { active: null, etag: null }, next))
    expect(error.code).to.equal('ROLE_LOST')
    expect(error.message).to.include('changed it at the same moment')
    expect(error.hint).to.include('deploy again')
  })

  it('is given if the write arrived but its answer did not', async () => {
    const { store, ports } = fleet()
    const put = store.putIf.bind(store)
    store.putIf = async (...args) => (await put(...args)) && false
    expect((await writeRole(ports, { active: null, etag: null }, next)).active).to.include({ instanceId: 'i-b' })
  })

  it("fails with a hint if the object can't be read", async () => {
    const { store } = fleet()
    store.set('active/a.json', '{}')
    expect((await failureOf(readRole(store, 'a'))).hint).to.include('Find out what wrote it')
  })
})

describe('observe', () => {
  it('counts a machine that shuts down as gone, and never one that EC2 knows but did not list', async () => {
    const plane = fleet()
    for (const { host } of plane.cloud.machines) if (host.id === 'a') host.state = 'shutting-down'
    const listed = plane.cloud.describeHosts.bind(plane.cloud)
    let asked = 0
    plane.cloud.describeHosts = async () => {
      asked += 1
      return (await listed()).filter(({ id }) => asked > 1 || id !== 'b')
    }
    const { gone, hosts } = await observe(plane.ports, new Set())
    expect([...gone]).to.deep.equal(['i-a'])
    expect(hosts.map(({ instanceId }) => instanceId)).to.deep.equal(['i-a', 'i-b'])
    expect(plane.clock.elapsed).to.equal(0)
  })

  it('reads no machine by its id that is listed or known to be gone, and lists the fleet once', async () => {
    const plane = fleet()
    plane.cloud.describeHost = () => Promise.reject(upstream())
    const listed = plane.cloud.describeHosts.bind(plane.cloud)
    let lists = 0
    plane.cloud.describeHosts = async () => {
      lists += 1
      return (await listed()).filter(({ id }) => id !== 'b')
    }
    const { gone, hosts } = await observe(plane.ports, new Set(['i-b']))
    expect([[...gone], hosts.map(({ instanceId }) => instanceId), lists]).to.deep.equal([['i-b'], ['i-a'], 1])
  })

  it('reads no machine without an id in the state', async () => {
    const plane = fleet()
    const state = [{ address: instanceAddress('a'), id: null }]
    Object.assign(plane.cloud, { state: async () => state })
    plane.cloud.describeHost = () => Promise.reject(upstream())
    const { gone } = await observe(plane.ports, new Set())
    expect([...gone]).to.deep.equal([])
  })

  it('accepts one answer that a machine is terminated or shutting down, but not one that it is unknown', async () => {
    const plane = fleet()
    const answer = async (state: Host['state'] | 'terminated' | null) => {
      plane.cloud.describeHost = async () => (state === null || state === 'terminated' ? state : hostOf('a', { state }))
      const before = plane.clock.elapsed
      return [await isGone(plane.ports, 'i-a'), plane.clock.elapsed - before]
    }
    expect(await answer('terminated')).to.deep.equal([true, 0])
    expect(await answer('shutting-down')).to.deep.equal([true, 0])
    expect(await answer('stopped')).to.deep.equal([false, 0])
    expect(await answer(null)).to.deep.equal([true, 60_000])
  })
})

describe('the machines of an id by their part in a handover', () => {
  /** EC2 has these machines of the id, and lists only those in `listed`. */
  const standing = async (
    role: Pick<ActiveMachine, 'instanceId' | 'from'> | null,
    {
      knows = {},
      listed = [],
      gone = [],
    }: { knows?: Record<string, Host['state'] | 'terminated'>; listed?: Host[]; gone?: string[] },
  ) => {
    const plane = fleet()
    const asked: string[] = []
    plane.cloud.describeHost = async (instanceId) => {
      asked.push(instanceId)
      const state = knows[instanceId] ?? null
      return state === null || state === 'terminated' ? state : hostOf('a', { instanceId, state })
    }
    const seen = { hosts: listed, gone: new Set(gone) }
    const active = role && ({ schema: 1, id: 'a', deploy: null, at: START, ...role } as ActiveMachine)
    const found = await standingOfId(plane.ports, seen, { active, etag: null }, 'a')
    const of = (host: Host | null) => host?.instanceId ?? null
    const { holder, predecessor, suspended } = found
    return {
      holder: of(holder),
      predecessor: of(predecessor),
      suspended,
      asked: [...new Set(asked)],
      gone: [...seen.gone],
    }
  }
  const listed = (...ids: string[]) => ids.map((instanceId) => hostOf('a', { instanceId }))

  it("come only from EC2's list if the named machine is in it, or none is named", async () => {
    const other = hostOf('b', { instanceId: 'i-other' })
    const alone = { holder: 'i-a', predecessor: null, suspended: false, asked: [], gone: [] }
    expect(await standing({ instanceId: 'i-a', from: null }, { listed: [other, ...listed('i-a')] })).to.deep.equal(
      alone,
    )
    expect(await standing(null, { listed: [other, ...listed('i-a')] })).to.deep.equal(alone)
  })

  it('include the named machine, read by its id, if it is not listed', async () => {
    const found = await standing({ instanceId: 'i-a', from: 'i-b' }, { knows: { 'i-a': 'running', 'i-b': 'running' } })
    expect(found).to.deep.equal({ holder: 'i-a', predecessor: null, suspended: false, asked: ['i-a'], gone: [] })
  })

  it('include the old machine of a handover if no machine is named, or the named one is gone', async () => {
    const back = { holder: 'i-b', predecessor: null, suspended: true }
    const knows = { 'i-a': 'terminated', 'i-b': 'running' } as const
    expect(await standing({ instanceId: NO_MACHINE, from: 'i-b' }, { knows })).to.deep.equal({
      ...{ ...back, asked: ['i-b'], gone: [] },
    })
    expect(await standing({ instanceId: 'i-a', from: 'i-b' }, { knows, gone: ['i-a'] })).to.deep.equal({
      ...{ ...back, asked: ['i-b'], gone: ['i-a'] },
    })
    expect(await standing({ instanceId: 'i-a', from: 'i-b' }, { knows })).to.deep.equal({
      ...{ ...back, asked: ['i-a', 'i-b'], gone: ['i-a'] },
    })
  })

  for (const then of ['terminated', null] as const) {
    it(`have no holder if the machine is ${then ?? 'unknown'} when it is read again`, async () => {
      const plane = fleet()
      const answers = [hostOf('a'), then]
      plane.cloud.describeHost = async () => answers.shift() ?? null
      const active: ActiveMachine = { schema: 1, id: 'a', instanceId: 'i-a', from: null, at: START }
      const seen = { hosts: [], gone: new Set<string>() }
      expect(await standingOfId(plane.ports, seen, { active, etag: null }, 'a')).to.include({ holder: null })
    })
  }

  it('have no holder if both are gone', async () => {
    const knows = { 'i-a': 'terminated', 'i-b': 'terminated' } as const
    const found = await standing({ instanceId: 'i-a', from: 'i-b' }, { knows })
    expect(found).to.include({ holder: null, suspended: false })
    expect(found.gone).to.deep.equal(['i-a', 'i-b'])
  })
})

describe('whether a machine serves', () => {
  const answer = async (named: string | null, state: Host['state'] | 'terminated', s3: 'up' | 'down' = 'up') => {
    const { store, ports, cloud } = fleet()
    if (named)
      store.set('active/a.json', { schema: 1, id: 'a', instanceId: named, from: null, deploy: null, at: START })
    if (s3 === 'down') store.get = () => Promise.reject(upstream())
    cloud.describeHost = async () => (state === 'terminated' ? state : hostOf('a', { state }))
    return serves(ports, { id: 'a', instanceId: 'i-a' })
  }

  it('is true if it runs, and has the role or no machine has it', async () => {
    expect(await answer('i-a', 'running')).to.equal(true)
    expect(await answer(null, 'running')).to.equal(true)
    expect(await answer('i-b', 'running')).to.equal(false)
    expect(await answer('i-a', 'stopped')).to.equal(false)
    expect(await answer('i-a', 'terminated')).to.equal(false)
  })

  it("is false if it can't be read", async () => {
    expect(await answer('i-a', 'running', 'down')).to.equal(false)
  })
})
