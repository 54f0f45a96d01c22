import { expect } from 'chai'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { importImage, judgeImport } from '../../../src/lib/ops/images/importImage.js'
import { failureOf } from '../../support/failure.js'
import { FakeImageCloud } from '../../support/fakeImages.js'

const DIGEST = '0123456789abcdef'.repeat(4)
const OPTIONS = { role: null, kmsKey: null, registry: undefined, force: false }
const KEY = 'images/nixos-0123456789ab.raw'

function cloudWith(
  key = KEY,
  metadata: Record<string, string> = { sha256: DIGEST, bootmode: 'uefi', revision: 'abc' },
) {
  const cloud = new FakeImageCloud()
  cloud.objects.set(key, { bytes: new Uint8Array(1), metadata, modifiedAt: new Date(1) })
  const run = (named: string | undefined = KEY) => {
    cloud.restart()
    return importImage({ key: named, ...OPTIONS, timeoutMs: 3_600_000 }, cloud.ports())
  }
  return { cloud, run }
}

describe('importImage', () => {
  it('imports, registers, and tags the AMI when it is available', async () => {
    const { cloud, run } = cloudWith()
    cloud.onImport = (_, look) => (look < 3 ? { progress: look * 20, message: 'converting' } : { status: 'completed' })
    const done = await run()
    expect(cloud.progress.said).to.include('40% converting')
    expect(cloud.ready().map(({ id }) => id)).to.deep.equal([done.image.id])
    expect(cloud.ready()[0]?.tags).to.include({ digest: DIGEST, revision: 'abc', sourceKey: KEY })
    expect(await run()).to.include({ existed: true })
    expect(cloud.tasks.size).to.equal(1)
  })

  it('resumes a task of an earlier run, and uses an existing snapshot', async () => {
    const { cloud, run } = cloudWith()
    cloud.onImport = () => ({ message: 'converting' })
    cloud.clock.onSleep = (slept) => {
      if (slept === 3) cloud.kill()
    }
    await run().catch(() => {})
    cloud.clock.onSleep = () => {}
    cloud.onImport = () => ({ status: 'completed' })
    expect(await run()).to.include({ adopted: true, existed: false })
    expect(cloud.tasks.size).to.equal(1)
    cloud.images.clear()
    expect(await run()).to.include({ adopted: true, existed: false })
    expect([cloud.tasks.size, cloud.snapshots.size]).to.deep.equal([1, 1])
  })

  it('retries once if the service itself failed', async () => {
    const { cloud, run } = cloudWith()
    const broken = { status: 'deleted', message: 'ServerError: an internal error has occurred' }
    cloud.onImport = () => (cloud.tasks.size === 1 ? broken : { status: 'completed' })
    await run()
    expect(new Set([...cloud.tasks.values()].map(({ token }) => token)).size).to.equal(2)

    const twice = cloudWith()
    twice.cloud.onImport = () => broken
    expect(await failureOf(twice.run())).to.include({ code: 'IMPORT_FAILED' })
    expect(twice.cloud.tasks.size).to.equal(2)
    // A later run creates a new task: the tokens of the failed tasks would return those tasks.
    twice.cloud.onImport = () => (twice.cloud.tasks.size === 3 ? { status: 'completed' } : {})
    await twice.run()
    expect(twice.cloud.tasks.size).to.equal(3)
  })

  it("fails immediately for a bad image, with the service's message", async () => {
    const { cloud, run } = cloudWith()
    cloud.onImport = () => ({ status: 'deleted', message: 'ClientError: Disk validation failed' })
    const failure = await failureOf(run())
    expect(failure).to.include({ code: 'IMPORT_FAILED' })
    expect(failure.message).to.match(/ClientError: Disk validation failed/)
    expect([cloud.tasks.size, cloud.images.size]).to.deep.equal([1, 0])
  })

  it('refuses an image that no instance type of the registry can boot, unless it is forced', async () => {
    const { cloud } = cloudWith()
    const instance = { id: 'a', host: 'a', instanceType: 't4g.large', bootstrapPrefix: '', discordTokenSecret: '' }
    const asked = { key: KEY, ...OPTIONS, registry: [instance], timeoutMs: 1000 }
    const failure = await failureOf(importImage(asked, cloud.ports()))
    expect(failure).to.include({ code: 'INVALID_IMAGE' })
    expect(failure.message).to.match(/No instance of the registry can boot nixos: a: t4g.large is arm64/)
    expect(cloud.tasks.size).to.equal(0)
    await importImage({ ...asked, force: true }, cloud.ports())
    expect(cloud.progress.notes.join()).to.match(/--force/)
    const both = [instance, { ...instance, id: 'b', host: 'b', instanceType: 't3.large' }]
    const half = cloudWith()
    await importImage({ ...asked, registry: both }, half.cloud.ports())
    expect(half.cloud.progress.notes.join()).to.match(/can't boot on every instance: a:/)
  })

  it("reports outputs that can't be written, and leaves the AMI for the next run", async () => {
    const { cloud, run } = cloudWith()
    const output = cloud.report.output
    cloud.report.output = async () => {
      throw new ClawctlError('NOT_WRITABLE', 'The file of GITHUB_OUTPUT can not be written.')
    }
    expect(await failureOf(run())).to.include({ code: 'NOT_WRITABLE' })
    cloud.report.output = output
    expect(await run()).to.include({ existed: true })
  })

  it('waits until EC2 shows the new snapshot and AMI', async () => {
    const { cloud, run } = cloudWith()
    cloud.unknownFor = 4
    const done = await run()
    expect(cloud.ready().map(({ id }) => id)).to.deep.equal([done.image.id])
    expect(cloud.progress.notes.join()).to.match(/AWS does not show snap-\d+ everywhere yet/)
    expect([cloud.tasks.size, cloud.snapshots.size, cloud.images.size]).to.deep.equal([1, 1, 1])
  })

  it('reports at its time limit that EC2 continues', async () => {
    const { cloud, run } = cloudWith()
    cloud.onImport = () => ({})
    const failure = await failureOf(run())
    expect(failure).to.include({ code: 'TIMED_OUT' })
    expect(failure.hint).to.match(/The import continues in EC2/)
  })

  it('uses the last built image, else the newest in the bucket, and refuses invalid keys', async () => {
    const { cloud, run } = cloudWith()
    const newer = 'images/nixos-ffffffffffff.raw'
    cloud.objects.set(newer, { bytes: new Uint8Array(1), metadata: {}, modifiedAt: new Date(2) })
    cloud.objects.set('images/zeros/1', { bytes: new Uint8Array(1), metadata: {}, modifiedAt: new Date(3) })
    expect(await run(undefined)).to.include({ key: KEY })
    const [both] = [await importImage({ key: undefined, ...OPTIONS, timeoutMs: 1 }, cloud.ports())]
    expect(both.key).to.equal(newer)
    expect(both.image.name).to.equal('nixos-ffffffffffff')
    expect((await failureOf(run('images/nixos-0123456789aa.raw'))).hint).to.equal(`Did you mean ${KEY}?`)
    cloud.objects.set('backup.raw', { bytes: new Uint8Array(1), metadata: {}, modifiedAt: new Date(1) })
    expect(await failureOf(run('backup.raw'))).to.include({ code: 'INVALID_IMAGE' })
    cloud.objects.clear()
    const none = importImage({ key: undefined, ...OPTIONS, timeoutMs: 1 }, cloud.ports())
    expect((await failureOf(none)).message).to.match(/There is no image in bucket/)
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
    it(`classifies ${status}, ${message ?? 'no message'}: ${expected}`, () => {
      const verdict = judgeImport({ status, message })
      expect(verdict.is === 'ended' && verdict.again ? 'ended, again' : verdict.is).to.equal(expected)
    })
  }
})
