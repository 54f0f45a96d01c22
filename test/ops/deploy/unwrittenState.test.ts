import { expect } from 'chai'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { keepUnwritten, storeUnwritten, UNWRITTEN_KEY, withState } from '../../../src/lib/ops/deploy/unwrittenState.js'
import { fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { registryOf, upstream } from '../../support/fakes.js'

const state = (serial: number) => JSON.stringify({ version: 4, lineage: 'lineage', serial })
const LATER = state(2)
const OLD = state(1)
const FILE = '/stack/errored.tfstate'
const fleet = (left: string | null = null) => {
  const plane = fakeDirectPlane(registryOf('a'), ['a'])
  plane.cloud.unwritten_ = left
  return plane
}

describe('a state that OpenTofu could not store', () => {
  it('needs no action if there is none', async () => {
    expect(await storeUnwritten(fleet().ports, false)).to.deep.equal([])
    expect(await keepUnwritten(fleet().ports)).to.equal(null)
  })

  it("is stored also from the stack's folder, and reported with its file", async () => {
    const plane = fleet(LATER)
    const found = await storeUnwritten(plane.ports, false)
    expect(found.map(({ kind, subject, fix, automatic }) => [kind, subject, fix, automatic])).to.deep.equal([
      ['state', FILE, 'it is stored', true],
    ])
    expect([plane.cloud.pushed, plane.cloud.unwritten_]).to.deep.equal([[LATER], null])
  })

  it('is removed from the folder if a later one is stored', async () => {
    const plane = fleet(OLD)
    expect((await storeUnwritten(plane.ports, false))[0]?.fix).to.equal('it is removed')
    expect([plane.cloud.pushed, plane.cloud.unwritten_]).to.deep.equal([[], null])
  })

  it('is left to a person if its lineage differs from the stored one', async () => {
    const plane = fleet('no state')
    expect((await storeUnwritten(plane.ports, false))[0]).to.include({
      what: 'holds a state of another lineage than the stored one',
      fix: 'find out what created it, then delete it',
      automatic: false,
    })
    expect(plane.cloud.unwritten_).to.equal('no state')
  })

  it('is kept in the bucket if it does not follow the stored one', async () => {
    const plane = fleet(OLD)
    expect(await keepUnwritten(plane.ports)).to.include(`it is kept in ${UNWRITTEN_KEY}`)
    expect(plane.store.objects.get(UNWRITTEN_KEY)?.text).to.equal(OLD)
    expect([plane.cloud.pushed, plane.cloud.unwritten_]).to.deep.equal([[], null])
  })
})

describe('work that changes the state', () => {
  const failing = () => {
    const plane = fleet()
    const work = (failure: ClawctlError | null) => async () => {
      plane.cloud.unwritten_ = LATER
      return failure
    }
    return { plane, work }
  }

  it('succeeds and reports it if its state was stored only at the second attempt', async () => {
    const { plane, work } = failing()
    expect(await withState({ planOnly: false }, plane.ports, work(null))).to.equal(null)
    expect(plane.progress.notes).to.deep.equal(['OpenTofu could not store its state at first; it is stored now.'])
  })

  it('fails with its own failure, and reports what was done with the state', async () => {
    const { plane, work } = failing()
    const cause = new Error('why')
    const failure = new ClawctlError('APPLY_FAILED', 'No.', { hint: 'Look.', cause })
    const failed = await withState({ planOnly: false }, plane.ports, work(failure))
    expect(failed).to.include({ code: 'APPLY_FAILED', hint: 'Look.', cause })
    expect(failed?.message).to.equal('No. OpenTofu could not store its state at first; it is stored now.')
    const plain = fleet()
    expect(await withState({ planOnly: false }, plain.ports, async () => failure)).to.equal(failure)
    const thrown = await withState({ planOnly: false }, plain.ports, () => Promise.reject(upstream()))
    expect(thrown).to.include({ code: 'UPSTREAM' })
  })

  it('does not change the state of an earlier apply with --plan-only', async () => {
    const plane = fleet()
    plane.store.set(UNWRITTEN_KEY, LATER)
    await withState({ planOnly: true }, plane.ports, async () => null)
    expect(plane.progress.notes[0]).to.match(
      / holds a state that an apply could not store\. Without --plan-only: it is stored\.$/,
    )
    expect([plane.cloud.pushed, plane.store.objects.has(UNWRITTEN_KEY)]).to.deep.equal([[], true])
  })
})
