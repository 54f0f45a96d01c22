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

  it('is lost where somebody removes it at the same moment', async () => {
    const { store, ports } = fleet()
    store.put = async () => {}
    const error = await failureOf(writeRole(ports, { active: null, etag: null }, next))
    expect(error.code).to.equal('ROLE_LOST')
    expect(error.message).to.include('changed it at the same moment')
    expect(error.hint).to.include('deploy again')
  })

  it('is ours where the write arrived and its answer did not', async () => {
    const { store, ports } = fleet()
    const put = store.putIf.bind(store)
    store.putIf = async (...args) => (await put(...args)) && false
    expect((await writeRole(ports, { active: null, etag: null }, next)).active).to.include({ instanceId: 'i-b' })
  })

  it('says what to look at where it can not be read', async () => {
    const { store } = fleet()
    store.set('active/a.json', '{}')
    expect((await failureOf(readRole(store, 'a'))).hint).to.include('Find out what wrote it')
  })
})

describe('observe', () => {
  it('calls gone what shuts down, and never what EC2 knows although it did not list it', async () => {
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

  it('asks by its id for no machine that is listed or known to be gone, and lists the fleet once', async () => {
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

  it('asks for no machine that the state knows without its id', async () => {
    const plane = fleet()
    const state = [{ address: instanceAddress('a'), id: null }]
    Object.assign(plane.cloud, { state: async () => state })
    plane.cloud.describeHost = () => Promise.reject(upstream())
    const { gone } = await observe(plane.ports, new Set())
    expect([...gone]).to.deep.equal([])
  })

  it('believes one answer that a machine is terminated or shuts down, and none that it is unknown', async () => {
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

describe('where an id stands', () => {
  /** EC2 knows these machines of the id by their ids, and lists those that are `listed`. */
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

  it('is by EC2 list alone where it has the machine that is named, or none is', async () => {
    const other = hostOf('b', { instanceId: 'i-other' })
    const alone = { holder: 'i-a', predecessor: null, suspended: false, asked: [], gone: [] }
    expect(await standing({ instanceId: 'i-a', from: null }, { listed: [other, ...listed('i-a')] })).to.deep.equal(
      alone,
    )
    expect(await standing(null, { listed: [other, ...listed('i-a')] })).to.deep.equal(alone)
  })

  it('asks for the machine that is named and not listed by its id, and then for no other', async () => {
    const found = await standing({ instanceId: 'i-a', from: 'i-b' }, { knows: { 'i-a': 'running', 'i-b': 'running' } })
    expect(found).to.deep.equal({ holder: 'i-a', predecessor: null, suspended: false, asked: ['i-a'], gone: [] })
  })

  it('asks for the old machine of a handover where no machine is named, or the named one is gone', async () => {
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
    it(`has nobody where the machine is ${then ?? 'unknown'} when it is read again`, async () => {
      const plane = fleet()
      const answers = [hostOf('a'), then]
      plane.cloud.describeHost = async () => answers.shift() ?? null
      const active: ActiveMachine = { schema: 1, id: 'a', instanceId: 'i-a', from: null, at: START }
      const seen = { hosts: [], gone: new Set<string>() }
      expect(await standingOfId(plane.ports, seen, { active, etag: null }, 'a')).to.include({ holder: null })
    })
  }

  it('has nobody where both are gone', async () => {
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

  it('needs the role of its id, or that nobody has it, and that it runs', async () => {
    expect(await answer('i-a', 'running')).to.equal(true)
    expect(await answer(null, 'running')).to.equal(true)
    expect(await answer('i-b', 'running')).to.equal(false)
    expect(await answer('i-a', 'stopped')).to.equal(false)
    expect(await answer('i-a', 'terminated')).to.equal(false)
  })

  it('is not said where it can not be read', async () => {
    expect(await answer('i-a', 'running', 'down')).to.equal(false)
  })
})
