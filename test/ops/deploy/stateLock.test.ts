import { expect } from 'chai'
import type { Run } from '../../../src/lib/domain/deploy/run.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { withStateLock } from '../../../src/lib/ops/deploy/stateLock.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeLocks, FakeProgress, lockOf, runOf, upstream } from '../../support/fakes.js'

function world(run: Partial<Run> | null | 'unknown' = 'unknown') {
  const clock = new FakeClock()
  const locks = new FakeLocks()
  const progress = new FakeProgress()
  const asked: number[] = []
  const runs = {
    find: async (id: number) => {
      asked.push(id)
      if (run === 'unknown') throw upstream()
      return run && runOf(id, run)
    },
  }
  return { clock, locks, progress, asked, ports: { clock, locks, progress, runs } }
}

describe('the lock of the state', () => {
  it('is held while the work runs, and always released', async () => {
    const { locks, ports } = world()
    expect(await withStateLock(ports, async () => locks.standing?.ID)).to.equal('mine')
    expect(locks.standing).to.equal(null)
    const failed = new ClawctlError('APPLY_FAILED', 'no')
    expect(await failureOf(withStateLock(ports, () => Promise.reject(failed)))).to.equal(failed)
    expect(locks.log).to.deep.equal(['take', 'release mine', 'take', 'release mine'])
  })

  it('is taken without a digest of another state, which it removes', async () => {
    const { locks, ports, progress } = world()
    locks.dropStaleDigest = async () => {
      expect(locks.standing?.ID).to.equal('mine')
      return true
    }
    expect(await withStateLock(ports, async () => progress.notes.join())).to.include('digest of another state')
  })

  it('is released and reported if its run is over', async () => {
    const { locks, ports, asked, progress, clock } = world({ status: 'completed', conclusion: 'failure' })
    locks.standing = lockOf()
    expect(await withStateLock(ports, async () => 'done')).to.equal('done')
    expect(asked).to.deep.equal([55])
    expect(locks.log).to.deep.equal(['release lock-1', 'take', 'release mine'])
    expect(progress.notes.join()).to.match(/actions\/runs\/55\/attempts\/1 since .* left: its process is over/)
    expect(clock.elapsed).to.equal(0)
  })

  it('is released if it belongs to an earlier attempt of a run', async () => {
    const { locks, ports } = world({ status: 'in_progress', attempt: 2 })
    locks.standing = lockOf()
    expect(await withStateLock(ports, async () => 'done')).to.equal('done')
  })

  it('is released if an earlier step of the same run took it, without a request to GitHub', async () => {
    const { locks, ports, asked } = world({ status: 'in_progress' })
    locks.standing = lockOf()
    locks.run = lockOf().Info
    expect(await withStateLock(ports, async () => 'done')).to.equal('done')
    expect(asked).to.deep.equal([])
  })

  const alive: [string, Parameters<typeof world>[0], Partial<ReturnType<typeof lockOf>>, RegExp][] = [
    ['a running run', { status: 'in_progress' }, {}, /locked by https.*runs\/55\/attempts\/1 since/],
    ['a run that GitHub does not know', null, {}, /runs\/55/],
    ["a run that can't be read from GitHub", 'unknown', {}, /runs\/55/],
    ['a person on a laptop', { status: 'completed' }, { Info: '' }, /locked by runner@fv-az1 since/],
  ]
  for (const [who, run, change, message] of alive) {
    it(`of ${who} is waited for, named, and not released`, async () => {
      const { locks, ports, clock, progress } = world(run)
      locks.standing = lockOf(change)
      const error = await failureOf(withStateLock(ports, async () => 'done'))
      expect(error.code).to.equal('STATE_LOCKED')
      expect(error.message).to.match(message)
      expect(error.hint).to.include('clawctl fleet recover --unlock lock-1')
      expect(clock.elapsed).to.equal(120_000)
      expect(progress.notes).to.have.length(1)
      expect(locks.standing?.ID).to.equal('lock-1')
    })
  }

  it("is reported if it can't be released", async () => {
    const { locks, ports, progress } = world()
    locks.release = () => Promise.reject(upstream())
    expect(await withStateLock(ports, async () => 'done')).to.equal('done')
    expect(progress.notes).to.deep.equal([
      'The lock of the state could not be released: The service does not answer. The next deploy releases it.',
    ])
  })

  it('is given up if the service does not answer for two minutes', async () => {
    const { locks, ports, clock } = world()
    locks.take = () => Promise.reject(upstream())
    const error = await failureOf(withStateLock(ports, async () => 'done'))
    expect([error.code, clock.elapsed]).to.deep.equal(['UPSTREAM', 120_000])
    expect(error.message).to.include('The lock of the state could not be taken: The service does not answer.')
  })

  it('is taken when its holder has released it', async () => {
    const { locks, ports, clock } = world({ status: 'in_progress' })
    locks.standing = lockOf()
    clock.onSleep = (nth) => {
      if (nth === 3) locks.standing = null
    }
    expect(await withStateLock(ports, async () => 'done')).to.equal('done')
  })
})
