import { expect } from 'chai'
import fc from 'fast-check'
import { BLOCK_BYTES } from '../../../src/lib/domain/images/blocks.js'
import { abortUploads, uploadImage } from '../../../src/lib/ops/images/uploadImage.js'
import { failureOf } from '../../support/failure.js'
import { FakeDisk, sha256 } from '../../support/fakeDisk.js'
import { FakeImageCloud } from '../../support/fakeImages.js'

const PATH = 'result/NixOS Image.raw'
/** Parts have 8 MiB. */
const PART = 16
const content = (...parts: readonly number[]) => parts.flatMap((value) => Array.from({ length: PART }, () => value))
const bytesOf = (blocks: readonly number[]) => Buffer.concat(blocks.map((value) => Buffer.alloc(BLOCK_BYTES, value)))

function cloudWith(blocks: readonly number[]) {
  const cloud = new FakeImageCloud()
  const disk = new FakeDisk(PATH, blocks)
  cloud.files.set(PATH, disk)
  const run = () => {
    cloud.restart()
    cloud.log.length = 0
    disk.read.clear()
    return uploadImage({ file: PATH, concurrency: 2, force: true }, cloud.ports())
  }
  return { cloud, disk, run, parts: () => cloud.log.filter((line) => line.startsWith('part ')) }
}

describe('uploadImage', () => {
  it("names the object by the file's SHA-256, and stores the metadata for an import", async () => {
    const { cloud, disk, run } = cloudWith([...content(1, 2), 3])
    const done = await run()
    const bytes = bytesOf(disk.content)
    const digest = sha256(bytes).toString('hex')
    expect(done.key).to.equal(`images/nixos-image-${digest.slice(0, 12)}.raw`)
    const object = cloud.objects.get(done.key)
    expect(Buffer.from(object?.bytes ?? []).equals(bytes)).to.equal(true)
    expect(object?.metadata).to.include({ sha256: digest, format: 'raw', bootmode: 'legacy-bios' })
    expect(cloud.report.outputs).to.deep.equal({ key: done.key, digest })
  })

  it('sends nothing if the object exists, and refuses a different object of that name', async () => {
    const { cloud, run, parts } = cloudWith(content(1))
    const { key } = await run()
    expect(await run()).to.include({ existed: true, bytesSent: 0 })
    expect(parts()).to.deep.equal([])
    const object = cloud.objects.get(key)
    if (object) object.metadata = {}
    expect(await failureOf(run())).to.include({ code: 'INVALID_IMAGE' })
  })

  it('reads no holes, and lets S3 copy them if it can', async () => {
    const blocks = content(1, 0, 0)
    const { cloud, disk, run, parts } = cloudWith(blocks)
    const done = await run()
    expect(parts()).to.deep.equal(['part 1'])
    expect(done.parts).to.include({ sent: 1, copied: 2 })
    expect([...disk.read].some((index) => blocks[index] === 0 && index > 0 && index < blocks.length - 1)).to.equal(
      false,
    )
    expect(Buffer.from(cloud.objects.get(done.key)?.bytes ?? []).equals(bytesOf(blocks))).to.equal(true)

    const without = cloudWith(blocks)
    without.cloud.copies = false
    expect((await without.run()).parts).to.include({ sent: 3, copied: 0 })
    expect(Buffer.from(without.cloud.objects.get(done.key)?.bytes ?? []).equals(bytesOf(blocks))).to.equal(true)

    const withoutHoles = cloudWith(blocks)
    withoutHoles.disk.written = new Set(blocks.keys())
    expect(await withoutHoles.run()).to.deep.include({ key: done.key, bytesSent: done.bytesSent })
    expect(withoutHoles.parts()).to.deep.equal(['part 1'])
  })

  it('repeats the copy of holes after a failure of S3', async () => {
    const { cloud, run, parts } = cloudWith(content(1, 0, 0))
    cloud.onPut = (nth) => (['ok', 'throttle', 'fail'] as const)[nth - 1] ?? 'ok'
    expect((await run()).parts).to.include({ sent: 1, copied: 2, retried: 2 })
    expect(parts()).to.deep.equal(['part 1'])
  })

  it('survives throttling, lost connections and damaged parts', async () => {
    const { cloud, run } = cloudWith(content(1, 2, 3))
    cloud.onPut = (nth) => (['throttle', 'fail', 'corrupt'] as const)[nth - 1] ?? 'ok'
    expect((await run()).parts).to.include({ sent: 3, retried: 3 })
  })

  it('refuses a file that changes during the upload, and leaves nothing behind', async () => {
    const { cloud, disk, run } = cloudWith(content(1, 2, 3))
    cloud.onPut = () => {
      disk.change(40, 9)
      return 'ok'
    }
    expect(await failureOf(run())).to.include({ code: 'INVALID_IMAGE' })
    expect([cloud.objects.size, cloud.uploads.size]).to.deep.equal([0, 0])
  })

  it('refuses a file that image.json beside it does not describe', async () => {
    const { cloud, disk, run } = cloudWith(content(1))
    const info = {
      schema: 1,
      name: 'clawdinator',
      path: 'NixOS Image.raw',
      format: 'raw',
      logicalBytes: disk.bytes,
      allocatedBytes: 0,
      sha256: sha256(bytesOf(disk.content)).toString('hex'),
      bootMode: 'uefi',
      system: 'aarch64-linux',
      revision: 'abc',
      toplevel: '/nix/store/x',
    }
    cloud.files.set('result/image.json', JSON.stringify(info))
    const done = await run()
    expect(done.key).to.match(/^images\/clawdinator-/)
    const metadata = { bootmode: 'uefi', architecture: 'arm64', revision: 'abc', toplevel: '/nix/store/x' }
    expect(cloud.objects.get(done.key)?.metadata).to.include(metadata)
    cloud.files.set('result/image.json', JSON.stringify({ ...info, sha256: '0'.repeat(64) }))
    expect((await failureOf(run())).message).to.match(/not the image that image\.json/)
    cloud.files.set('result/image.json', JSON.stringify({ ...info, logicalBytes: 1 }))
    expect((await failureOf(run())).message).to.match(/image\.json beside it has 1/)
  })

  it('prints how to resume after an interruption, and removes the rest with --abort', async () => {
    const { cloud, run } = cloudWith(content(1, 2, 3))
    cloud.onPut = () => {
      cloud.stop.abort()
      return 'ok'
    }
    const failure = await failureOf(run())
    expect(failure).to.include({ code: 'CANCELLED' })
    expect(failure.hint).to.match(/run the same command again .* or with --abort/)
    expect((await failureOf(uploadImage({ file: PATH, concurrency: 2, force: true }, cloud.ports()))).hint).to.match(
      /same command again/,
    )
    expect(await abortUploads('other', cloud.ports())).to.deep.equal([])
    expect(await abortUploads('nixos-image', cloud.ports())).to.have.length(1)
    expect(cloud.uploads.size).to.equal(0)
  })

  it('uses the object of another run that completed the same upload first', async () => {
    const { cloud, run } = cloudWith(content(1, 2, 3))
    const other = cloudWith(content(1, 2, 3))
    const { key } = await other.run()
    cloud.onPut = (nth) => {
      if (nth === 2) {
        cloud.uploads.clear()
        const object = other.cloud.objects.get(key)
        if (object) cloud.objects.set(key, object)
      }
      return 'ok'
    }
    expect(await run()).to.include({ key, existed: true })
    cloud.objects.delete(key)
    cloud.onPut = () => {
      cloud.uploads.clear()
      return 'ok'
    }
    expect((await failureOf(run())).code).to.equal('UPSTREAM')
  })

  it('sends only the missing parts after a kill at any moment', async () => {
    const parts = fc.array(fc.nat(3), { minLength: 1, maxLength: 3 })
    const kills = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 })
    await fc.assert(
      fc.asyncProperty(parts, kills, fc.boolean(), async (values, kills, copies) => {
        const { cloud, run, parts } = cloudWith(content(...values))
        cloud.copies = copies
        let sent = 0
        for (const after of kills) {
          let puttings = 0
          cloud.onPut = () => (++puttings >= after ? 'kill' : 'ok')
          const end = await run().catch(() => null)
          sent += parts().length
          if (end) break
        }
        cloud.onPut = () => 'ok'
        const done = await run()
        sent += parts().length
        const expected = bytesOf(content(...values))
        expect(Buffer.from(cloud.objects.get(done.key)?.bytes ?? []).equals(expected)).to.equal(true)
        // Two parts are in flight when it is killed.
        expect(sent).to.be.at.most(values.length + kills.length * 2)
      }),
      { numRuns: 6 },
    )
  })
})
