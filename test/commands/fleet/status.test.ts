import { expect } from 'chai'
import {
  expectFailure,
  inSandbox,
  LATEST_AMI,
  OLDER_AMI,
  type Outcome,
  registryOf,
  TestSandbox,
  temporaryFolder,
} from '../../support/cli.js'
import { startServer } from '../../support/server.js'

const INSTANCE_KEYS = [
  'id',
  'state',
  'instanceId',
  'ami',
  'amiStatus',
  'instanceType',
  'publicIp',
  'launchedAt',
  'health',
  'reason',
  'stage',
  'revision',
  'beside',
]
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

describe('clawctl fleet status', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  const status = (as: string, ...more: string[]) => sandbox.clawctl(as, ['fleet', 'status', ...more])

  describe('in the initial state', () => {
    let laptop: Outcome
    let ci: Outcome
    let host: Outcome
    before(async () => {
      ;[laptop, ci, host] = await Promise.all([
        status('laptop', '--json'),
        status('ci', '--json'),
        status('clawdinator-1', '--json'),
      ])
    })

    it('returns the keys of the contract in their order', () => {
      const document = laptop.json()
      expect(Object.keys(document)).to.deep.equal(['ok', 'fleet'])
      expect(Object.keys(document.fleet)).to.deep.equal(['latestAmi', 'failedAmi', 'deploying', 'instances', 'sources'])
      expect(Object.keys(document.fleet.latestAmi)).to.deep.equal(['id', 'name', 'createdAt'])
      for (const instance of document.fleet.instances) expect(Object.keys(instance)).to.deep.equal(INSTANCE_KEYS)
    })

    it('shows a host on the older AMI, a missing one, and the newer AMI', () => {
      const { latestAmi, instances } = laptop.json().fleet
      expect(latestAmi.id).to.equal(LATEST_AMI)
      expect(latestAmi.createdAt).to.match(TIME)
      const [first, second] = instances
      expect(instances).to.have.length(2)
      expect(first).to.include({ id: 'clawdinator-1', state: 'running', ami: OLDER_AMI, amiStatus: 'stale' })
      expect(first).to.include({ instanceType: 't3.large', health: 'healthy' })
      expect(first.instanceId).to.match(/^i-[0-9a-f]{17}$/)
      expect(first.publicIp).to.match(/^[\d.]+$/)
      expect(first.launchedAt).to.match(TIME)
      expect(first.revision).to.match(/^[0-9a-f]{40}$/)
      expect(second).to.deep.equal({
        id: 'clawdinator-2',
        state: 'missing',
        instanceId: null,
        ami: null,
        amiStatus: 'unknown',
        instanceType: null,
        publicIp: null,
        launchedAt: null,
        health: 'unknown',
        reason: null,
        stage: null,
        revision: null,
        beside: null,
      })
    })

    it('returns the same bytes on both planes and on a host', () => {
      expect(laptop.code).to.equal(0)
      expect(ci.stdout).to.equal(laptop.stdout)
      expect(host.stdout).to.equal(laptop.stdout)
    })

    it('prints nothing on stderr', () => {
      expect(laptop.stderr + ci.stderr + host.stderr).to.equal('')
    })

    it('prints a table without colours if stdout is not a terminal', async () => {
      const { stdout, code } = await status('laptop')
      const lines = stdout.trimEnd().split('\n')
      expect(code).to.equal(0)
      expect(lines[0]).to.match(/^INSTANCE +STATE +HEALTH +AMI +TYPE +ADDRESS +AGE +REVISION$/)
      expect(lines[1]).to.match(/^clawdinator-1 +running +healthy +ami-0a1c1aad1e5000001 +stale +t3.large +[\d.]+ +20d/)
      expect(lines[2]).to.match(/^clawdinator-2 +missing/)
      expect(lines.at(-1)).to.match(/^Latest AMI: ami-0a1c1aad1e5000002 \(clawdinator-[\d-]+[0-9a-f]{12}, 1d old\)$/)
      expect(stdout).not.to.include('\u001b')
    })

    it('prints the same as a few lines for a chat', async () => {
      const { stdout } = await status('clawdinator-1', '--chat')
      expect(stdout.split('\n')[0]).to.match(
        /^clawdinator-1: running, healthy, stale AMI ami-0a1c1aad1e5000001, up 20d$/,
      )
      expect(stdout).to.include('\nclawdinator-2: missing\n')
      expect(stdout).to.include(`latest AMI: ${LATEST_AMI}`)
    })
  })

  it('keeps a chat message within 2,000 characters for any fleet, and counts the omitted lines', async () => {
    const ids = Array.from({ length: 120 }, (_, n) => `clawdinator-${n + 1}`)
    await inSandbox({ registry: await files.write('large.json', registryOf(ids)) }, async (large) => {
      const { stdout, code } = await large.clawctl('laptop', ['fleet', 'status', '--chat'])
      expect(code).to.equal(0)
      expect(stdout.length).to.be.at.most(2000).and.above(1000)
      const shown = stdout.split('\n').filter((line) => line.startsWith('clawdinator-')).length
      // One line more than the number of instances: the latest AMI.
      expect(stdout.trimEnd().split('\n').at(-1)).to.equal(`… and ${ids.length + 1 - shown} more`)
    })
  })

  it('shows a running machine that is not in the registry as an orphan, on both planes', async () => {
    await inSandbox({ registry: await files.write('two.json', registryOf(['clawdinator-2'])) }, async (other) => {
      const [laptop, ci] = await Promise.all([
        other.clawctl('laptop', ['fleet', 'status', '--json']),
        other.clawctl('ci', ['fleet', 'status', '--json']),
      ])
      const { instances } = laptop.json().fleet
      const seen = instances.map(({ id, state }: { id: string; state: string }) => `${id} ${state}`)
      expect(seen).to.deep.equal(['clawdinator-2 missing', 'clawdinator-1 orphan'])
      expect(instances[1]).to.include({ ami: OLDER_AMI, amiStatus: 'stale', health: 'healthy' })
      expect(ci.stdout).to.equal(laptop.stdout)
    })
  })

  it('shows which running hosts are stale, and `unknown` if no image is tagged', async () => {
    await inSandbox({ running: ['clawdinator-1', 'clawdinator-2'] }, async (other) => {
      const [, second] = other.world.instances.values()
      if (second) second.imageId = LATEST_AMI
      const tagged = (await other.clawctl('laptop', ['fleet', 'status', '--json'])).json().fleet
      for (const image of other.world.images.values()) image.tags.delete('clawdinator')
      const [laptop, table] = await Promise.all([
        other.clawctl('laptop', ['fleet', 'status', '--json']),
        other.clawctl('ci', ['fleet', 'status']),
      ])
      const statuses = (fleet: { instances: { amiStatus: string }[] }) => fleet.instances.map((i) => i.amiStatus)
      expect(statuses(tagged)).to.deep.equal(['stale', 'latest'])
      expect(laptop.json().fleet.latestAmi).to.equal(null)
      expect(statuses(laptop.json().fleet)).to.deep.equal(['unknown', 'unknown'])
      expect(table.stdout).to.include('Latest AMI: none is tagged clawdinator=true')
    })
  })

  it('distinguishes a standby host, a stopped and a terminated instance', async () => {
    await inSandbox({}, async (other) => {
      const [instance] = other.world.instances.values()
      if (!instance) throw new Error('nothing runs')
      const look = async () => {
        const [laptop, ci] = await Promise.all([
          other.clawctl('laptop', ['fleet', 'status', '--json']),
          other.clawctl('ci', ['fleet', 'status', '--json']),
        ])
        expect(ci.stdout).to.equal(laptop.stdout)
        const { state, health } = laptop.json().fleet.instances[0]
        return `${state} ${health}`
      }
      const bucket = other.inner.session.ci.S3_BUCKET ?? ''
      const active = {
        schema: 1,
        id: 'clawdinator-1',
        instanceId: 'i-00000000000000000',
        deploy: null,
        at: '2026-11-01T00:00:00Z',
      }
      other.world.putObject(bucket, 'active/clawdinator-1.json', JSON.stringify(active))
      const heartbeat = () => other.bucket.get(`heartbeats/clawdinator-1/${instance.id}.json`)?.body.toString() ?? ''
      while (!heartbeat().includes('"stage":"yielded"')) await new Promise((resolve) => setTimeout(resolve, 10))
      expect(await look()).to.equal('running unhealthy')
      for (const state of ['stopping', 'stopped'] as const) {
        instance.state = state
        expect(await look()).to.equal(`${state} unhealthy`)
      }
      instance.state = 'terminated'
      expect(await look()).to.equal('missing unknown')
    })
  })

  it('prints no control or bidi characters of foreign text, as text, JSON or error', async () => {
    await inSandbox({}, async (other) => {
      const reason = 'a\u0007\u001b]0;pwn\u0007\u009b2J\u2028b\u202ec'
      const asked = { caller: null, requestedBy: 'Jo', identity: 'person claimed', at: '2026-11-01T00:00:00Z' }
      const freezes = [{ target: 'all', reason, ...asked, until: null }]
      const bucket = other.inner.session.ci.S3_BUCKET ?? ''
      other.world.putObject(bucket, 'control/freeze.json', JSON.stringify({ schema: 1, freezes }))
      const [text, chat, json, refused] = await Promise.all([
        other.clawctl('laptop', ['fleet', 'status']),
        other.clawctl('laptop', ['fleet', 'status', '--chat']),
        other.clawctl('laptop', ['fleet', 'status', '--json']),
        other.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-1']),
      ])
      for (const { stdout, stderr } of [text, chat, json, refused]) {
        expect(stdout + stderr).not.to.match(/[^\P{Cc}\n\t]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u)
      }
      expect(text.stdout).to.include('until a person ends it: a]0;pwn2Jbc\n')
      expect(refused.stderr).to.include('a]0;pwn2Jbc')
      expect(json.json().fleet.freezes[0].reason).to.equal(reason)
    })
  })

  it('names each source that could not be read, and shows the rest, on both planes and for a chat', async () => {
    await inSandbox({}, async (other) => {
      other.world.putObject(other.inner.session.ci.S3_BUCKET ?? '', 'control/freeze.json', '{}')
      const outcomes = await Promise.all([
        other.clawctl('laptop', ['fleet', 'status']),
        other.clawctl('ci', ['fleet', 'status']),
        other.clawctl('clawdinator-1', ['fleet', 'status', '--chat']),
      ])
      for (const { code, stdout } of outcomes) {
        expect([code, stdout.includes('clawdinator-1')]).to.deep.equal([0, true])
        expect(stdout).to.include('The freezes could not be read: no deploy is accepted until they can be.\n')
        expect(stdout).to.include('For the reason: clawctl preflight.')
      }
      const preflight = await other.clawctl('laptop', ['preflight'])
      expect(preflight.stdout).to.include('control/freeze.json')
      for (const as of ['laptop', 'ci']) {
        const refused = await other.clawctl(as, ['fleet', 'deploy', 'clawdinator-1', '--json'])
        expectFailure(refused, 'NOT_CONFIGURED', 4)
      }
    })
  })

  it('reports a clock of this machine that is wrong, once, and nothing of it under --json', async () => {
    const { fleet } = (await sandbox.clawctl('laptop', ['fleet', 'status', '--json'])).json()
    const server = await startServer((response) => {
      response.setHeader('date', new Date(Date.now() + 600_000).toUTCString())
      response.end(JSON.stringify({ ok: true, fleet }))
    })
    const env = { CLAWDINATOR_CONTROL_API_URL: server.url }
    const status = (...args: string[]) => sandbox.clawctl('laptop', ['fleet', 'status', ...args], { env })
    const [text, json] = [await status(), await status('--json')]
    await server.close()
    expect(text.stderr).to.match(
      /^The clock of this machine is (?:10m 0s|9m \d\ds) behind the server's\. Ages are wrong by as much; set it, for example with `timedatectl set-ntp true`\.\n$/,
    )
    expect([json.stderr, json.code]).to.deep.equal(['', 0])
    expect((await sandbox.clawctl('ci', ['fleet', 'status'])).stderr).to.not.include('clock')
  })

  describe('--watch', () => {
    let watched: TestSandbox
    before(async () => {
      watched = await TestSandbox.start()
      await watched.environment('laptop')
    })
    after(() => watched.close())
    const become = (state: 'pending' | 'running') => {
      for (const instance of watched.world.instances.values()) instance.state = state
    }

    it('prints each change with --watch until the fleet has settled', async () => {
      become('pending')
      // The instance becomes running right after an answer with `pending`.
      const before = watched.asked('api')
      const timer = setInterval(() => watched.asked('api') > before && become('running'), 20)
      const { stdout, code } = await watched.clawctl('laptop', ['fleet', 'status', '--watch'])
      clearInterval(timer)
      const states = stdout.match(/^clawdinator-1 +\w+/gm)?.map((line) => line.split(/ +/)[1])
      expect(code).to.equal(0)
      expect(states).to.deep.equal(['pending', 'running'])
    })

    it('ends with its reader', async () => {
      become('pending')
      const untilClosed = 'trap "" PIPE; while echo; do :; done 2>/dev/null'
      const watch = 'clawctl fleet status --watch --timeout 8s'
      const script = `exec 3>&1; { ${untilClosed}; ${watch}; echo $? >&3; } | true`
      expect((await watched.run('laptop', ['bash', '-c', script])).stdout).to.equal('0\n')
    })

    it('prints one document with --json, and exits with 5 if the fleet does not settle in time', async () => {
      become('running')
      const settled = await watched.clawctl('ci', ['fleet', 'status', '--watch', '--json'])
      expect(settled.json().fleet.instances[0].state).to.equal('running')
      become('pending')
      const late = await watched.clawctl('laptop', ['fleet', 'status', '--watch', '--timeout', '1s', '--json'])
      expect(late.code).to.equal(5)
      expect(late.json().error.code).to.equal('TIMED_OUT')
      expect(late.json().fleet.instances[0].state).to.equal('pending')
    })
  })
})
