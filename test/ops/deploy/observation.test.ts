import { expect } from 'chai'
import type { Host } from '../../../src/lib/domain/deploy/host.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { isGone, observe, readRole, writeRole } from '../../../src/lib/ops/deploy/observation.js'
import { failureOf } from '../../support/failure.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { hostOf, REQUEST_ID, registryOf, upstream } from '../../support/fakes.js'

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
