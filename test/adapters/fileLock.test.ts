import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { describeOwner, takeLock } from '../../src/lib/adapters/fileLock.js'

const ANY_TIME = { waitMs: 0, heldAtMostMs: null }

describe('takeLock', () => {
  let folder: string
  let file: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-lock-'))
    file = join(folder, 'lock')
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  /** The lock of this process, with changes. */
  async function ownLock(change: object): Promise<void> {
    const lock = await takeLock(file, ANY_TIME)
    const owner = JSON.parse(await readFile(file, 'utf8'))
    await lock?.release()
    await writeFile(file, JSON.stringify({ ...owner, nonce: 'theirs', ...change }))
  }
  const isFree = async () => (await takeLock(file, ANY_TIME)) !== null
  const deadPid = () => spawnSync(process.execPath, ['--version']).pid

  it('keeps the lock until its release, and names the holder', async () => {
    const lock = await takeLock(file, ANY_TIME)
    expect(await lock?.isOwn()).to.equal(true)
    expect(await isFree()).to.equal(false)
    expect(await describeOwner(file)).to.match(new RegExp(`^process ${process.pid} on .* since 20`))
    await lock?.release()
    expect(await isFree()).to.equal(true)
  })

  it('takes over the lock of a process that has ended', async () => {
    await ownLock({ pid: deadPid() })
    expect(await isFree()).to.equal(true)
  })

  it('keeps the lock of a running process, however old it is', async () => {
    await ownLock({})
    await utimes(file, 1, 1)
    expect(await isFree()).to.equal(false)
    expect(await takeLock(file, { waitMs: 0, heldAtMostMs: 60_000 })).not.to.equal(null)
  })

  it('takes over the lock of a dead process even if its process id is used again', async function () {
    if (process.platform !== 'linux') this.skip()
    await ownLock({ boot: '00000000-0000-0000-0000-000000000000' })
    expect(await isFree()).to.equal(true)
    await ownLock({ started: '1' })
    expect(await isFree()).to.equal(true)
    await ownLock({ pid: 1, started: '999999999999' })
    expect(await isFree()).to.equal(true)
  })

  it('never takes over the lock of another machine', async () => {
    await ownLock({ host: `not-${hostname()}`, pid: deadPid(), boot: 'other' })
    expect(await isFree()).to.equal(false)
  })

  it('takes over a lock without an owner only after two seconds', async () => {
    await writeFile(file, String(process.pid))
    expect(await isFree()).to.equal(false)
    await utimes(file, Date.now() / 1000 - 3, Date.now() / 1000 - 3)
    expect(await isFree()).to.equal(true)
  })

  it('removes what a dead owner left before its lock', async () => {
    await ownLock({ pid: deadPid() })
    const seen: string[] = []
    const onTakeover = async ({ nonce }: { nonce: string }) => void seen.push(nonce)
    expect(await takeLock(file, { ...ANY_TIME, onTakeover })).not.to.equal(null)
    expect(seen).to.deep.equal(['theirs'])
  })
})
