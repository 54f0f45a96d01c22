import { expect } from 'chai'
import type { Deploy, DeployRecord, Order } from '../../../src/lib/domain/contract/index.js'
import { FREEZE_KEY, formatFreezes } from '../../../src/lib/domain/deploy/freeze.js'
import { INDEX_PREFIX } from '../../../src/lib/domain/deploy/run.js'
import { instanceAddress } from '../../../src/lib/domain/deploy/slots.js'
import { ClawctlError, type Code } from '../../../src/lib/domain/errors.js'
import { deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import type { DeployOptions } from '../../../src/lib/ops/deploy/plane.js'
import { failureOf } from '../../support/failure.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { entryOf, freezeOf, heartbeatOf, hostOf, NEW, OLD, REQUEST_ID, registryOf, START } from '../../support/fakes.js'

type Plane = ReturnType<typeof fakeDirectPlane>

const start = (plane: Plane, request: Partial<Order> = {}, options: Partial<DeployOptions> = {}) =>
  deployFleet({ target: 'all', requestId: REQUEST_ID, ...request }, deployOptions(options), plane.ports)
const abc = (existing = ['a', 'b', 'c']) => fakeDirectPlane(registryOf('a', 'b', 'c'), existing)
const outcomes = (deploy: unknown) => (deploy as Deploy).hosts.map((host) => `${host.id} ${host.outcome}`)
const records = (plane: Plane) =>
  plane.store.puts
    .filter(({ key }) => /^deploys\/[^/]+$/.test(key) && !key.startsWith(INDEX_PREFIX))
    .map((put) => JSON.parse(put.text) as DeployRecord)
const applied = (plane: Plane) => plane.cloud.log.filter((line) => line.startsWith('apply'))

/** The failure, whose `partial` must contain the deploy so far. */
async function failed(plane: Plane, request: Partial<Order> = {}, options: Partial<DeployOptions> = {}) {
  const error = await failureOf(start(plane, request, options))
  const deploy = error.partial?.deploy as Deploy
  expect(deploy.error).to.include({ code: error.code, message: error.message })
  return { error, deploy }
}

describe('deployFleet', () => {
  it('deploys one named host and nothing else', async () => {
    const plane = abc()
    const deploy = await start(plane, { target: 'b' })
    expect(applied(plane)).to.deep.equal(['apply create b/b', 'apply delete b'])
    expect(deploy).to.include({ status: 'succeeded', ami: NEW.id, error: null, runId: 77 })
    expect(deploy.hosts).to.have.length(1)
    expect(deploy.hosts[0]).to.include({ id: 'b', outcome: 'replaced', ami: NEW.id, previousAmi: OLD.id })
    expect(deploy.hosts[0]).to.include({ instanceId: 'i-new-1', step: null, reason: null })
    expect(plane.cloud.hosts.map((host) => `${host.id} ${host.ami}`).sort()).to.deep.equal([
      `a ${OLD.id}`,
      `b ${NEW.id}`,
      `c ${OLD.id}`,
    ])
  })

  it('deploys all one after the other, missing hosts first, and skips the caller', async () => {
    const plane = abc(['a', 'c'])
    const deploy = await start(plane, { caller: 'a', requestedBy: 'Ada' })
    expect(applied(plane).map((line) => line.split(' ').at(-1))).to.deep.equal(['b', 'c/b', 'c'])
    expect(outcomes(deploy)).to.deep.equal(['b created', 'c replaced', 'a skipped'])
    expect(deploy).to.include({ leavesOut: 'a' })
    expect(deploy.hosts.at(-1)?.reason).to.match(/no instance replaces itself/)
  })

  it('needs no image for an instance that is not deployed', async () => {
    const plane = fakeDirectPlane([entryOf('a'), entryOf('b', { instanceType: 't4g.large' })], ['a'])
    expect(outcomes(await start(plane, { target: 'a' }))).to.deep.equal(['a replaced'])
    expect((await failed(plane, { target: 'b' })).error.code).to.equal('AMI_NOT_FOUND')
  })

  it('uses the override', async () => {
    const plane = abc()
    expect(await start(plane, { target: 'a', amiOverride: OLD.id })).to.include({ ami: OLD.id, amiOverride: OLD.id })
    expect(plane.cloud.planned[0]?.ami).to.equal(OLD.id)
  })

  it('keeps machines of the state that the registry lacks, and reports that they keep running', async () => {
    const plane = abc()
    plane.cloud.add(hostOf('z'))
    plane.cloud.addUnmanaged(hostOf('y'))
    await start(plane, { target: 'a' })
    expect(plane.cloud.hosts.map((host) => host.id)).to.include.members(['y', 'z'])
    expect(plane.progress.notes).to.deep.equal(['Not in the registry, left running: y, z.'])
  })

  it('writes the report of the CI job', async () => {
    const plane = abc()
    await start(plane, { target: 'a', requestedBy: 'Ada' })
    expect(plane.report.outputs).to.deep.equal({ status: 'succeeded', ami: NEW.id })
    expect(plane.report.summaries).to.have.length(1)
    expect(plane.report.summaries[0])
      .to.include('| a | replaced |')
      .and.include(`\`create ${instanceAddress('a', 'b')}\``)
  })

  it('refuses a frozen target before anything is planned, and records who froze it', async () => {
    for (const [frozen, target] of [
      ['all', 'b'],
      ['b', 'b'],
      ['b', 'all'],
    ] as const) {
      const plane = abc()
      plane.store.set(FREEZE_KEY, formatFreezes([freezeOf(frozen)]))
      const { error, deploy } = await failed(plane, { target })
      expect([error.code, deploy.status]).to.deep.equal(['FROZEN', 'failed'])
      expect(error.message).to.include('Ada (verified)').and.include('Discord is down')
      expect(applied(plane)).to.deep.equal([])
    }
    const plane = abc()
    plane.store.set(FREEZE_KEY, formatFreezes([freezeOf('b')]))
    expect(await start(plane, { target: 'a' })).to.include({ status: 'succeeded' })
  })

  it('stops before its next host after a cancellation, and finishes the current one', async () => {
    const plane = abc()
    let writes = 0
    plane.store.beforePut = (key) => {
      // The first write names the serving machine, the second one no machine.
      if (key === 'active/a.json' && writes++ === 1)
        plane.store.set('control/cancel/request-0001.json', { by: 'Jo (verified)', at: START })
    }
    const { error, deploy } = await failed(plane, { requestId: 'request-0001' })
    expect([error.code, deploy.status]).to.deep.equal(['CANCELLED', 'cancelled'])
    expect(error.message).to.include('Jo (verified)')
    expect(outcomes(deploy)).to.deep.equal(['a replaced', 'b skipped', 'c skipped'])
  })

  describe('refusals before anything is planned', () => {
    const oneBundleLess = (plane: Plane) => plane.store.objects.delete('bootstrap/b/secrets/openai-api-key.age')
    type Row = [why: string, code: Code, request: Partial<Order>, spoil: (plane: Plane) => unknown, says: RegExp]
    const table: Row[] = [
      ['no image is tagged', 'AMI_NOT_FOUND', {}, (p) => p.cloud.images.splice(0), /tagged clawdinator=true/],
      ['the override does not exist', 'AMI_NOT_FOUND', { amiOverride: 'ami-deadbeef' }, () => {}, /ami-deadbeef/],
      [
        'the override is not available',
        'AMI_NOT_FOUND',
        { amiOverride: NEW.id },
        (p) => Object.assign(p.cloud.images[1] ?? {}, { available: false }),
        /not available/,
      ],
      [
        'one bundle of the rollout is incomplete',
        'BUNDLE_INCOMPLETE',
        {},
        oneBundleLess,
        /b: secrets\/openai-api-key\.age is missing/,
      ],
      [
        'the named image belongs to another account',
        'AMI_REFUSED',
        { amiOverride: NEW.id },
        (p) => Object.assign(p.cloud.images[1] ?? {}, { trusted: false }),
        /belongs to another account/,
      ],
      [
        'the named image was withdrawn',
        'AMI_REFUSED',
        { amiOverride: NEW.id },
        (p) => Object.assign(p.cloud.images[1] ?? {}, { ready: 'withdrawn' }),
        /was withdrawn/,
      ],
      [
        'the named image is of another architecture',
        'AMI_REFUSED',
        { amiOverride: NEW.id },
        (p) => Object.assign(p.cloud.images[1] ?? {}, { architecture: 'arm64' }),
        /is for arm64; a is a t3\.large, which is x86_64/,
      ],
      [
        'the latest image failed before',
        'AMI_FAILED_BEFORE',
        {},
        (p) => Object.assign(p.cloud.images[1] ?? {}, { failedIn: 'request-0000' }),
        /failed in the deploy request-0000\. The last good AMI is ami-0+1/,
      ],
    ]
    for (const [why, code, request, spoil, says] of table) {
      it(`fails with ${code} if ${why}`, async () => {
        const plane = abc()
        spoil(plane)
        const { error, deploy } = await failed(plane, request)
        expect(error.code).to.equal(code)
        expect(error.message).to.match(says)
        expect(error.hint).to.be.a('string')
        expect(plane.cloud.log.filter((line) => line !== 'init')).to.deep.equal([])
        expect(deploy).to.include({ status: 'failed' })
        expect(records(plane).at(-1)).to.deep.include({ status: 'failed', hosts: [] })
      })
    }

    it('ignores the bundle of a host that is not deployed', async () => {
      const plane = abc()
      oneBundleLess(plane)
      expect(await start(plane, { target: 'a' })).to.include({ status: 'succeeded' })
    })

    it('applies the policy, and records the reason for followers of the run', async () => {
      for (const request of [{ target: 'a', caller: 'a' }, { caller: 'a' }, { target: 'zzz' }]) {
        const plane = abc()
        const error = await failureOf(start(plane, request))
        expect(error.code).to.be.oneOf(['SELF_DEPLOY', 'BOT_DEPLOY_ALL', 'UNKNOWN_TARGET'])
        expect(plane.cloud.log).to.deep.equal([])
        expect(records(plane).at(-1)).to.deep.include({ status: 'failed', hosts: [] })
        expect(records(plane).at(-1)?.error).to.include({ code: error.code })
      }
    })
  })

  it('applies nothing of a plan that is out of scope, and skips the other hosts', async () => {
    const plane = abc()
    const intruder = { mode: 'managed', type: 'aws_s3_bucket', change: { actions: ['delete'] } }
    plane.cloud.alsoPlanned = [{ ...intruder, address: 'aws_s3_bucket.state' }]
    const { error, deploy } = await failed(plane)
    expect(error.code).to.equal('PLAN_OUT_OF_SCOPE')
    expect(error.partial?.addresses).to.deep.equal(['aws_s3_bucket.state'])
    expect(plane.cloud.log).to.deep.equal(['init', 'plan create a/b'])
    expect(outcomes(deploy)).to.deep.equal(['a kept', 'b skipped', 'c skipped'])
    expect(deploy.hosts[0]).to.include({ ami: OLD.id, instanceId: 'i-a' })
  })

  describe('with --plan-only', () => {
    it('plans and guards every host, and applies nothing', async () => {
      const plane = abc()
      const deploy = await start(plane, {}, { planOnly: true })
      expect(deploy.status).to.equal('planned')
      expect(outcomes(deploy)).to.deep.equal(['a planned', 'b planned', 'c planned'])
      expect(applied(plane)).to.deep.equal([])
      expect(plane.cloud.log.map((line) => line.split(' ')[0])).to.deep.equal(['init', 'plan', 'plan', 'plan'])
      expect(plane.report.outputs.status).to.equal('planned')
    })

    it('keeps the heartbeats of other machines, which a deploy removes', async () => {
      const plane = abc()
      const key = 'heartbeats/a/i-before.json'
      plane.store.set(key, heartbeatOf(hostOf('a', { instanceId: 'i-before' })))
      await start(plane, { target: 'a' }, { planOnly: true })
      expect(plane.store.objects.has(key)).to.equal(true)
      await start(plane, { target: 'a' })
      expect(plane.store.objects.has(key)).to.equal(false)
    })

    it('plans the creation of one host', async () => {
      expect(outcomes(await start(abc(['a', 'b']), { target: 'c' }, { planOnly: true }))).to.deep.equal(['c planned'])
    })

    it('plans the whole fleet with missing hosts', async () => {
      const deploy = await start(abc(['a']), {}, { planOnly: true })
      expect(outcomes(deploy)).to.deep.equal(['b planned', 'c planned', 'a planned'])
    })
  })

  describe("the deploy's record", () => {
    it('is written at each step and at the end', async () => {
      const plane = abc()
      await start(plane, { requestedBy: 'Ada' })
      const [first, ...later] = records(plane)
      expect(first).to.include({ status: 'running', ami: null, requestedBy: 'Ada', runId: 77, finishedAt: null })
      const marks: Record<string, string> = { pending: '.', deploying: '>', replaced: '+' }
      const progress = later.map((r) => `${r.status} ${r.hosts.map((host) => marks[host.outcome]).join('')}`)
      expect(progress.filter((line, index) => line !== progress[index - 1])).to.deep.equal([
        'running ...',
        'running >..',
        'running +..',
        'running +>.',
        'running ++.',
        'running ++>',
        'running +++',
        'succeeded +++',
      ])
      const steps = later.flatMap(({ hosts }) => (hosts[1]?.step ? [hosts[1].step] : []))
      const names = steps.map(({ name }) => name)
      expect(names.filter((name, index) => name !== names[index - 1])).to.deep.equal([
        'resume',
        'plan',
        'candidate',
        'standby',
        'handover',
        'active',
        'cleanup',
      ])
      expect(steps.map(({ clause }) => clause)).to.include.members([
        'create aws_instance.clawdinator["b/b"]',
        'i-new-2 was created',
        'i-b is asked to yield',
        'i-new-2 is active',
        'i-b is destroyed',
      ])
      expect(later.at(-1)?.finishedAt).to.be.a('string')
    })

    it('must be written before a deploy starts', async () => {
      const plane = abc()
      plane.store.beforePut = () => {
        throw new ClawctlError('DENIED', 'S3 refuses.')
      }
      expect((await failureOf(start(plane))).code).to.equal('DENIED')
      expect(plane.cloud.log).to.deep.equal([])
    })

    it('does not stop a rollout if it can no longer be written', async () => {
      const plane = abc()
      plane.store.beforePut = (key, nth) => {
        // After the index entry and the first record.
        if (nth > 2 && key.startsWith('deploys/')) throw new ClawctlError('DENIED', 'S3 refuses.')
      }
      expect(outcomes(await start(plane))).to.deep.equal(['a replaced', 'b replaced', 'c replaced'])
      expect(plane.progress.notes[0]).to.match(/record could not be written: S3 refuses\./)
    })
  })

  it('ends as cancelled if the process is stopped while it waits', async () => {
    const plane = abc()
    plane.cloud.boots.set(NEW.id, 'silent')
    plane.clock.onSleep = () => {
      throw new ClawctlError('CANCELLED', 'Stopped.')
    }
    const { error, deploy } = await failed(plane)
    expect(error.code).to.equal('CANCELLED')
    expect(deploy.status).to.equal('cancelled')
    expect(outcomes(deploy)).to.deep.equal(['a kept', 'b skipped', 'c skipped'])
    expect(applied(plane)).to.deep.equal(['apply create a/b'])
    expect(records(plane).at(-1)).to.deep.include({ status: 'cancelled' })
  })
})
