import { expect } from 'chai'
import { execa } from 'execa'
import {
  BIN,
  concurrently,
  expectFailure,
  inSandbox,
  LATEST_AMI,
  OLDER_AMI,
  type TestSandbox,
} from '../../support/cli.js'

const DAY = 86_400_000
const ago = (days: number) => new Date(Date.now() - days * DAY)
const digest = 'ab'.repeat(32)
const BUCKET = 'clawdinators-sandbox'

/** An old image with all its resources, and leftovers of failed imports. */
function grow({ world }: TestSandbox) {
  const tags: [string, string][] = [
    ['app', 'clawdinator'],
    ['digest', digest],
    ['revision', 'f'.repeat(40)],
  ]
  const snapshot = world.snapshots.add({ volumeSize: 4, tags, startedAt: ago(90) })
  const old = world.addImage({
    name: `nixos-${digest.slice(0, 12)}`,
    createdAt: ago(90),
    snapshotId: snapshot.id,
    volumeSize: 4,
    tags: [...tags, ['clawdinator', 'true']],
  })
  const target = world.addImage({ name: 'before', createdAt: ago(95), tags: [['clawdinator', 'true']] })
  const orphan = world.snapshots.add({ volumeSize: 1, tags, startedAt: ago(2) })
  for (const key of [`images/nixos-${digest.slice(0, 12)}.raw`, `images/manifests/${digest}.blocks`]) {
    world.putObject(BUCKET, key, 'x'.repeat(1000)).lastModified = ago(90)
  }
  const upload = world.startUpload({
    bucket: BUCKET,
    key: 'images/nixos-000000000000.raw',
    contentType: '',
    metadata: new Map(),
    sse: { algorithm: 'AES256', kmsKeyId: null },
    algorithm: null,
    checksumType: 'FULL_OBJECT',
  })
  upload.initiated = ago(2)
  const host = { id: 'clawdinator-1', outcome: 'replaced', ami: OLDER_AMI, previousAmi: target.id, instanceId: null }
  const record = {
    schema: 1,
    requestId: 'request-0001',
    target: 'all',
    ami: OLDER_AMI,
    amiOverride: null,
    caller: null,
    requestedBy: 'Jo',
    status: 'succeeded',
    runId: 1,
    runUrl: null,
    createdAt: ago(20).toISOString(),
    finishedAt: null,
    hosts: [host],
    error: null,
  }
  world.putObject(BUCKET, 'deploys/request-0001.json', JSON.stringify(record))
  return { old, target, orphan, snapshot, upload }
}

/** The fleet has its own security group. */
const smokeGroups = ({ world }: TestSandbox) =>
  [...world.securityGroups.values()].filter(({ name }) => name.startsWith('clawdinator-smoke-')).length

const stories = concurrently({
  prune: () =>
    inSandbox({}, async (sandbox) => {
      const { old, target, orphan, snapshot, upload } = grow(sandbox)
      const prune = (...args: string[]) => sandbox.clawctl('ci', ['image', 'prune', '--keep', '1', ...args])
      const listed = await sandbox.clawctl('ci', ['image', 'list', '--json'])
      const { tags } = sandbox.world.images.get(LATEST_AMI) ?? expect.fail()
      tags.set('clawdinator:failed', 'request-0001')
      const failed = await sandbox.clawctl('ci', ['image', 'list', '--json'])
      const failedText = await sandbox.clawctl('ci', ['image', 'list'])
      tags.delete('clawdinator:failed')
      const before = sandbox.inner.requests.length
      const dry = await prune('--dry-run')
      const refused = await prune('--json')
      const untouched = sandbox.inner.requests.slice(before).every(({ method }) => method !== 'DELETE')
      const images = [...sandbox.world.images.keys()]
      sandbox.addFault('ec2:throttle=2')
      const done = await prune('--yes', '--json')
      return {
        ids: { old: old.id, target: target.id, orphan: orphan.id, snapshot: snapshot.id, upload: upload.id },
        listed,
        failed,
        failedText,
        dry,
        refused,
        untouched,
        images,
        done,
        left: [...sandbox.world.images.keys()],
        snapshots: sandbox.world.snapshots.all().map(({ id }) => id),
        objects: [...sandbox.bucket.keys()].filter((key) => key.startsWith('images/')),
        uploads: sandbox.world.uploads.size,
      }
    }),
  unread: () =>
    inSandbox({}, async (sandbox) => {
      const { old } = grow(sandbox)
      const untilClosed = 'trap "" PIPE; while echo; do :; done 2>/dev/null'
      const prune = 'clawctl image prune --keep 1 --yes 2>/dev/null'
      const script = `exec 3>&1; { ${untilClosed}; ${prune}; echo $? >&3; } | true`
      const { stdout } = await sandbox.run('ci', ['bash', '-c', script])
      return { stdout, old: old.id, left: [...sandbox.world.images.keys()], uploads: sandbox.world.uploads.size }
    }),
  smoke: () =>
    inSandbox({}, async (sandbox) => {
      const well = await sandbox.clawctl('ci', ['image', 'smoke', LATEST_AMI, '--json'])
      const machines = () => [...sandbox.world.instances.values()].filter((i) => i.tags.has('clawdinator:smoke'))
      const [machine] = machines()
      const afterWell = {
        groups: smokeGroups(sandbox),
        state: machine?.state,
        publicIp: machine?.publicIp,
      }
      sandbox.addFault('host:mute')
      const env = await sandbox.environment('ci')
      const argv = [BIN, 'image', 'smoke', LATEST_AMI, '--timeout', '30s']
      const end = async (signal: 'SIGINT' | 'SIGKILL') => {
        const child = execa(process.execPath, argv, { env, extendEnv: false, reject: false })
        while (!machines().some((i) => i.state === 'running')) await new Promise((resolve) => setTimeout(resolve, 10))
        child.kill(signal)
        return child
      }
      const interrupted = await end('SIGINT')
      const afterInterrupt = { groups: smokeGroups(sandbox), states: machines().map((i) => i.state) }
      await end('SIGKILL')
      const afterKill = { groups: smokeGroups(sandbox) }
      const late = await sandbox.clawctl('ci', [
        'image',
        'smoke',
        LATEST_AMI,
        '--timeout',
        '1s',
        '--withdraw',
        '--json',
      ])
      const withdrawn = sandbox.world.images.get(LATEST_AMI)?.tags.get('clawdinator')
      const afterLate = { groups: smokeGroups(sandbox), states: machines().map((i) => i.state) }
      return { well, afterWell, interrupted, afterInterrupt, afterKill, late, afterLate, withdrawn }
    }),
  impaired: () =>
    inSandbox({ faults: ['host:impaired'] }, async (sandbox) => ({
      smoke: await sandbox.clawctl('ci', ['image', 'smoke', LATEST_AMI, '--json']),
      groups: smokeGroups(sandbox),
      missing: await sandbox.clawctl('ci', ['image', 'smoke', 'ami-00000000000000000', '--json']),
      agent: await sandbox.clawctl('laptop', ['image', 'prune', '--json']),
    })),
})

describe('clawctl image list and prune', () => {
  it('removes everything, too, if nobody reads the plan that it prints first', async () => {
    const { stdout, old, left, uploads } = await stories.unread
    expect(stdout).to.equal('0\n')
    expect(left).to.not.include(old)
    expect(uploads).to.equal(0)
  })

  it('lists AMIs with their instances, the latest one and rollback targets', async () => {
    const { listed, ids } = await stories.prune
    const { images } = listed.json()
    // biome-ignore lint/suspicious/noExplicitAny: a test asserts on what it reads
    const of = (id: string) => images.find((image: any) => image.id === id)
    expect(images[0]).to.include({ id: LATEST_AMI, latest: true, ready: true, failedIn: null })
    expect(of(OLDER_AMI)).to.deep.include({ usedBy: ['clawdinator-1'], latest: false, inState: true })
    expect(of(ids.target)).to.deep.include({ rollbackOf: ['clawdinator-1'] })
    expect(of(ids.old)).to.deep.include({ digest, revision: 'f'.repeat(40), snapshotId: ids.snapshot, sizeGib: 4 })
  })

  it('shows that the latest AMI failed in a deploy', async () => {
    const { failed, failedText } = await stories.prune
    expect(failed.json().images[0]).to.include({ id: LATEST_AMI, latest: true, failedIn: 'request-0001' })
    expect(failedText.stdout).to.match(new RegExp(`${LATEST_AMI} .* latest, failed `))
  })

  it('shows the reason for each item in a dry run, and changes nothing', async () => {
    const { dry, untouched, images, ids } = await stories.prune
    expect(dry.code).to.equal(0)
    expect(dry.stdout).to.match(new RegExp(`keep +${LATEST_AMI} .* the latest`))
    expect(dry.stdout).to.match(new RegExp(`keep +${ids.target} .* the rollback target of clawdinator-1`))
    expect(dry.stdout).to.match(new RegExp(`remove +${ids.old} .* old and unused`))
    expect([untouched, images.includes(ids.old)]).to.deep.equal([true, true])
  })

  it('refuses without a terminal and without --yes', async () => {
    const { message, hint } = expectFailure((await stories.prune).refused, 'USAGE', 2)
    expect(`${message} ${hint}`)
      .to.include('Remove 1 AMI, 2 snapshots, 2 objects, 1 unfinished upload?')
      .and.include('--yes')
  })

  it('removes the AMI with its snapshot, object and manifest, and unfinished leftovers', async () => {
    const { done, ids, left, snapshots, objects, uploads } = await stories.prune
    const { prune } = done.json()
    expect(prune.removed.snapshots).to.have.members([ids.snapshot, ids.orphan])
    expect(prune.removed).to.deep.include({
      images: [ids.old],
      objects: [`images/manifests/${digest}.blocks`, `images/nixos-${digest.slice(0, 12)}.raw`],
      uploads: [ids.upload],
    })
    expect(prune).to.include({ objectBytes: 2000, snapshotGib: 5 })
    expect(left).to.have.members([OLDER_AMI, LATEST_AMI, ids.target])
    expect([snapshots.includes(ids.snapshot), snapshots.length, objects, uploads]).to.deep.equal([false, 3, [], 0])
  })
})

describe('clawctl image smoke', () => {
  it('boots on a machine without a public address, and leaves no resources', async () => {
    const { well, afterWell } = await stories.smoke
    expect(well.json().smoke).to.include({ ami: LATEST_AMI, instanceType: 't3.micro' })
    expect(afterWell).to.deep.equal({ groups: 0, state: 'terminated', publicIp: null })
  })

  it('leaves no resources after Ctrl-C', async () => {
    const { interrupted, afterInterrupt } = await stories.smoke
    expect(interrupted.stderr).to.include('CANCELLED')
    expect(afterInterrupt).to.deep.equal({ groups: 0, states: ['terminated', 'terminated'] })
  })

  it('removes the leftovers of a killed run, and fails with the console if the boot line never appears', async () => {
    const { afterKill, late, afterLate, withdrawn } = await stories.smoke
    expect(afterKill.groups).to.equal(1)
    const { message } = expectFailure(late, 'TIMED_OUT', 5)
    expect(message).to.include('does not show the boot line')
    expect([withdrawn, late.json().withdrawn]).to.deep.equal(['withdrawn', LATEST_AMI])
    expect(afterLate.groups).to.equal(0)
    expect(new Set(afterLate.states)).to.deep.equal(new Set(['terminated']))
  })

  it('fails immediately on failed checks, for an unknown AMI and outside of ci mode', async () => {
    const { smoke, groups, missing, agent } = await stories.impaired
    expectFailure(smoke, 'HEALTH_FAILED', 1)
    expect(groups).to.equal(0)
    expectFailure(missing, 'AMI_NOT_FOUND', 2)
    expectFailure(agent, 'NOT_CI', 3)
  })
})
