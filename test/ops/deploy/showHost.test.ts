import { expect } from 'chai'
import { indexKey } from '../../../src/lib/domain/deploy/run.js'
import { showHost } from '../../../src/lib/ops/deploy/showHost.js'
import { failureOf } from '../../support/failure.js'
import { FakeCloud } from '../../support/fakeCloud.js'
import {
  FakeClock,
  FakeRuns,
  FakeStore,
  hostOf,
  OLD,
  recordOf,
  registryOf,
  registrySource,
  START,
  upstream,
} from '../../support/fakes.js'

const outage = async () => Promise.reject(upstream())

/** `a` serves and has a candidate; `b` is registered and has no machine. */
function world() {
  const [store, clock, runs] = [new FakeStore(), new FakeClock(), new FakeRuns()]
  const compute = new FakeCloud(store, clock)
  compute.consoleText = 'booting\nwelcome'
  compute.add(hostOf('a'))
  compute.addUnmanaged(hostOf('a', { instanceId: 'i-a2', slot: 'b', launchedAt: START }))
  compute.addUnmanaged(hostOf('a', { instanceId: 'i-gone', state: 'shutting-down' }))
  compute.addUnmanaged(hostOf('orphan'))
  const role = (instanceId: string, from: string | null) =>
    store.set('active/a.json', { schema: 1, id: 'a', instanceId, from, deploy: 'request-0001', at: START })
  role('i-a', null)
  const ports = { store, clock, runs, compute, registry: registrySource(registryOf('a', 'b')) }
  const deploys = (count: number, id: string) => {
    for (let n = 0; n < count; n += 1) {
      const requestId = `request-${id}-${100 + n}`
      const createdAt = new Date(Date.parse(START) + n * 60_000).toISOString()
      const host = { id, outcome: 'created' as const, ami: OLD.id, previousAmi: null, instanceId: null }
      const hosts = [{ ...host, id: 'other' }, host]
      store.set(`deploys/${requestId}.json`, recordOf({ requestId, createdAt, status: 'succeeded', hosts }))
      store.set(indexKey(createdAt, requestId), '{}')
    }
  }
  return { store, compute, ports, role, deploys, show: (id = 'a') => showHost(id, ports) }
}

describe('showHost', () => {
  it('returns the machines that are not shutting down, by their part, with heartbeat, image and console', async () => {
    const { role, show } = world()
    const { machines, ...view } = await show()
    expect(view).to.deep.equal({
      ...{ id: 'a', registered: true, deploys: [] },
      active: { instanceId: 'i-a', deploy: 'request-0001', at: START },
    })
    const shown = machines.map(({ instanceId, role, ami, console }) => [instanceId, role, ami.name, console.length])
    expect(shown).to.deep.equal([
      ['i-a', 'serving', OLD.name, 2],
      ['i-a2', 'candidate', OLD.name, 2],
    ])
    expect(machines.map(({ revision }) => revision)).to.deep.equal(['abc1234', 'abc1234'])
    role('i-a2', 'i-a')
    expect((await show()).machines.map((machine) => [machine.instanceId, machine.role])).to.deep.equal([
      ['i-a2', 'serving'],
      ['i-a', 'predecessor'],
    ])
  })

  it('returns an instance without a machine, and a machine without an entry', async () => {
    const { show } = world()
    expect(await show('b')).to.deep.include({ registered: true, machines: [], active: null })
    const orphan = await show('orphan')
    expect([orphan.registered, orphan.machines.length]).to.deep.equal([false, 1])
  })

  it('returns the last five deploys of the host among the last thirty of the fleet, newest first', async () => {
    const { deploys, show } = world()
    deploys(7, 'a')
    expect((await show()).deploys?.map(({ requestId }) => requestId)).to.deep.equal(
      [106, 105, 104, 103, 102].map((n) => `request-a-${n}`),
    )
    deploys(32, 'b')
    expect((await show()).deploys?.map(({ requestId }) => requestId)).to.deep.equal(
      [106, 105, 104].map((n) => `request-a-${n}`),
    )
  })

  it("returns the rest without bucket and GitHub, and if console, role or history can't be read", async () => {
    const { ports, compute, store, deploys, show } = world()
    deploys(1, 'a')
    expect((await showHost('a', { ...ports, runs: null })).deploys).to.have.length(1)
    const bare = await showHost('a', { ...ports, runs: null, store: null })
    expect([bare.active, bare.deploys, bare.machines.map(({ heartbeatAt }) => heartbeatAt)]).to.deep.equal([
      ...[null, null, [null, null]],
    ])
    compute.console = outage
    store.set('active/a.json', '{')
    store.set('heartbeats/a/i-a2.json', '{')
    store.list = outage
    const dark = await show()
    expect([dark.active, dark.deploys], 'GitHub alone knows no hosts').to.deep.equal([null, null])
    ports.runs.list = outage
    expect((await show()).deploys).to.equal(null)
    expect(
      dark.machines.map(({ instanceId, console, heartbeatAt }) => [instanceId, console, heartbeatAt]),
    ).to.deep.equal([
      ['i-a', [], START],
      ['i-a2', [], null],
    ])
  })

  it('refuses an id without entry and machine, and suggests the nearest', async () => {
    const { show, store, compute } = world()
    for (const [id, hint] of [
      ['orphans', 'See `clawctl fleet status` for the ids.'],
      ['c', 'Did you mean a?'],
    ] as const) {
      expect(await failureOf(show(id))).to.include({ code: 'UNKNOWN_TARGET', hint })
    }
    const read: string[] = []
    store.get = async (key) => {
      read.push(key)
      return null
    }
    compute.addUnmanaged(hostOf('../x'))
    expect((await failureOf(show('../x'))).code).to.equal('UNKNOWN_TARGET')
    expect(read).to.deep.equal([])
    const long = await failureOf(show('x'.repeat(500)))
    expect(long.message).to.include(`"${'x'.repeat(63)}"`)
  })
})
