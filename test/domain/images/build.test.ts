import { expect } from 'chai'
import { typeRefusal, unfitInstances } from '../../../src/lib/domain/images/build.js'

const image = { architecture: 'x86_64', bootMode: 'legacy-bios' } as const
const host = (id: string, instanceType: string) => ({ id, instanceType })

describe('typeRefusal', () => {
  it('derives the architecture of an instance type from its name', () => {
    for (const type of [
      't3.large',
      'm7i-flex.large',
      'g4dn.xlarge',
      'g5.xlarge',
      'gr6.4xlarge',
      'u-6tb1.metal',
      'c5n.18xlarge',
    ]) {
      expect(typeRefusal(type, image), type).to.equal(null)
    }
    for (const type of [
      't4g.small',
      'm7gd.large',
      'c7gn.xlarge',
      'im4gn.large',
      'x2gd.medium',
      'g5g.xlarge',
      'hpc7g.4xlarge',
      'a1.large',
    ]) {
      expect(typeRefusal(type, image), type).to.match(/is arm64, the image is x86_64/)
      expect(typeRefusal(type, { architecture: 'arm64', bootMode: 'uefi' }), type).to.equal(null)
    }
  })

  it('distinguishes types that boot only by UEFI or only by BIOS', () => {
    expect(typeRefusal('t4g.small', { architecture: 'arm64', bootMode: 'legacy-bios' })).to.match(/by UEFI only/)
    expect(typeRefusal('t2.micro', { ...image, bootMode: 'uefi' })).to.match(/by BIOS only/)
    expect(typeRefusal('t2.micro', { ...image, bootMode: 'uefi-preferred' })).to.equal(null)
    expect(typeRefusal('t3.micro', { ...image, bootMode: 'uefi' })).to.equal(null)
  })
})

describe('unfitInstances', () => {
  it('checks every instance, because an image can boot as any of them', () => {
    const registry = [host('a', 't3.large'), host('b', 't4g.large')]
    expect(unfitInstances(image, registry).map(({ id }) => id)).to.deep.equal(['b'])
    expect(unfitInstances({ ...image, bootMode: 'uefi' }, [host('c', 't2.micro')])).to.have.length(1)
  })
})
