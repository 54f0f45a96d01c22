import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { checkoutFiles } from '../../../src/lib/adapters/registry/checkout.js'
import { withFileLock } from '../../../src/lib/adapters/registry/registryLock.js'
import { parseRegistry } from '../../../src/lib/domain/registry/registry.js'
import { planEdit } from '../../../src/lib/ops/registry/editRegistry.js'
import { failureOf } from '../../support/failure.js'

describe('the files of a checkout', () => {
  let root: string
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'clawctl-checkout-'))
    await mkdir(join(root, 'nix'))
    await writeFile(join(root, 'nix/instances.json'), '{}\n')
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const add = (id: string, checkout = checkoutFiles(root)) =>
    checkout.edit(id, (files) => planEdit({ kind: 'add', entry: { id } }, files))
  const idsNow = async () =>
    parseRegistry(await readFile(join(root, 'nix/instances.json'), 'utf8'), 'x').map((e) => e.id)
  const lock = () => join(root, 'nix/instances.json.lock')
  /** The process id of a process that has just ended. */
  const deadPid = () =>
    new Promise<number>((resolve) => {
      const child = spawn(process.execPath, ['-v'], { stdio: 'ignore' })
      child.once('exit', () => resolve(child.pid ?? 0))
    })
  const owner = (pid: number, change: object = {}) =>
    JSON.stringify({ nonce: 'theirs', pid, host: hostname(), at: new Date().toISOString(), ...change })

  it('applies every concurrent edit, and leaves no other files', async () => {
    const ids = Array.from({ length: 20 }, (_, n) => `claw-${n + 1}`)
    await Promise.all(ids.map((id) => add(id)))
    expect((await idsNow()).sort()).to.deep.equal([...ids].sort())
    expect(await readdir(join(root, 'nix'))).to.have.members(['hosts', 'instances.json'])
    expect(await readdir(join(root, 'nix/hosts'))).to.have.members(ids.map((id) => `${id}.nix`))
  })

  it('keeps the file mode and follows a link, with one lock for all users of the file', async () => {
    const real = join(root, 'shared.json')
    await writeFile(real, '{}\n')
    await chmod(real, 0o640)
    await rm(join(root, 'nix/instances.json'))
    await symlink(real, join(root, 'nix/instances.json'))
    const other = join(root, 'other')
    await mkdir(join(other, 'nix'), { recursive: true })
    await symlink(real, join(other, 'nix/instances.json'))
    await Promise.all(['a', 'b', 'c'].flatMap((id) => [add(id), add(`${id}-2`, checkoutFiles(other))]))
    expect(await idsNow()).to.have.length(6)
    expect((await stat(real)).mode & 0o777).to.equal(0o640)
  })

  it('takes over the lock of a killed process, and removes its temporary files', async () => {
    await mkdir(join(root, 'nix/hosts'))
    const backup = join(root, 'nix/instances.json.20250101')
    await writeFile(backup, 'mine')
    await utimes(backup, 1, 1)
    await writeFile(lock(), owner(await deadPid()))
    for (const begun of ['instances.json.3486913706', 'hosts/a.nix.123'])
      await writeFile(join(root, 'nix', begun), 'half')
    await Promise.all([add('a'), add('b'), add('c')])
    expect((await idsNow()).sort()).to.deep.equal(['a', 'b', 'c'])
    expect(await readdir(join(root, 'nix/hosts'))).to.have.members(['a.nix', 'b.nix', 'c.nix'])
    expect(await readdir(join(root, 'nix'))).to.have.members(['hosts', 'instances.json', 'instances.json.20250101'])
  })

  it('takes over a dead lock: too old, or without an owner', async () => {
    await writeFile(lock(), owner(process.pid))
    await utimes(lock(), 0, 0)
    await add('a')
    await writeFile(lock(), '')
    const earlier = new Date(Date.now() - 5_000)
    await utimes(lock(), earlier, earlier)
    await add('b')
    expect(await idsNow()).to.deep.equal(['a', 'b'])
  })

  it('waits for a running process, then names it', async () => {
    for (const [pid, host] of [
      [process.pid, hostname()],
      [1, 'another-host'],
    ] as const) {
      await writeFile(lock(), owner(pid, { host }))
      const error = await failureOf(withFileLock(lock(), async () => {}, 50))
      expect(error.code).to.equal('REGISTRY_LOCKED')
      expect(error.message).to.include(`process ${pid} on ${host}`)
      expect(await readFile(lock(), 'utf8')).to.include('theirs')
    }
  })

  it('writes nothing after another process has taken the lock', async () => {
    const error = await failureOf(
      withFileLock(lock(), async (held) => {
        await writeFile(lock(), owner(process.pid))
        await held.confirm()
      }),
    )
    expect(error.code).to.equal('REGISTRY_LOCKED')
    expect(await readFile(lock(), 'utf8')).to.include('theirs')
  })

  it('leaves no lock after a refusal', async () => {
    await add('a')
    const edit = checkoutFiles(root).edit('b', (files) => {
      // Refused only at the second check, under the lock.
      if (calls++ > 0) return planEdit({ kind: 'remove', id: 'nobody' }, files)
      return planEdit({ kind: 'add', entry: { id: 'b' } }, files)
    })
    let calls = 0
    expect((await failureOf(edit)).code).to.equal('UNKNOWN_TARGET')
    expect(await readdir(join(root, 'nix'))).to.have.members(['hosts', 'instances.json'])
  })

  it("names a file that can't be written", async () => {
    await writeFile(join(root, 'nix/hosts'), 'a file where the folder should be')
    const error = await failureOf(add('a'))
    expect(error.code).to.equal('NOT_WRITABLE')
    expect(error.message).to.include('nix/hosts')
    expect(await readFile(join(root, 'nix/instances.json'), 'utf8')).to.equal('{}\n')
    expect((await failureOf(checkoutFiles(null).read('a'))).code).to.equal('REGISTRY_NOT_FOUND')
  })
})
