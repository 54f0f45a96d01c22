import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { expect } from 'chai'
import { type Answered, answered } from '../../../sandbox/http.js'
import { BIN, expectFailure, TestSandbox, temporaryFolder } from '../../support/cli.js'
import { bootSector } from '../../support/fakeDisk.js'

const MIB = 1024 ** 2
const SIZE = 40 * MIB
/** Offsets of blocks with data. */
const DATA = [0, 3, 4, 7, 11, 20, 21, 30, 41, 50, 60, 79].map((index) => index * 512 * 1024)

describe('clawctl image upload and import', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
    writeFileSync(files.path('nixos.raw'), '')
    truncateSync(files.path('nixos.raw'), SIZE)
    const fd = openSync(files.path('nixos.raw'), 'r+')
    for (const offset of DATA) writeSync(fd, randomBytes(1000), 0, 1000, offset)
    writeSync(fd, bootSector(), 0, 512, 0)
  })
  after(() => sandbox.close())

  const ci = (...args: string[]) => {
    const env = { XDG_STATE_HOME: files.path('state'), GITHUB_OUTPUT: files.path('output') }
    return sandbox.clawctl('ci', ['image', ...args], { env })
  }
  const outputs = () => readFileSync(files.path('output'), 'utf8')
  const blockPuts = () =>
    sandbox.inner.requests.filter(
      ({ service, method, path }) => service === 'ebs' && method === 'PUT' && /blocks/.test(path),
    )

  it('run only in ci mode', async () => {
    const outcome = await sandbox.clawctl('laptop', ['image', 'upload', files.path('nixos.raw'), '--json'])
    expectFailure(outcome, 'NOT_CI', 3)
  })

  it('uploads with only the result on stdout, and imports what it uploaded', async () => {
    const uploaded = await ci('upload', files.path('nixos.raw'), '--json')
    expect(uploaded.stderr).to.equal('')
    const { key } = uploaded.json().upload
    expect(sandbox.bucket.get(key)?.body.equals(readFileSync(files.path('nixos.raw')))).to.equal(true)
    const imported = await ci('import', key)
    expect(imported.code, imported.stderr).to.equal(0)
    const ami = imported.stdout.split('\n')[0] ?? ''
    expect(sandbox.world.images.get(ami)?.tags.get('clawdinator')).to.equal('true')
    expect(outputs()).to.include(`key=${key}\n`).and.to.include(`ami_id=${ami}\n`)
  })

  it('resumes a killed --direct import', async () => {
    sandbox.addFault('ebs:slow=60ms')
    const direct = ['import', '--direct', files.path('nixos.raw'), '--concurrency', '2', '--json']
    const env = { ...(await sandbox.environment('ci')), XDG_STATE_HOME: files.path('state') }
    const first = spawn(process.execPath, [BIN, 'image', ...direct], { env, stdio: 'ignore' })
    const ended = once(first, 'exit')
    while (blockPuts().length < 4) await setTimeout(20)
    first.kill('SIGKILL')
    await ended
    const second = await ci(...direct)
    expect(second.code, second.stderr).to.equal(0)
    const { blocks, resumed, image } = second.json().import
    expect(resumed).to.equal(true)
    expect(blocks).to.include({ data: DATA.length, sent: DATA.length - blocks.resumed })
    expect(blockPuts().length).to.be.at.most(DATA.length + 2)
    expect(sandbox.world.images.get(image.id)?.tags.get('clawdinator')).to.equal('true')
  })

  it('sends only the missing parts after a killed upload', async () => {
    sandbox.addFault('s3:slow=80ms')
    writeFileSync(files.path('random.raw'), Buffer.concat([bootSector(), randomBytes(SIZE - 512)]))
    const partPuts = () =>
      sandbox.inner.requests.filter(({ service, path }) => service === 's3' && /partNumber/.test(path))
    const before = partPuts().length
    const env = await sandbox.environment('ci')
    const upload = ['upload', files.path('random.raw'), '--concurrency', '1']
    const first = spawn(process.execPath, [BIN, 'image', ...upload], { env, stdio: 'ignore' })
    const ended = once(first, 'exit')
    while (partPuts().length < before + 2) await setTimeout(20)
    first.kill('SIGKILL')
    await ended
    const second = await ci(...upload, '--json')
    expect(second.code, second.stderr).to.equal(0)
    const { parts, key } = second.json().upload
    expect(parts.resumed).to.be.at.least(2)
    expect(partPuts().length - before).to.be.at.most(parts.total + 1)
    expect(sandbox.bucket.get(key)?.body.equals(readFileSync(files.path('random.raw')))).to.equal(true)
  })

  it('sends no holes, also after a kill', async () => {
    const [first, second] = [randomBytes(9 * MIB), randomBytes(6 * MIB)]
    writeFileSync(files.path('holes.raw'), Buffer.concat([bootSector(), first.subarray(512)]))
    truncateSync(files.path('holes.raw'), 100 * MIB)
    const fd = openSync(files.path('holes.raw'), 'r+')
    writeSync(fd, second, 0, second.length, 60 * MIB)
    let received = 0
    const count = (message: unknown) => {
      const { service, exchange } = message as Answered
      if (service === 's3' && exchange.method === 'PUT') received += Number(exchange.headers['content-length'] ?? 0)
    }
    answered.subscribe(count)
    try {
      const puts = () => sandbox.inner.requests.filter(({ path }) => /x-id=UploadPart/.test(path)).length
      const before = puts()
      const upload = ['upload', files.path('holes.raw'), '--concurrency', '1']
      const killed = spawn(process.execPath, [BIN, 'image', ...upload], {
        env: await sandbox.environment('ci'),
        stdio: 'ignore',
      })
      const ended = once(killed, 'exit')
      while (puts() < before + 4) await setTimeout(20)
      killed.kill('SIGKILL')
      await ended
      const done = await ci(...upload, '--json')
      expect(done.code, done.stderr).to.equal(0)
      const { parts, key } = done.json().upload
      expect(parts.resumed).to.be.at.least(3)
      expect(parts.sent + parts.copied + parts.resumed).to.equal(parts.total)
      // The data, and the object of zeros from which holes are copied.
      expect(received).to.be.within(first.length + second.length, first.length + second.length + 8 * MIB)
      expect(sandbox.bucket.get(key)?.body.equals(readFileSync(files.path('holes.raw')))).to.equal(true)
    } finally {
      answered.unsubscribe(count)
    }
  })

  it('reports an invalid image, and a missing role', async () => {
    writeFileSync(files.path('cut.vhd'), Buffer.concat([Buffer.from('conectix'), Buffer.alloc(2040)]))
    const [cut, role] = await Promise.all([
      ci('upload', files.path('cut.vhd'), '--json'),
      (async () => {
        writeFileSync(files.path('other.raw'), Buffer.concat([bootSector(), randomBytes(MIB - 512)]))
        await ci('upload', files.path('other.raw'))
        sandbox.addFault('import:no-role')
        return ci('import', '--json')
      })(),
    ])
    expect(expectFailure(cut, 'INVALID_IMAGE', 2).message).to.match(/cut off/)
    expect(expectFailure(role, 'DENIED', 4).hint).to.match(/trust policy for vmie\.amazonaws\.com/)
  })
})
