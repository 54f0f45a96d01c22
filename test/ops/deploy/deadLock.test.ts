import { expect } from 'chai'
import { releaseDeadLock } from '../../../src/lib/ops/deploy/deadLock.js'
import { fakeDirectPlane } from '../../support/fakeCloud.js'
import { FakeRuns, registryOf, runOf } from '../../support/fakes.js'

const minute = (n: number) => new Date(Date.parse('2026-03-01T12:00:00Z') + n * 60_000).toISOString()

describe('a lock of the state', () => {
  function world(created = minute(5)) {
    const plane = fakeDirectPlane(registryOf('a'), [])
    const runs = new FakeRuns()
    plane.store.set('state/fleet.tfstate.tflock', { ID: 'lock-1', Who: 'runner@x', Created: created, Info: '' })
    const released = async (given: FakeRuns | null = runs) => {
      await releaseDeadLock({ ...plane.ports, runs: given })
      return plane.cloud.log.includes('unlock lock-1')
    }
    return { ...plane, runs, released }
  }
  const over = runOf(1, { status: 'completed', startedAt: minute(0), updatedAt: minute(10) })

  it('is released where it was taken by a run that is over, and said so', async () => {
    const { runs, released, progress } = world()
    runs.runs = [runOf(77, { status: 'in_progress', startedAt: minute(11) }), over]
    expect(await released()).to.equal(true)
    expect(progress.notes[0]).to.include(over.url).and.to.include('lock-1')
  })

  const kept: [why: string, runs: ReturnType<typeof runOf>[], created?: string][] = [
    ['no run explains it', [over], minute(20)],
    ['it is older than the runs', [over], minute(-5)],
    ['its run goes on', [runOf(1, { status: 'in_progress', startedAt: minute(0) })]],
    ['another run goes on that may have taken it', [over, runOf(2, { status: 'in_progress', startedAt: minute(4) })]],
    ['it is our own', [runOf(77, { status: 'completed', startedAt: minute(0), updatedAt: minute(10) })]],
    ['nobody can read when it was taken', [over], 'yesterday'],
  ]
  for (const [why, given, created] of kept) {
    it(`is left where ${why}`, async () => {
      const { runs, released } = world(created)
      runs.runs = given
      expect(await released()).to.equal(false)
    })
  }

  it('is left where GitHub can not be asked, or does not answer', async () => {
    expect(await world().released(null)).to.equal(false)
    const { runs, released } = world()
    runs.list = async () => {
      throw new Error('no')
    }
    expect(await released(runs)).to.equal(false)
  })

  it('is none where there is none', async () => {
    const { store, runs, released } = world()
    runs.runs = [over]
    store.objects.clear()
    expect(await released()).to.equal(false)
  })
})
