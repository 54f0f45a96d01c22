import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { asAwsFailure } from '../../../src/lib/adapters/aws/errors.js'
import { createObjectStore } from '../../../src/lib/adapters/aws/objectStore.js'
import { attempt } from '../../../src/lib/adapters/aws/putOutcome.js'
import { createBundleStore } from '../../../src/lib/adapters/bundles/bundleStore.js'
import { createCompute } from '../../../src/lib/adapters/deploy/compute.js'
import { createImageObjects } from '../../../src/lib/adapters/images/imageObjects.js'
import { createImages } from '../../../src/lib/adapters/images/images.js'
import { createSmokeMachines } from '../../../src/lib/adapters/images/machines.js'
import { latestOf } from '../../../src/lib/domain/deploy/image.js'
import type { Service } from '../../../src/lib/domain/sandboxOptions.js'
import type { NewImage } from '../../../src/lib/ops/images/ports.js'
import { failureOf } from '../../support/failure.js'
import { BUCKET, LATEST, OLDER, REGION, SECRET_KEY, setEnv, startPlane, type TestPlane } from '../../support/plane.js'
import { startServer } from '../../support/server.js'

const TAGS = { ami: LATEST, until: new Date(0) }
const IMAGE: NewImage = {
  ...{ name: 'x', description: 'x', snapshotId: 'snap-1', tags: {} },
  architecture: 'x86_64',
  bootMode: 'uefi',
}

describe('AWS adapters', () => {
  let plane: TestPlane
  beforeEach(async () => {
    plane = await startPlane()
  })
  afterEach(() => plane.close())

  const compute = () => createCompute({ region: REGION })
  const images = () => createImages({ region: REGION })
  const smoke = () => createSmokeMachines({ region: REGION })
  const store = (bucket = BUCKET) => createObjectStore({ region: REGION, bucket })
  const asked = (service: Service) => plane.requests.filter((request) => request.service === service).length

  it('gives the answer to a HEAD without a body the code of its status', () => {
    for (const [httpStatusCode, code, said] of [
      [503, 'RATE_LIMITED', 'HTTP 503'],
      [403, 'DENIED', 'HTTP 403'],
      [500, 'UPSTREAM', 'HTTP 500'],
    ] as const) {
      const error = Object.assign(new Error('UnknownError'), { name: 'Unknown', $metadata: { httpStatusCode } })
      const failure = asAwsFailure('S3 HeadObject', error)
      expect(failure.code).to.equal(code)
      expect(failure.message).to.include(said)
      expect(failure.details).to.deep.equal([])
    }
  })

  it("passes on the SDK's own text if there are no credentials", () => {
    const failure = (message: string) =>
      asAwsFailure('EC2 DescribeImages', Object.assign(new Error(message), { name: 'CredentialsProviderError' }))
    const expired = failure("The SSO session is over. To refresh it run 'aws sso login --profile fleet'.")
    expect(expired).to.include({ code: 'NOT_CONFIGURED', hint: 'Run: aws sso login --profile fleet' })
    expect(expired.message).to.include('The SSO session is over')
    const none = 'Could not load credentials from any providers'
    expect(failure(none).message).to.equal('There are no AWS credentials.')
    const { AWS_PROFILE: before } = process.env
    process.env.AWS_PROFILE = 'misspelt'
    try {
      expect(failure(none).message).to.equal('The AWS profile misspelt gave no credentials.')
      expect(failure(none).hint).to.include('--profile misspelt')
    } finally {
      if (before === undefined) delete process.env.AWS_PROFILE
      else process.env.AWS_PROFILE = before
    }
  })

  describe('createCompute', () => {
    it('describes every fleet host that is not terminated, and no other instance', async () => {
      const launchTime = new Date('2026-11-20T10:00:00Z')
      const running = plane.launch('clawdinator-1', { launchTime })
      const states = ['pending', 'stopping', 'stopped', 'shutting-down', 'terminated'] as const
      for (const state of states) plane.launch(`host-${state}`).state = state
      plane.launch('other-app').tags.set('app', 'other')
      const hosts = await compute().describeHosts()
      expect(hosts.map((host) => [host.id, host.state])).to.have.deep.members([
        ['clawdinator-1', 'running'],
        ...states.slice(0, 4).map((state) => [`host-${state}`, state]),
      ])
      expect(hosts.find((host) => host.id === 'clawdinator-1')).to.deep.equal({
        id: 'clawdinator-1',
        instanceId: running.id,
        state: 'running',
        ami: OLDER,
        instanceType: 't3.large',
        publicIp: running.publicIp,
        launchedAt: '2026-11-20T10:00:00.000Z',
        checks: 'ok',
        slot: null,
        requestId: null,
        bootstrapPrefix: null,
      })
    })

    it('uses the Name tag, then the instance id, if the id tag is missing', async () => {
      const [named, bare] = [plane.launch('a'), plane.launch('b')]
      named.tags.delete('clawdinator:id')
      bare.tags.delete('clawdinator:id')
      bare.tags.delete('Name')
      expect((await compute().describeHosts()).map((host) => host.id)).to.have.members(['a', bare.id])
    })

    it('combines the two status checks into one', async () => {
      const hosts = {
        ok: plane.launch('ok'),
        initializing: plane.launch('initializing'),
        impaired: plane.launch('impaired'),
      }
      for (const [checks, instance] of Object.entries(hosts)) instance.checks = checks as keyof typeof hosts
      plane.launch('stopped').state = 'stopped'
      const found = await compute().describeHosts()
      expect(Object.fromEntries(found.map((host) => [host.id, host.checks]))).to.deep.equal({
        ok: 'ok',
        initializing: 'initializing',
        impaired: 'impaired',
        stopped: 'unknown',
      })
    })

    it('finds an instance by its id with any tags, and distinguishes terminated from unknown', async () => {
      const host = plane.launch('clawdinator-1')
      host.tags.delete('app')
      expect(await compute().describeHost(host.id)).to.include({ instanceId: host.id, state: 'running', checks: 'ok' })
      host.state = 'stopped'
      expect(await compute().describeHost(host.id)).to.include({ state: 'stopped', checks: 'unknown' })
      host.state = 'terminated'
      expect(await compute().describeHost(host.id)).to.equal('terminated')
      for (const id of ['i-0123456789abcdef0', 'nonsense']) expect(await compute().describeHost(id)).to.equal(null)
    })

    it('reads every page of a listing', async () => {
      for (let n = 0; n < 1001; n += 1) plane.launch(`host-${n}`)
      const hosts = await compute().describeHosts()
      expect(new Set(hosts.map((host) => host.id)).size).to.equal(1001)
      expect(hosts.every((host) => host.checks === 'ok')).to.equal(true)
      expect(asked('ec2')).to.equal(4)
    })

    it('finds an image in any state, and returns null for an unknown one', async () => {
      const pending = plane.world.addImage({ name: 'unfinished', state: 'pending' })
      expect(await compute().findImage(OLDER)).to.include({
        ...{ id: OLDER, name: `image-${OLDER}`, available: true, trusted: true },
        ...{ architecture: 'x86_64', ready: 'true', failedIn: null, rootDevice: '/dev/xvda' },
      })
      expect(await compute().findImage(pending.id)).to.include({ id: pending.id, available: false })
      expect(await compute().findImage('ami-00000000000000000')).to.equal(null)
      expect(await compute().findImage('nonsense')).to.equal(null)
    })

    it('lists every image with our tag, with its state, architecture and failures', async () => {
      const createdAt = new Date()
      plane.world.addImage({ name: 'not finished', createdAt, state: 'pending', tags: [['clawdinator', 'true']] })
      plane.world.addImage({ name: 'not ours', createdAt })
      plane.world.addImage({ name: 'a candidate', createdAt, tags: [['clawdinator', 'false']] })
      plane.world.images.get(OLDER)?.tags.set('clawdinator:failed', 'request-0001')
      const images = await compute().fleetImages()
      expect(
        Object.fromEntries(images.map(({ name, ready, available }) => [name, `${ready} ${available}`])),
      ).to.deep.equal({
        [`image-${OLDER}`]: 'true true',
        [`image-${LATEST}`]: 'true true',
        'not finished': 'true false',
        'a candidate': 'false true',
      })
      expect(images.find(({ id }) => id === OLDER)?.failedIn).to.equal('request-0001')
      expect(latestOf(images)?.id).to.equal(LATEST)
      plane.world.images.clear()
      expect(await compute().fleetImages()).to.deep.equal([])
    })
  })

  describe('createObjectStore', () => {
    it('writes and reads an object, and returns null for a missing one', async () => {
      await store().put('deploys/a b/ü.json', '{"a":"ü"}')
      const object = await store().get('deploys/a b/ü.json')
      expect(object?.text).to.equal('{"a":"ü"}')
      expect(object?.etag).to.match(/^"[0-9a-f]{32}"$/)
      expect(plane.world.getObject(BUCKET, 'deploys/a b/ü.json')?.contentType).to.equal('application/json')
      expect(await store().get('deploys/none.json')).to.equal(null)
    })

    it('lists every page below a prefix', async () => {
      for (let n = 0; n < 1001; n += 1) plane.world.putObject(BUCKET, `deploys/${n}.json`, 'xyz')
      plane.world.putObject(BUCKET, 'other/1.json', '')
      const found = await store().list('deploys/')
      expect(new Set(found.map((object) => object.key)).size).to.equal(1001)
      expect(found[0]).to.include({ size: 3 })
      expect(Math.abs((found[0]?.modifiedAt.getTime() ?? 0) - Date.now())).to.be.below(60_000)
      expect(asked('s3')).to.equal(2)
      expect(await store().list('none/')).to.deep.equal([])
    })

    it('names the bucket and the setting if the bucket does not exist', async () => {
      const none = store('none')
      for (const work of [() => none.get('x'), () => none.put('x', 'y'), () => none.list('x')]) {
        const error = await failureOf(work)
        expect(error.code).to.equal('NOT_CONFIGURED')
        expect(`${error.message} ${error.hint}`).to.include('none/x').and.include('S3_BUCKET')
      }
    })
  })

  it('names the full disk of this machine if a download does not fit', async function () {
    if (!existsSync('/dev/full')) this.skip()
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-test-'))
    symlinkSync('/dev/full', join(folder, 'download-1'))
    plane.world.putObject(BUCKET, 'bootstrap/x', 'content')
    const bundles = createBundleStore({ region: REGION, bucket: BUCKET, folder: () => folder })
    const failure = await failureOf(bundles.download('bootstrap/x'))
    rmSync(folder, { recursive: true })
    expect(failure.code).to.equal('NOT_WRITABLE')
    expect(failure.message).to.include('no space left on this machine')
    expect(asked('s3')).to.equal(1)
  })

  it('ends an upload immediately if the session has expired, without a retry', async () => {
    for (const name of ['CredentialsProviderError', 'TokenProviderError']) {
      const put = () => Promise.reject(Object.assign(new Error('The session is over.'), { name }))
      expect((await failureOf(attempt('S3 UploadPart 1', put))).code, name).to.equal('NOT_CONFIGURED')
    }
  })

  it('report the date of an answer, by which the clock of this machine is checked', async () => {
    const dates: (string | undefined)[] = []
    await createCompute({ region: REGION, onDate: (date) => dates.push(date) }).fleetImages()
    expect(dates.length).to.be.at.least(1)
    for (const date of dates) expect(Math.abs(Date.parse(date ?? '') - Date.now())).to.be.below(60_000)
  })

  describe('an answer from something other than AWS', () => {
    const answering = async (bodies: string[], work: () => Promise<unknown>) => {
      const server = await startServer((response, { body }) => {
        const [first = ''] = bodies
        const next = bodies.find((one) => one.includes('<nextToken>') !== body.includes('NextToken='))
        response.writeHead(200, { 'content-type': first.startsWith('<html') ? 'text/html' : 'text/xml' })
        response.end(next ?? first)
      })
      const restore = setEnv({ AWS_ENDPOINT_URL_EC2: server.url, AWS_ENDPOINT_URL_S3: server.url })
      try {
        return await work()
      } finally {
        restore()
        await server.close()
      }
    }
    for (const [name, body] of [
      ['nothing', ''],
      ['a sign-in page', '<html><body>Sign in</body></html>'],
      ['a truncated answer', '<DescribeInstancesResponse><reservationSet><item>'],
      ['an answer without its list', '<DescribeInstancesResponse><requestId>x</requestId></DescribeInstancesResponse>'],
      ['no XML', '{"a":1}'],
    ] as const) {
      it(`rejects instead of returning an empty fleet: ${name}`, async () => {
        for (const work of [
          () => compute().describeHosts(),
          () => compute().describeHost('i-0123456789abcdef0'),
          () => compute().findImage(LATEST),
          () => compute().fleetImages(),
          () => store().list('deploys/'),
          () => store().get('deploys/x.json'),
          () => images().register(IMAGE),
          () => smoke().launch({ ami: LATEST, type: 't3.micro', group: 'sg-1', subnet: null, tags: TAGS }),
          () => smoke().createGroup('smoke', TAGS, null),
        ]) {
          const error = await failureOf(answering([body], work))
          expect(error.code).to.equal('UPSTREAM')
          expect(error.message).to.include('was answered by something other than AWS')
        }
      })
    }

    it('searches the newest image on every page, in any order', async () => {
      const page = (more: string, images: string) =>
        `<DescribeImagesResponse>${more}<imagesSet>${images}</imagesSet></DescribeImagesResponse>`
      const image = `<item><imageId>${LATEST}</imageId><creationDate>2026-11-19T08:00:00.000Z</creationDate></item>`
      const pages = [page('<nextToken>t</nextToken>', ''), page('', image)]
      const found = (await answering(pages, () => compute().fleetImages())) as { id: string }[]
      expect(found.map(({ id }) => id)).to.deep.equal([LATEST])
    })
  })

  describe('failures', () => {
    it('maps refused credentials to DENIED with the name of the operation', async () => {
      const restore = setEnv({ AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN000000000' })
      try {
        const [ec2, s3] = await Promise.all([failureOf(compute().fleetImages()), failureOf(store().get('x'))])
        expect([ec2.code, s3.code]).to.deep.equal(['DENIED', 'DENIED'])
        expect(ec2.message).to.include('EC2 DescribeImages').and.include('AuthFailure')
        expect(s3.message).to.include(`S3 GetObject ${BUCKET}/x`).and.include('InvalidAccessKeyId')
        expect(`${ec2.message}${ec2.hint}${s3.message}${s3.hint}`).not.to.include(SECRET_KEY)
      } finally {
        restore()
      }
      expect(plane.requests).to.have.length(2)
    })

    it('reports missing credentials', async () => {
      const restore = setEnv({ AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, HOME: plane.root })
      try {
        const error = await failureOf(compute().fleetImages())
        expect(error.code).to.equal('NOT_CONFIGURED')
        expect(error.hint).to.include('AWS_')
      } finally {
        restore()
      }
      expect(plane.requests).to.deep.equal([])
    })

    for (const [kind, code] of [
      ['throttle', 'RATE_LIMITED'],
      ['error', 'UPSTREAM'],
      ['reset', 'UPSTREAM'],
    ] as const) {
      it(`retries ${kind}, then fails with ${code}`, async () => {
        const client = compute()
        // The SDK waits half a second after the first throttled attempt, so a later test covers that.
        if (kind !== 'throttle') {
          plane.faults.add({ on: 'ec2', kind, strikes: 1 })
          expect(latestOf(await client.fleetImages())?.id).to.equal(LATEST)
          expect(asked('ec2')).to.equal(2)
        }
        const before = asked('ec2')
        plane.faults.add({ on: 'ec2', kind, strikes: Number.POSITIVE_INFINITY })
        expect((await failureOf(client.fleetImages())).code).to.equal(code)
        expect(asked('ec2') - before).to.be.within(3, 4)
      })
    }

    it('retries a service that never answers, then fails', async () => {
      const client = (attempts: number) => createCompute({ region: REGION, retries: { attempts, attemptMs: 200 } })
      plane.faults.add({ on: 'ec2', kind: 'hang', strikes: 1 })
      // A busy machine may need more than a second.
      expect(latestOf(await client(20).fleetImages())?.id).to.equal(LATEST)
      const before = asked('ec2')
      expect(before).to.be.at.least(2)
      plane.faults.add({ on: 'ec2', kind: 'hang', strikes: Number.POSITIVE_INFINITY })
      expect((await failureOf(client(2).fleetImages())).code).to.equal('UPSTREAM')
      expect(asked('ec2') - before).to.equal(2)
    })

    it('retries if the rest of a body never arrives, then fails', async () => {
      const stalling = createServer((_, response) => {
        response.writeHead(200, { 'content-length': '10' })
        response.write('{')
      })
      await new Promise<void>((resolve) => stalling.listen(0, '127.0.0.1', resolve))
      const restore = setEnv({ AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${(stalling.address() as AddressInfo).port}` })
      try {
        const settings = { region: REGION, bucket: BUCKET, retries: { attempts: 1, attemptMs: 100 } }
        expect((await failureOf(createObjectStore(settings).get('a.json'))).code).to.equal('UPSTREAM')
      } finally {
        restore()
        stalling.closeAllConnections()
        stalling.close()
      }
    })

    it('aborts requests in flight when it is stopped, without a retry', async () => {
      const stop = new AbortController()
      const client = createCompute({ region: REGION, stop: stop.signal })
      plane.faults.add({ on: 'ec2', kind: 'hang', strikes: 1 })
      const failure = failureOf(client.fleetImages())
      while (asked('ec2') === 0) await sleep(5)
      stop.abort()
      expect((await failure).code).to.equal('CANCELLED')
      expect(asked('ec2')).to.equal(1)
    })

    it('sends a small object again if it arrived damaged', async () => {
      const objects = createImageObjects({
        region: REGION,
        bucket: BUCKET,
        connections: 1,
        stop: new AbortController().signal,
      })
      plane.faults.add({ on: 's3', kind: 'corrupt', strikes: 1 })
      await objects.put('images/zeros/8', new Uint8Array(8))
      expect(asked('s3')).to.equal(2)
      expect(await objects.get('images/zeros/8')).to.deep.equal(new Uint8Array(8))
    })
  })
})
