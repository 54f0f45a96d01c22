import { expect } from 'chai'
import { architectureOf, latestOf, refuseImage } from '../../../src/lib/domain/deploy/image.js'
import { imageOf, NEW, OLD } from '../../support/fakes.js'

describe('the architecture of an instance type', () => {
  const types: [architecture: string, ...types: string[]][] = [
    [
      'x86_64',
      't3.large',
      'm5.xlarge',
      'g5.xlarge',
      'g4dn.xlarge',
      'gr6.4xlarge',
      'c7i-flex.large',
      'u-6tb1.metal',
      'xa1.large',
    ],
    [
      'arm64',
      'a1.medium',
      't4g.small',
      'c7gn.large',
      'g5g.xlarge',
      'im4gn.large',
      'x2gd.metal',
      'hpc7g.4xlarge',
      'm10g.large',
    ],
  ]
  for (const [architecture, ...names] of types) {
    for (const name of names) {
      it(`is ${architecture} for ${name}`, () => expect(architectureOf(name)).to.equal(architecture))
    }
  }
})

describe('refuseImage', () => {
  type Wanted = Parameters<typeof refuseImage>[1]
  const wanted: Wanted = { id: 'a', instanceType: 't3.large', named: false, lastGood: OLD.id }
  const refuse = (change: Parameters<typeof imageOf>[1], more: Partial<Wanted> = {}) =>
    refuseImage(imageOf(NEW, change), { ...wanted, ...more })

  it('accepts an available image of our account with the right architecture', () => {
    expect(refuse({})).to.equal(null)
    expect(refuse({ architecture: 'arm64' }, { instanceType: 't4g.large' })).to.equal(null)
  })

  it('refuses a foreign, unavailable or wrong-architecture image for every requester', () => {
    const named = { named: true }
    expect(refuse({ trusted: false }, named)).to.include({ code: 'AMI_REFUSED' })
    expect(refuse({ available: false }, named)).to.include({ code: 'AMI_NOT_FOUND' })
    expect(refuse({ architecture: 'arm64' }, named)).to.include({ code: 'AMI_REFUSED' })
    expect(refuse({}, { ...named, instanceType: 't4g.large' })).to.include({ code: 'AMI_REFUSED' })
  })

  it('accepts a failed image if a person names it, but never a withdrawn one', () => {
    const failed = { failedIn: 'request-0000' }
    expect(refuse(failed)).to.include({ code: 'AMI_FAILED_BEFORE' })
    expect(refuse(failed, { named: true })).to.equal(null)
    expect(refuse({ ready: 'withdrawn' }, { named: true })).to.include({ code: 'AMI_REFUSED' })
  })

  it('names the last good AMI if there is one', () => {
    const message = (lastGood: string | null) => refuse({ failedIn: 'r' }, { lastGood })?.message
    expect(message(OLD.id)).to.match(/^The latest AMI ami-0+2 failed in the deploy r\. The last good AMI is ami-0+1\.$/)
    expect(message(null)).to.match(/^The latest AMI ami-0+2 failed in the deploy r\.$/)
  })
})

describe('latestOf', () => {
  const newer = imageOf(NEW)
  const older = imageOf(OLD)

  it('returns the newest image in any order of the list, and of equal times the higher id', () => {
    expect(latestOf([older, newer])).to.equal(newer)
    expect(latestOf([newer, older])).to.equal(newer)
    const twin = imageOf({ ...OLD, id: NEW.id })
    expect(latestOf([older, twin])).to.equal(twin)
    expect(latestOf([twin, older])).to.equal(twin)
    // The later one has the lower id.
    const late = imageOf({ ...OLD, createdAt: NEW.createdAt })
    expect(latestOf([late, imageOf({ ...NEW, createdAt: OLD.createdAt })])).to.equal(late)
    expect(latestOf([])).to.equal(null)
  })

  const passedOver: [why: string, change: Parameters<typeof imageOf>[1]][] = [
    ['is not available', { available: false }],
    ['belongs to another account', { trusted: false }],
    ['is not tagged', { ready: null }],
    ['was withdrawn', { ready: 'withdrawn' }],
  ]
  for (const [why, change] of passedOver) {
    it(`ignores an image that ${why}`, () => expect(latestOf([imageOf(NEW, change), older])).to.equal(older))
  }

  it('checks architecture and failures only if requested', () => {
    const arm = imageOf(NEW, { architecture: 'arm64' })
    expect(latestOf([arm, older])).to.equal(arm)
    expect(latestOf([arm, older], { architecture: 'x86_64' })).to.equal(older)
    const failed = imageOf(NEW, { failedIn: 'r' })
    expect(latestOf([failed, older])).to.equal(failed)
    expect(latestOf([failed, older], { good: true })).to.equal(older)
  })
})
