import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateTagsCommand,
  EC2Client,
  RegisterImageCommand,
  RunInstancesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { expect } from 'chai'
import { createObjectStore } from '../../../src/lib/adapters/aws/objectStore.js'
import { createCompute } from '../../../src/lib/adapters/deploy/compute.js'
import { latestOf } from '../../../src/lib/domain/deploy/image.js'
import { account } from '../../sandbox/tofuSupport.js'
import { failureOf } from '../../support/failure.js'

const REGION = 'eu-central-1'

/** The endpoints of EC2 and S3; each test runs with its own bucket. */
interface Account {
  /** Registers an available image that is newer than those before it. */
  image(name: string): Promise<string>
  bucket: string
  close(): Promise<void>
}

/** The behaviour that the use-cases rely on, the same for every AWS and emulator. */
function awsSuite(title: string, open: (() => Promise<Account>) | null): void {
  describe(`the AWS adapters against ${title}`, () => {
    let aws: Account
    let ec2: EC2Client
    before(async function () {
      if (!open) return this.skip()
      aws = await open()
      ec2 = new EC2Client({ region: REGION })
    })
    after(() => aws?.close())
    const compute = () => createCompute({ region: REGION })
    const store = () => createObjectStore({ region: REGION, bucket: aws.bucket })
    const launch = async (ImageId: string, tags: Record<string, string>) => {
      const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))
      const launched = await ec2.send(
        new RunInstancesCommand({
          ...{ ImageId, InstanceType: 't3.large', MinCount: 1, MaxCount: 1 },
          TagSpecifications: [{ ResourceType: 'instance', Tags }],
        }),
      )
      return launched.Instances?.[0]?.InstanceId ?? ''
    }

    it("finds the fleet's hosts by tag, without terminated or foreign instances", async () => {
      const ami = await aws.image('hosts')
      const id = await launch(ami, { app: 'clawdinator', 'clawdinator:id': 'clawdinator-1', Name: 'other' })
      const named = await launch(ami, { app: 'clawdinator', Name: 'clawdinator-2' })
      const foreign = await launch(ami, { app: 'other', 'clawdinator:id': 'clawdinator-3' })
      const gone = await launch(ami, { app: 'clawdinator', 'clawdinator:id': 'clawdinator-4' })
      await ec2.send(new TerminateInstancesCommand({ InstanceIds: [gone] }))
      const hosts = (await compute().describeHosts()).filter(({ state }) => state !== 'shutting-down')
      expect(hosts.map((host) => [host.id, host.instanceId, host.ami, host.instanceType])).to.have.deep.members([
        ['clawdinator-1', id, ami, 't3.large'],
        ['clawdinator-2', named, ami, 't3.large'],
      ])
      for (const { state, launchedAt } of hosts) {
        expect(['pending', 'running']).to.include(state)
        expect(Date.parse(launchedAt)).to.be.within(Date.now() - 120_000, Date.now() + 120_000)
      }
      await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id, named, foreign] }))
    })

    it('chooses the newest tagged image, and finds each image by its id', async () => {
      const [first, second, third] = [await aws.image('first'), await aws.image('second'), await aws.image('third')]
      const tag = (Resources: string[], Value: string) =>
        ec2.send(new CreateTagsCommand({ Resources, Tags: [{ Key: 'clawdinator', Value }] }))
      await tag([first, second], 'true')
      await tag([third], 'false')
      expect(latestOf(await compute().fleetImages())).to.include({ id: second, name: 'second' })
      expect(await compute().findImage(third)).to.include({ id: third, name: 'third', available: true })
    })

    it('returns null for an unknown image, for every form of id', async () => {
      for (const id of ['ami-0123456789abcdef0', 'ami-1234abcd', 'ami-nonsense']) {
        expect(await compute().findImage(id), id).to.equal(null)
      }
    })

    it('reads what it wrote, and returns null for a missing object', async () => {
      expect(await store().get('deploys/none.json')).to.equal(null)
      await store().put('deploys/one.json', '{"ä":"😀"}')
      expect(await store().get('deploys/one.json')).to.include({ text: '{"ä":"😀"}' })
      await store().put('deploys/one.json', '2')
      expect((await store().get('deploys/one.json'))?.text).to.equal('2')
    })

    it('writes only if the object is missing, or has the entity tag that was read', async () => {
      expect(await store().putIf('claims/a.json', '1', null)).to.equal(true)
      expect(await store().putIf('claims/a.json', '2', null)).to.equal(false)
      const etag = (await store().get('claims/a.json'))?.etag ?? ''
      expect(await store().putIf('claims/a.json', '3', etag)).to.equal(true)
      expect(await store().putIf('claims/a.json', '4', etag)).to.equal(false)
      expect((await store().get('claims/a.json'))?.text).to.equal('3')
    })

    it("lists a prefix with sizes and times, in S3's order", async () => {
      for (const key of ['list/b', 'list/a', 'list/a/c', 'lists/x']) await store().put(key, key)
      const listed = await store().list('list/')
      expect(listed.map(({ key, size }) => `${key} ${size}`)).to.deep.equal(['list/a 6', 'list/a/c 8', 'list/b 6'])
      for (const { modifiedAt } of listed) expect(Math.abs(modifiedAt.getTime() - Date.now())).to.be.below(120_000)
      expect(await store().list('nothing/')).to.deep.equal([])
    })

    it('reports a missing bucket', async () => {
      const elsewhere = createObjectStore({ region: REGION, bucket: 'not-a-bucket-of-ours' })
      const asked = [() => elsewhere.get('x'), () => elsewhere.list('x'), () => elsewhere.put('x', 'y')]
      for (const ask of asked) expect((await failureOf(ask())).message).to.include('there is no such bucket')
    })
  })
}

awsSuite('the sandbox', async () => {
  const aws = await account()
  let made = 0
  const hour = 3_600_000
  return {
    bucket: 'fleet-bucket',
    image: async (name) => aws.world.addImage({ name, createdAt: new Date(Date.now() + ++made * hour) }).id,
    close: () => aws.close(),
  }
})

const { MOTO_URL } = process.env
awsSuite(
  MOTO_URL ? 'moto' : 'moto (skipped: MOTO_URL names none; .ci/run starts one)',
  MOTO_URL
    ? async () => {
        const env: Record<string, string> = {
          AWS_ENDPOINT_URL: MOTO_URL,
          AWS_ACCESS_KEY_ID: 'AKIAMOTOTESTS0000000',
          AWS_SECRET_ACCESS_KEY: 'not-a-secret',
        }
        const before = Object.keys(env).map((name) => [name, process.env[name]] as const)
        Object.assign(process.env, env)
        const bucket = `fleet-bucket-${Date.now()}`
        const CreateBucketConfiguration = { LocationConstraint: REGION } as const
        await new S3Client({ region: REGION }).send(
          new CreateBucketCommand({ Bucket: bucket, CreateBucketConfiguration }),
        )
        return {
          bucket,
          async image(name) {
            // Its times have the precision of a second.
            await sleep(1001)
            const { ImageId = '' } = await new EC2Client({ region: REGION }).send(
              new RegisterImageCommand({ Name: name }),
            )
            return ImageId
          },
          async close() {
            for (const [name, value] of before) {
              if (value === undefined) delete process.env[name]
              else process.env[name] = value
            }
          },
        }
      }
    : null,
)
