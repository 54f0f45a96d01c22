import type { Instance } from '@aws-sdk/client-ec2'
import type { Inventory } from '../../domain/image/inventory.js'
import type { CatalogPorts, Machines } from '../../ops/images/catalog.js'
import type { AwsSettings } from './compute.js'
import { DeleteTagsCommand, EC2Client, paginateDescribeInstances } from './ec2MachineSdk.js'
import { awsCall, clientLimits } from './errors.js'

/** Any instance that is not terminated needs its image: a stopped one, too, to be looked up. */
const LIVE_STATES = ['pending', 'running', 'shutting-down', 'stopping', 'stopped']

/** The account's instances, and the taking away of tags. */
export function createMachines(settings: AwsSettings): Machines & Pick<CatalogPorts['images'], 'untag'> {
  const client = new EC2Client({ region: settings.region, ...clientLimits(settings) })
  return {
    list: () =>
      awsCall('EC2 DescribeInstances', async () => {
        const found: Inventory['machines'] = []
        const Filters = [{ Name: 'instance-state-name', Values: LIVE_STATES }]
        for await (const page of paginateDescribeInstances({ client, pageSize: 1000 }, { Filters })) {
          for (const { Instances = [] } of page.Reservations ?? []) found.push(...Instances.map(toMachine))
        }
        return found
      }),
    untag: (id, name) =>
      awsCall('EC2 DeleteTags', async () => {
        await client.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: name }] }))
      }),
  }
}

function toMachine({ InstanceId = '', ImageId = '', LaunchTime, Tags = [] }: Instance): Inventory['machines'][number] {
  const tag = (key: string) => Tags.find(({ Key }) => Key === key)?.Value
  const hostId = tag('app') === 'clawdinator' ? (tag('clawdinator:id') ?? tag('Name') ?? null) : null
  return { instanceId: InstanceId, hostId, imageId: ImageId, launchedAt: LaunchTime ?? null }
}
