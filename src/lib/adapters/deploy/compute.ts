import type { DescribeImagesCommandInput, Image as Ec2Image, Instance, InstanceStatus } from '@aws-sdk/client-ec2'
import {
  DescribeImagesCommand,
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  EC2Client,
  GetConsoleOutputCommand,
  paginateDescribeImages,
  paginateDescribeInstanceStatus,
  paginateDescribeInstances,
} from '@aws-sdk/client-ec2'
import { type Host, LIVE_STATES } from '../../domain/deploy/host.js'
import { FAILED_TAG, type FleetImage } from '../../domain/deploy/image.js'
import { PREFIX_TAG } from '../../domain/deploy/slots.js'
import { READY_TAG } from '../../domain/images/names.js'
import type { Compute } from '../../ops/ports.js'
import { always, awsCall, clientLimits } from '../aws/errors.js'

const NO_SUCH_INSTANCE = new Set(['InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed'])

export interface AwsSettings {
  region: string
  /** Attempts and time limit, for a caller with little time. */
  retries?: { attempts: number; attemptMs: number }
  /** Aborts calls in flight: they reject with CANCELLED. */
  stop?: AbortSignal
  /** Called with the `Date` of every answer. */
  onDate?: (date: string | undefined) => void
}

/**
 * EC2 for the use-cases. The SDK resolves credentials and endpoints.
 * @param settings.amiOwners other accounts whose AMIs may be deployed
 */
export function createCompute(settings: AwsSettings & { amiOwners?: readonly string[] }): Compute {
  const client = new EC2Client({ region: settings.region, ...clientLimits(settings) })
  const fleetFilter = { Name: 'tag:app', Values: ['clawdinator'] }
  return {
    async describeHosts() {
      const [instances, statuses] = await Promise.all([
        awsCall('EC2 DescribeInstances', async () => {
          const found: Instance[] = []
          const filters = [fleetFilter, { Name: 'instance-state-name', Values: [...LIVE_STATES] }]
          for await (const page of paginateDescribeInstances({ client, pageSize: 1000 }, { Filters: filters })) {
            for (const reservation of always(page.Reservations)) found.push(...(reservation.Instances ?? []))
          }
          return found
        }),
        // No filter by tag exists for the status checks, and a query by id needs the first answer. The account has few running instances.
        awsCall('EC2 DescribeInstanceStatus', async () => {
          const found = new Map<string, InstanceStatus>()
          for await (const page of paginateDescribeInstanceStatus({ client, pageSize: 1000 }, {})) {
            for (const status of always(page.InstanceStatuses)) found.set(status.InstanceId ?? '', status)
          }
          return found
        }),
      ])
      return instances.flatMap((instance) => toHost(instance, statuses.get(instance.InstanceId ?? '')) ?? [])
    },
    describeHost: (instanceId) =>
      awsCall('EC2 DescribeInstances', async () => {
        const InstanceIds = [instanceId]
        try {
          const [described, checked] = await Promise.all([
            client.send(new DescribeInstancesCommand({ InstanceIds })),
            client.send(new DescribeInstanceStatusCommand({ InstanceIds, IncludeAllInstances: true })),
          ])
          const instance = always(described.Reservations).flatMap(({ Instances }) => Instances ?? [])[0]
          if (instance?.State?.Name === 'terminated') return 'terminated'
          return instance ? toHost(instance, always(checked.InstanceStatuses)[0]) : null
        } catch (error) {
          if (NO_SUCH_INSTANCE.has((error as Error).name)) return null
          throw error
        }
      }),
    console: (id) =>
      awsCall('EC2 GetConsoleOutput', async () => {
        try {
          const { Output } = await client.send(new GetConsoleOutputCommand({ InstanceId: id }))
          return Output ? Buffer.from(Output, 'base64').toString() : ''
        } catch (error) {
          if (NO_SUCH_INSTANCE.has((error as Error).name)) return ''
          throw error
        }
      }),
    async findImage(id) {
      const [image, own] = await Promise.all([
        imageById(client, { ImageIds: [id] }),
        imageById(client, { ImageIds: [id], Owners: ['self', ...(settings.amiOwners ?? [])] }),
      ])
      return image && toImage(image, { trusted: own !== null })
    },
    fleetImages: () =>
      awsCall('EC2 DescribeImages', async () => {
        const found: Ec2Image[] = []
        const Filters = [{ Name: 'tag-key', Values: [READY_TAG] }]
        for await (const page of paginateDescribeImages({ client }, { Owners: ['self'], Filters })) {
          found.push(...always(page.Images))
        }
        return found.flatMap((image) => toImage(image, { trusted: true }) ?? [])
      }),
  }
}

const NO_SUCH_IMAGE = new Set(['InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable', 'InvalidAMIID.Malformed'])

async function imageById(client: EC2Client, input: DescribeImagesCommandInput): Promise<Ec2Image | null> {
  return awsCall('EC2 DescribeImages', async () => {
    try {
      return always((await client.send(new DescribeImagesCommand(input))).Images)[0] ?? null
    } catch (error) {
      if (NO_SUCH_IMAGE.has((error as Error).name)) return null
      throw error
    }
  })
}

function toImage(image: Ec2Image, { trusted }: { trusted: boolean }): FleetImage | null {
  if (!image.ImageId) return null
  const tag = (key: string) => image.Tags?.find((one) => one.Key === key)?.Value ?? null
  const root = image.BlockDeviceMappings?.find(({ DeviceName }) => DeviceName === image.RootDeviceName)
  return {
    id: image.ImageId,
    name: image.Name ?? image.ImageId,
    createdAt: image.CreationDate ?? '',
    available: image.State === 'available',
    trusted,
    architecture: image.Architecture === 'arm64' ? 'arm64' : 'x86_64',
    rootGib: root?.Ebs?.VolumeSize ?? null,
    rootDevice: image.RootDeviceName ?? null,
    ready: tag(READY_TAG),
    failedIn: tag(FAILED_TAG),
  }
}

function isLive(state: string | undefined): state is Host['state'] {
  return LIVE_STATES.some((live) => live === state)
}

function toHost(instance: Instance, status: InstanceStatus | undefined): Host | null {
  const state = instance.State?.Name
  if (!instance.InstanceId || !isLive(state)) return null
  const tag = (key: string) => instance.Tags?.find((t) => t.Key === key)?.Value
  return {
    id: tag('clawdinator:id') ?? tag('Name') ?? instance.InstanceId,
    instanceId: instance.InstanceId,
    state,
    ami: instance.ImageId ?? '',
    instanceType: instance.InstanceType ?? '',
    publicIp: instance.PublicIpAddress ?? null,
    launchedAt: instance.LaunchTime?.toISOString() ?? '',
    checks: toChecks(status),
    slot: toSlot(tag('clawdinator:slot')),
    requestId: tag('clawdinator:request-id') || null,
    bootstrapPrefix: tag(PREFIX_TAG) || null,
  }
}

const toSlot = (value: string | undefined) => (value === 'a' || value === 'b' ? value : null)

/** EC2's two status checks as one. */
export function toChecks(status: InstanceStatus | undefined): Host['checks'] {
  const both = [status?.InstanceStatus?.Status, status?.SystemStatus?.Status]
  if (both.some((s) => s === 'impaired')) return 'impaired'
  if (both.every((s) => s === 'ok')) return 'ok'
  return both.some((s) => s === 'initializing') ? 'initializing' : 'unknown'
}
