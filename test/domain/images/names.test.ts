import { expect } from 'chai'
import fc from 'fast-check'
import { IMAGE_FORMATS } from '../../../src/lib/domain/images/format.js'
import { judgeImport } from '../../../src/lib/domain/images/importTask.js'
import { parseImageInfo } from '../../../src/lib/domain/images/info.js'
import { imageKey, imageNameOf, manifestKey, parseImageKey } from '../../../src/lib/domain/images/names.js'
import { progressText, sizeText } from '../../../src/lib/domain/images/rate.js'
import { readJournal } from '../../../src/lib/domain/images/uploadJournal.js'
import { thrown } from '../../support/fakes.js'

const DIGEST = '0123456789abcdef'.repeat(4)

describe('the names of images', () => {
  it('are read as they were made, whatever the file is called', () => {
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

  it('say what the file is called, without what it is', () => {
    expect(imageNameOf('nixos-amazon-26.05.x86_64-linux.raw')).to.equal('nixos-amazon-26.05.x86-64-linux')
    expect(imageNameOf('.raw')).to.equal('image')
  })

  it('are not those of manifests, folders or other objects', () => {
    for (const key of [manifestKey(DIGEST), 'images/a.raw', 'images/x/a-0123456789ab.raw', 'a-0123456789ab.raw']) {
      expect(parseImageKey(key), key).to.equal(null)
    }
  })
})

describe('judgeImport', () => {
  const table: [status: string, message: string | null, verdict: string][] = [
    ['active', 'pending', 'active'],
    ['active', 'downloading/converting', 'active'],
    ['completed', null, 'completed'],
    ['deleted', 'ClientError: Disk validation failed [Unsupported VMDK File Format]', 'ended'],
    ['deleting', 'ClientError: EFI partition detected', 'ended'],
    ['error', 'Access denied to s3://bucket/key', 'ended'],
    ['deleted', 'ServerError: an internal error has occurred during conversion', 'ended, again'],
    ['error', 'FirstBootFailure: timed out', 'ended, again'],
    ['deleted', null, 'ended, again'],
  ]
  for (const [status, message, expected] of table) {
    it(`${status}, ${message ?? 'without a word'}: ${expected}`, () => {
      const verdict = judgeImport({ status, message })
      expect(verdict.is === 'ended' && verdict.again ? 'ended, again' : verdict.is).to.equal(expected)
    })
  }
})

describe('readJournal', () => {
  const token = JSON.stringify({ token: 't', parent: null })
  const snapshot = JSON.stringify({ snapshot: 'snap-1', encrypted: false })

  it('knows how far an upload came', () => {
    expect(readJournal([])).to.equal(null)
    expect(readJournal([token])).to.deep.equal({ token: 't', parent: null, started: null, sealed: false })
    const whole = readJournal([token, snapshot, '3', '1', JSON.stringify({ sealed: true })])
    expect(whole?.started).to.deep.equal({ snapshot: 'snap-1', encrypted: false, stored: new Set([3, 1]) })
    expect(whole?.sealed).to.equal(true)
  })

  it('never takes a block for stored that is not in a whole line, and forgets what came before another snapshot', () => {
    expect(readJournal([token, snapshot, '3', '{"sna'])?.started?.stored).to.deep.equal(new Set([3]))
    expect(readJournal(['7', token, snapshot])?.started?.stored).to.deep.equal(new Set())
    expect(readJournal([token, snapshot, '3', token, snapshot])?.started?.stored).to.deep.equal(new Set())
    expect(readJournal(['3', '{}', 'null', snapshot])).to.equal(null)
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
  it('names the field that is wrong', () => {
    expect(parseImageInfo(JSON.stringify(info), 'image.json')).to.deep.equal(info)
    const fail = (text: string) => thrown(() => parseImageInfo(text, 'image.json')).message
    expect(fail(JSON.stringify({ ...info, sha256: 'x' }))).to.match(/^image\.json is not valid: sha256: must be 64/)
    expect(fail('{')).to.match(/^image\.json is not valid/)
  })
})

describe('progress', () => {
  it('says share, rate and time left', () => {
    expect(progressText(0, 2 ** 30, 5000)).to.equal('0% of 1.0 GiB')
    expect(progressText(2 ** 29, 2 ** 30, 4000)).to.equal('50% of 1.0 GiB, 128 MiB/s, 4 s left')
    expect([0, 1023, 1024, 150 * 2 ** 20].map(sizeText)).to.deep.equal(['0 B', '1023 B', '1.0 KiB', '150 MiB'])
  })
})
