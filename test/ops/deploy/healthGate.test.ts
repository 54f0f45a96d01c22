import { expect } from 'chai'
import { healthGate } from '../../../src/lib/ops/deploy/healthGate.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import { FakeClock, FakeStore, hostOf, NEW, OLD } from '../../support/fakes.js'

function world() {
  const clock = new FakeClock()
  const store = new FakeStore()
  const cloud = new FakeCloud(store, clock)
  const said: string[] = []
  const wait = (ami = NEW.id, timeoutMs = 60_000) =>
    healthGate({ compute: cloud, store, clock }, { id: 'a', ami, notInstanceId: 'i-broken', timeoutMs }, (text) =>
      said.push(text),
    )
  return { clock, cloud, said, wait }
}

describe('healthGate', () => {
  it('is through at once where the host is healthy', async () => {
    const { clock, cloud, wait } = world()
    cloud.launch('a', NEW.id)
    expect(await wait()).to.deep.include({ healthy: true, host: cloud.hosts[0] })
    expect(clock.sleeps).to.deep.equal([])
  })

  it('waits for an instance that EC2 does not show yet, and says so', async () => {
    const { clock, cloud, said, wait } = world()
    clock.onSleep = (nth) => nth === 2 && cloud.launch('a', NEW.id)
    expect(await wait()).to.include({ healthy: true })
    expect(said).to.deep.equal(Array(2).fill('EC2 does not show the new instance yet'))
  })

  for (const [what, id, ami, instanceId] of [
    ['another host', 'b', NEW.id, 'i-1'],
    ['another AMI', 'a', OLD.id, 'i-1'],
    ['the instance that is to go', 'a', NEW.id, 'i-broken'],
  ] as const) {
    it(`does not wait for ${what}`, async () => {
      const { cloud, wait } = world()
      cloud.add(hostOf(id, { ami, instanceId, state: 'stopped' }))
      expect(await wait()).to.deep.include({ healthy: false, host: null })
    })
  }

  it('takes the youngest of several, and stays with it', async () => {
    const { cloud, wait } = world()
    const dead = { ami: NEW.id, state: 'stopped', instanceId: 'i-dead' } as const
    cloud.hosts = [hostOf('a', { ...dead, launchedAt: '2020-01-01T00:00:00Z' })]
    cloud.launch('a', NEW.id)
    expect(await wait()).to.include({ healthy: true })
  })

  it('does not take an instance that is going for the one that it waits for', async () => {
    const { clock, cloud, wait } = world()
    cloud.add(hostOf('a', { ami: OLD.id, state: 'shutting-down' }))
    clock.onSleep = () => cloud.launch('a', OLD.id)
    expect(await wait(OLD.id)).to.include({ healthy: true })
  })
})
