import { expect } from 'chai'
import type { DeployHost } from '../../../src/lib/domain/contract/index.js'
import { RecordKeeper } from '../../../src/lib/ops/deploy/deployRecord.js'
import { HostList, HostSteps } from '../../../src/lib/ops/deploy/hostSteps.js'
import type { ItemProgress, Progress } from '../../../src/lib/ops/ports.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeStore, recordOf, START, upstream } from '../../support/fakes.js'

/** The displayed lines, in order. */
function screen() {
  const shown: string[] = []
  const list: ItemProgress = {
    step: async (item, name, step) => {
      shown.push(`${item}: ${name}`)
      const result = await step((text) => void shown.push(`${item}: > ${text}`))
      shown.push(`${item}: ${name} is over`)
      return result
    },
    end: (item, failure) => void shown.push(`${item} ends${failure === undefined ? '' : `: ${failure}`}`),
  }
  const progress: Progress = {
    task: async (_title, work) => work(() => {}),
    note: () => {},
    list: async (items, work) => {
      shown.push(`list of ${items.join()}`)
      const result = await work(list)
      shown.push('the list is over')
      return result
    },
  }
  return { shown, list, progress }
}

const host = (id: string, change: Partial<DeployHost> = {}): DeployHost => ({
  ...{ id, outcome: 'pending', ami: null, previousAmi: null, instanceId: null, step: null, reason: null },
  ...change,
})
const at = (name: 'plan' | 'standby', clause: string | null = null, since = START) =>
  ({ outcome: 'deploying', step: { name, since, clause } }) as const

describe('the list of a deploy that runs elsewhere', () => {
  it('starts with its first hosts, and shows each step and clause once', async () => {
    const { shown, progress } = screen()
    const list = new HostList(progress)
    await list.update([])
    expect(shown).to.deep.equal([])
    await list.update([host('a'), host('b')])
    await list.update([host('a', at('plan')), host('b')])
    await list.update([host('a', at('plan', 'create x')), host('b')])
    await list.update([host('a', at('standby', 'it boots')), host('b')])
    await list.close()
    expect(shown).to.deep.equal([
      'list of a,b',
      'a: plan',
      'a: > create x',
      'a: plan is over',
      'a: wait until ready',
      'a: > it boots',
      'a: wait until ready is over',
      'the list is over',
    ])
  })

  it('treats a later step of the same name as another one', async () => {
    const { shown, progress } = screen()
    const list = new HostList(progress)
    await list.update([host('a', at('plan'))])
    await list.update([host('a', at('plan', null, '2026-03-01T12:01:00.000Z'))])
    expect(shown).to.deep.equal(['list of a', 'a: plan', 'a: plan is over', 'a: plan'])
  })

  it('ends each host once, with the reason for a failure', async () => {
    const { shown, progress } = screen()
    const list = new HostList(progress)
    const good = ['created', 'replaced', 'retired', 'planned'] as const
    const open = ['pending', 'deploying', 'skipped'] as const
    const hosts = [
      ...[...good, ...open].map((outcome) => host(outcome, { outcome })),
      host('x', { outcome: 'failed' }),
      host('y', { outcome: 'kept', reason: 'No token.' }),
    ]
    await list.update(hosts)
    await list.update([...hosts, host('not in the list', { outcome: 'created' })])
    expect(shown.slice(1)).to.deep.equal([
      ...good.map((id) => `${id} ends`),
      'x ends: failed',
      'y ends: kept: No token.',
    ])
  })

  it("may be closed before it starts, and fails if it can't be shown", async () => {
    const { progress } = screen()
    await new HostList(progress).close()
    const broken = { ...progress, list: () => Promise.reject(upstream()) }
    expect((await failureOf(new HostList(broken).update([host('a')]))).code).to.equal('UPSTREAM')
  })
})

describe('the steps of a host', () => {
  it('are shown and recorded if they are new, each with its time', async () => {
    const { shown, list } = screen()
    const clock = new FakeClock()
    const store = new FakeStore()
    const keeper = await RecordKeeper.begin(store, recordOf({ hosts: [host('a'), host('b')] }), () => {})
    const steps = new HostSteps('a', { keeper, clock, list })
    const before = store.puts.length
    const written = () => store.puts.length - before
    await steps.at('plan')
    expect(keeper.record.hosts[0]?.step).to.deep.equal({ name: 'plan', since: START, clause: null })
    await clock.sleep(60_000)
    await steps.at('plan')
    expect(written()).to.equal(1)
    await steps.at('plan', 'create x')
    await steps.at('plan', 'create x')
    await steps.at('plan')
    expect(written()).to.equal(2)
    expect(keeper.record.hosts[0]?.step).to.deep.equal({ name: 'plan', since: START, clause: 'create x' })
    await steps.at('standby')
    const since = '2026-03-01T12:01:00.000Z'
    expect(keeper.record.hosts[0]?.step).to.deep.equal({ name: 'standby', since, clause: null })
    expect(keeper.record.hosts[1]?.step).to.equal(null)
    await steps.end('No token.')
    await steps.end(undefined)
    expect(shown).to.deep.equal([
      'a: plan',
      'a: > create x',
      'a: plan is over',
      'a: wait until ready',
      'a: wait until ready is over',
      'a ends: No token.',
      'a ends',
    ])
  })
})
