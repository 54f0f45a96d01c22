import { expect } from 'chai'
import fc from 'fast-check'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { blockManifestKey } from '../../../src/lib/domain/images/names.js'
import { type DirectOptions, importDirect } from '../../../src/lib/ops/images/importDirect.js'
import { readJournal } from '../../../src/lib/ops/images/openSnapshot.js'
import { failureOf } from '../../support/failure.js'
import { FakeDisk } from '../../support/fakeDisk.js'
import { FakeImageCloud, type Fault, Killed } from '../../support/fakeImages.js'

const PATH = 'nixos.raw'
const BLOCKS = 12
const IN_FLIGHT = 3
const OPTIONS: DirectOptions = {
  file: PATH,
  concurrency: IN_FLIGHT,
  kmsKey: null,
  full: false,
  keepPartial: false,
  force: true,
  registry: undefined,
}

const full = Array.from({ length: BLOCKS }, (_, i) => i + 1)
const sparse = full.map((value, i) => (i % 3 === 1 ? 0 : value))

function cloudWith(content: readonly number[]) {
  const cloud = new FakeImageCloud()
  const disk = new FakeDisk(PATH, content)
  cloud.files.set(PATH, disk)
  const run = (change: Partial<DirectOptions> = {}) => {
    cloud.restart()
    cloud.log.length = 0
    disk.read.clear()
    return importDirect({ ...OPTIONS, ...change }, cloud.ports())
  }
  const puts = () => cloud.log.filter((line) => line.startsWith('put '))
  return { cloud, disk, run, puts }
}

describe('importDirect', () => {
  it('writes only blocks with data, without reading holes, and tags the AMI last', async () => {
    const { cloud, disk, run, puts } = cloudWith(sparse)
    disk.written.add(4)
    const done = await run()
    expect([...disk.read].sort((a, b) => a - b)).to.deep.equal([0, 2, 3, 4, 5, 6, 8, 9, 11])
    expect(puts()).to.have.members([0, 2, 3, 5, 6, 8, 9, 11].map((index) => `put ${index}`))
    expect(done.blocks).to.include({ data: 8, sent: 8, sentZeros: 0, unchanged: 0 })
    expect(cloud.volumeOf(done.image.snapshotId ?? '', BLOCKS)).to.deep.equal(sparse)
    expect(cloud.ready()).to.have.length(1)
    expect(cloud.ready()[0]?.tags).to.include({ digest: done.digest, app: 'clawdinator' })
    expect(cloud.objects.has(blockManifestKey(done.digest))).to.equal(true)
    expect(cloud.report.outputs).to.include({ ami_id: done.image.id, snapshot_id: done.image.snapshotId })
    expect(cloud.journals.size).to.equal(0)
  })

  it('sends nothing when it is run again', async () => {
    const { cloud, run, puts } = cloudWith(sparse)
    const first = await run()
    const second = await run()
    expect(second).to.include({ existed: true, bytesSent: 0 })
    expect(second.image).to.deep.equal(first.image)
    expect(puts()).to.deep.equal([])
    expect(cloud.snapshots.size).to.equal(1)
  })

  it('reads an unchanged file only once, and again after a change', async () => {
    const { disk, run } = cloudWith(sparse)
    await run()
    const again = await run()
    expect([again.bytesRead, again.existed]).to.deep.equal([0, true])
    expect([...disk.read]).to.deep.equal([0, BLOCKS - 1])
    disk.change(11, 99)
    expect(await run()).to.include({ existed: false })
    expect(disk.read.size).to.equal(8)
  })

  it('sends a child of the last image only blocks that differ, and zeros for blocks that became zero', async () => {
    const { cloud, disk, run, puts } = cloudWith(sparse)
    const before = await run()
    disk.change(0, 99)
    disk.change(2, 0)
    disk.change(1, 50)
    const after = await run()
    expect(after.parent).to.equal(before.image.snapshotId)
    expect(puts()).to.have.members(['put 0', 'put 1', 'put 2'])
    expect(after.blocks).to.include({ sent: 3, sentZeros: 1, unchanged: 6 })
    expect(cloud.volumeOf(after.image.snapshotId ?? '', BLOCKS)).to.deep.equal(disk.content)
  })

  it('requires a valid manifest, a finished snapshot and the same size for a parent; --full uses none', async () => {
    const lost = cloudWith(sparse)
    const first = await lost.run()
    const manifest = lost.cloud.objects.get(blockManifestKey(first.digest))
    lost.disk.change(1, 99)
    manifest?.bytes.set([1], 60)
    expect((await lost.run()).parent).to.equal(null)
    expect(lost.cloud.progress.notes.join('\n')).to.match(/no usable manifest/)

    const grown = cloudWith(sparse)
    const [snapshot] = [await grown.run(), ...grown.cloud.snapshots.values()].slice(1) as { sizeGib: number }[]
    grown.disk.change(1, 99)
    if (snapshot) snapshot.sizeGib = 2
    expect((await grown.run()).parent).to.equal(null)

    const other = cloudWith(sparse)
    await other.run()
    other.disk.change(1, 99)
    expect(await other.run({ full: true })).to.deep.include({ parent: null })
    expect(other.puts()).to.have.length(9)
  })

  it('writes every block of an encrypted snapshot, and inherits zeros only from an encrypted one', async () => {
    const { cloud, disk, run, puts } = cloudWith(sparse)
    await run()
    cloud.encryptsByDefault = true
    disk.change(1, 99)
    const first = await run()
    expect(first).to.include({ parent: null, encrypted: true })
    expect(puts()).to.have.length(2048)
    expect(cloud.volumeOf(first.image.snapshotId ?? '', BLOCKS)).to.deep.equal(disk.content)
    disk.change(2, 0)
    const second = await run()
    expect(second).to.include({ parent: first.image.snapshotId, encrypted: true })
    expect(puts()).to.deep.equal(['put 2'])
    expect(cloud.volumeOf(second.image.snapshotId ?? '', BLOCKS)).to.deep.equal(disk.content)
  })

  it('survives throttling, lost connections and damaged blocks', async () => {
    const { cloud, run } = cloudWith(full)
    const faults: Fault[] = ['throttle', 'fail', 'corrupt']
    cloud.onPut = (nth) => (nth <= 6 ? (faults[nth % 3] ?? 'ok') : 'ok')
    const done = await run()
    expect(done.blocks).to.include({ sent: BLOCKS, retried: 6 })
    expect(cloud.volumeOf(done.image.snapshotId ?? '', BLOCKS)).to.deep.equal(full)
  })

  it('deletes the snapshot of a failed upload, and keeps it with --keep-partial', async () => {
    const gone = cloudWith(full)
    gone.cloud.onPut = (nth) => (nth > 5 ? 'fail' : 'ok')
    const failure = await failureOf(gone.run())
    expect(failure).to.include({ code: 'UPSTREAM' })
    expect(failure.hint).to.match(/was deleted/)
    expect([gone.cloud.snapshots.size, gone.cloud.images.size, gone.cloud.journals.size]).to.deep.equal([0, 0, 0])

    const kept = cloudWith(full)
    kept.cloud.onPut = (nth) => (nth > 5 ? 'throttle' : 'ok')
    expect(await failureOf(kept.run({ keepPartial: true }))).to.include({ code: 'RATE_LIMITED' })
    kept.cloud.onPut = () => 'ok'
    const done = await kept.run()
    expect(done).to.include({ resumed: true })
    expect(done.blocks).to.include({ resumed: 5, sent: BLOCKS - 5 })
  })

  it('refuses a file that changes during the upload, and completes nothing', async () => {
    const { cloud, disk, run } = cloudWith(full)
    cloud.onPut = (nth) => {
      if (nth === 4) disk.change(10, 77)
      return 'ok'
    }
    const failure = await failureOf(run())
    expect(failure).to.include({ code: 'INVALID_IMAGE' })
    expect([cloud.snapshots.size, cloud.images.size]).to.deep.equal([0, 0])
  })

  it('stops at Ctrl-C, keeps the snapshot, and prints how to resume', async () => {
    const { cloud, run } = cloudWith(full)
    cloud.onPut = (nth) => {
      if (nth === 6) cloud.stop.abort()
      return 'ok'
    }
    const failure = await failureOf(run())
    expect(failure).to.include({ code: 'CANCELLED' })
    expect(failure.hint).to.match(/is unfinished: run the same command again/)
    expect(cloud.snapshots.size).to.equal(1)
    cloud.onPut = () => 'ok'
    const done = await run()
    expect(done.resumed).to.equal(true)
    expect(done.blocks.resumed).to.be.greaterThan(3)
  })

  it('starts again if the snapshot is in error, or the file is another one', async () => {
    const { cloud, disk, run } = cloudWith(full)
    cloud.onPut = (nth) => (nth === 6 ? 'kill' : 'ok')
    await run().catch(() => {})
    cloud.onPut = () => 'ok'
    for (const snapshot of cloud.snapshots.values()) snapshot.state = 'error'
    expect((await run()).resumed).to.equal(false)
    cloud.onPut = () => 'kill'
    disk.change(0, 44)
    await run().catch(() => {})
    cloud.onPut = () => 'ok'
    disk.change(0, 45)
    const done = await run()
    expect(done.resumed).to.equal(false)
    expect(cloud.volumeOf(done.image.snapshotId ?? '', BLOCKS)).to.deep.equal(disk.content)
  })

  it('refuses container formats, and names the conversion', async () => {
    const cloud = new FakeImageCloud()
    const open = () => {
      const disk = new FakeDisk('a.vmdk', [0]).open()
      return {
        ...disk,
        read: async (_: number, into: Uint8Array) => void into.set(Buffer.from('KDMV\u0003\0\0\0\0\0\u0003\0')),
      }
    }
    const ports = { ...cloud.ports(), files: { open: async () => open(), text: async () => null } }
    const failure = await failureOf(importDirect({ ...OPTIONS, file: 'a.vmdk' }, ports))
    expect(failure).to.include({ code: 'INVALID_IMAGE' })
    expect(failure.hint).to.match(/qemu-img convert/)
  })

  it('ends with the complete image after any kills, and repeats at most the blocks in flight', async () => {
    const content = fc.array(fc.nat(3), { minLength: BLOCKS, maxLength: BLOCKS })
    const kills = fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(content, fc.option(content), kills, fc.boolean(), async (content, parent, kills, late) => {
        const { cloud, disk, run, puts } = cloudWith(parent ?? content)
        if (parent) await run()
        disk.replace(content)
        let sent = 0
        for (const after of kills) {
          let puttings = 0
          cloud.onPut = () => (++puttings >= after ? 'kill' : 'ok')
          const end = await run().catch((error) => error)
          sent += puts().length
          if (!(end instanceof Error)) break
          expect(end.cause ?? end).to.be.instanceOf(Killed)
        }
        cloud.onPut = () => 'ok'
        if (late) {
          // After all blocks, at any later call.
          cloud.clock.onSleep = () => cloud.kill()
          await run().catch(() => {})
          sent += puts().length
          cloud.clock.onSleep = () => {}
        }
        const done = await run()
        sent += puts().length
        expect(cloud.volumeOf(done.image.snapshotId ?? '', BLOCKS)).to.deep.equal(content)
        expect(cloud.ready().filter(({ tags }) => tags.digest === done.digest)).to.have.length(1)
        const needed = content.filter((value, i) => (parent ? parent[i] !== value : value !== 0)).length
        expect(sent).to.be.at.most(needed + kills.length * IN_FLIGHT)
      }),
      { numRuns: 40 },
    )
  })

  it('continues if EBS and EC2 do not show a new resource yet', async () => {
    const { cloud, run, puts } = cloudWith(sparse)
    cloud.unknownFor = 6
    const done = await run()
    expect(cloud.log.filter((line) => line.startsWith('delete'))).to.deep.equal([])
    expect([cloud.snapshots.size, cloud.images.size]).to.deep.equal([1, 1])
    expect(new Set(puts()).size).to.equal(8)
    expect(done.blocks.retried).to.be.greaterThan(0)
    expect(cloud.ready().map(({ id }) => id)).to.deep.equal([done.image.id])
    expect(cloud.progress.said.join()).to.match(/EBS does not show snap-/)
  })

  it('gives up a snapshot that EBS does not know only after two minutes', async () => {
    const { cloud, run } = cloudWith(sparse)
    cloud.unknownFor = 100_000
    const began = cloud.clock.now().getTime()
    expect(await failureOf(run())).to.include({ code: 'UPSTREAM' })
    expect(cloud.clock.now().getTime() - began).to.be.within(60_000, IN_FLIGHT * 240_000)
    expect(cloud.log.at(-1)).to.match(/^delete snap-/)
  })

  it('resumes a snapshot that EC2 does not show yet, instead of starting another', async () => {
    const { cloud, run } = cloudWith(sparse)
    cloud.onPut = (nth) => (nth === 4 ? 'kill' : 'ok')
    await failureOf(run())
    cloud.onPut = () => 'ok'
    cloud.hide([...cloud.snapshots.keys()][0] ?? '', 3)
    expect(await run()).to.include({ resumed: true })
    expect(cloud.snapshots.size).to.equal(1)
  })

  it('requests the same snapshot again after an outage', async () => {
    const { cloud } = cloudWith(full)
    const tokens: string[] = []
    const outages = [new ClawctlError('UPSTREAM', 'reset'), new ClawctlError('RATE_LIMITED', 'throttled')]
    const run = () => {
      cloud.restart()
      const ports = cloud.ports()
      const start: typeof ports.snapshots.start = (request) => {
        tokens.push(request.token)
        const outage = outages.shift()
        return outage ? Promise.reject(outage) : ports.snapshots.start(request)
      }
      return importDirect(OPTIONS, { ...ports, snapshots: { ...ports.snapshots, start } })
    }
    expect((await failureOf(run())).code).to.equal('UPSTREAM')
    expect((await failureOf(run())).code).to.equal('RATE_LIMITED')
    await run()
    expect(tokens.length).to.equal(3)
    expect(new Set(tokens).size).to.equal(1)
  })

  it('refuses a file that is not an image before it starts a snapshot', async () => {
    const { cloud, run } = cloudWith(sparse)
    const failure = await failureOf(run({ force: false }))
    expect(failure).to.include({ code: 'INVALID_IMAGE' })
    expect(failure.message).to.match(/nixos\.raw can't be imported: .* no boot sector/)
    expect([cloud.snapshots.size, cloud.images.size]).to.deep.equal([0, 0])
  })
})

describe('readJournal', () => {
  const token = JSON.stringify({ token: 't', parent: null })
  const snapshot = JSON.stringify({ snapshot: 'snap-1', encrypted: false })

  it('reads from the journal how far an upload came', () => {
    expect(readJournal([])).to.equal(null)
    expect(readJournal([token])).to.deep.equal({ token: 't', parent: null, started: null, sealed: false })
    const whole = readJournal([token, snapshot, '3', '1', JSON.stringify({ sealed: true })])
    expect(whole?.started).to.deep.equal({ snapshot: 'snap-1', encrypted: false, stored: new Set([3, 1]) })
    expect(whole?.sealed).to.equal(true)
  })

  it('ignores a block of an incomplete line, and blocks of an earlier snapshot', () => {
    expect(readJournal([token, snapshot, '3', '{"sna'])?.started?.stored).to.deep.equal(new Set([3]))
    expect(readJournal(['7', token, snapshot])?.started?.stored).to.deep.equal(new Set())
    expect(readJournal([token, snapshot, '3', token, snapshot])?.started?.stored).to.deep.equal(new Set())
    expect(readJournal(['3', '{}', 'null', snapshot])).to.equal(null)
  })
})
