import type { _InstanceType, Instance } from '@aws-sdk/client-ec2'
import { type Ec2, isAwsError, type LiveInstance, type S3 } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'

// Imported late: version, usage errors and show of a saved plan need no SDK, and loading it is most of a short run.
const sdk = () => import('./aws.js')

/** The SDK itself waits for ever. */
const requestHandler = { connectionTimeout: 5000, requestTimeout: 30_000, throwOnRequestTimeout: true }

/** Credentials and endpoints are the SDK's own environment variables. */
export async function createS3(region: string, pathStyle: boolean): Promise<S3> {
  const { S3Client, GetObjectCommand, PutObjectCommand, DeleteObjectCommand } = await sdk()
  // A name such as bucket.127.0.0.1 does not resolve.
  const emulated = Boolean(process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL)
  const client = new S3Client({ region, requestHandler, forcePathStyle: pathStyle || emulated })
  return {
    get: (input) => client.send(new GetObjectCommand(input)).catch(explain),
    put: (input) => client.send(new PutObjectCommand(input)).catch(explain),
    delete: (input) => client.send(new DeleteObjectCommand(input)).catch(explain),
  }
}

/** The two that the backend makes a decision of stay as they are. */
function explain(error: unknown): never {
  if (isAwsError(error, 'NoSuchKey', 'PreconditionFailed', 'ConditionalRequestConflict')) throw error
  const { name, message } = error as Error
  throw new Diagnostic('Error accessing the state in S3', `operation error S3: api error ${name}: ${message}`)
}

/** EC2 behind the SDK. */
export async function createEc2(region: string): Promise<Ec2> {
  const { EC2Client, DescribeInstancesCommand, RunInstancesCommand, TerminateInstancesCommand } = await sdk()
  const client = new EC2Client({ region, requestHandler })
  return {
    async describe(ids) {
      if (ids.length === 0) return []
      // By filter: an id that EC2 has forgotten is then absent instead of an error for all.
      const answer = await client.send(
        new DescribeInstancesCommand({ Filters: [{ Name: 'instance-id', Values: [...ids] }] }),
      )
      const found = (answer.Reservations ?? []).flatMap((reservation) => reservation.Instances ?? []).map(toLive)
      return found.filter((instance) => instance.state !== 'terminated')
    },

    async run({ ami, instanceType, userData, tags }) {
      const answer = await client.send(
        new RunInstancesCommand({
          ImageId: ami,
          InstanceType: instanceType as _InstanceType,
          MinCount: 1,
          MaxCount: 1,
          UserData: userData === null ? undefined : Buffer.from(userData).toString('base64'),
          TagSpecifications: [
            { ResourceType: 'instance', Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) },
          ],
        }),
      )
      const instance = answer.Instances?.[0]
      if (!instance) throw new Error('RunInstances answered without an instance')
      return toLive(instance)
    },

    async terminate(id) {
      await client.send(new TerminateInstancesCommand({ InstanceIds: [id] }))
    },
  }
}

function toLive(instance: Instance): LiveInstance {
  return {
    id: instance.InstanceId ?? '',
    state: instance.State?.Name ?? 'pending',
    privateIp: instance.PrivateIpAddress ?? null,
    publicIp: instance.PublicIpAddress ?? null,
    zone: instance.Placement?.AvailabilityZone ?? null,
  }
}
