import { expect } from 'chai'
import fc from 'fast-check'
import { parseImageInfo } from '../../../src/lib/domain/images/build.js'
import { IMAGE_FORMATS } from '../../../src/lib/domain/images/format.js'
import { blockManifestKey, imageKey, imageNameOf, parseImageKey } from '../../../src/lib/domain/images/names.js'
import { thrown } from '../../support/fakes.js'

const DIGEST = '0123456789abcdef'.repeat(4)

describe('the names of images', () => {
  it('are parsed as they were made, for any file name', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...IMAGE_FORMATS), (file, format) => {
        const name = imageNameOf(file)
        expect(name).to.match(/^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9.-])?$/)
        expect(parseImageKey(imageKey(name, DIGEST, format))).to.deep.equal({
          name,
          digest12: '0123456789ab',
          format,
        })
      }),
    )
  })

  it("contain the file's name without its extension", () => {
    expect(imageNameOf('nixos-amazon-26.05.x86_64-linux.raw')).to.equal('nixos-amazon-26.05.x86-64-linux')
    expect(imageNameOf('.raw')).to.equal('image')
  })

  it('do not match manifests, folders or other objects', () => {
    for (const key of [blockManifestKey(DIGEST), 'images/a.raw', 'images/x/a-0123456789ab.raw', 'a-0123456789ab.raw']) {
      expect(parseImageKey(key), key).to.equal(null)
    }
  })
})

describe('parseImageInfo', () => {
  const info = {
    schema: 1,
    name: 'clawdinator',
    path: 'nixos.raw',
    format: 'raw',
    logicalBytes: 1024,
    allocatedBytes: 512,
    sha256: DIGEST,
    bootMode: 'uefi',
    system: 'x86_64-linux',
    revision: null,
    toplevel: null,
  }
  it('reports the field that is wrong', () => {
    expect(parseImageInfo(JSON.stringify(info), 'image.json')).to.deep.equal(info)
    const fail = (text: string) => thrown(() => parseImageInfo(text, 'image.json')).message
    expect(fail(JSON.stringify({ ...info, sha256: 'x' }))).to.match(/^image\.json is not valid: sha256: must be 64/)
    expect(fail('{')).to.match(/^image\.json is not valid/)
  })
})
