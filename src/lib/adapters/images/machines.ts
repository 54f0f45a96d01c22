import type { Instance } from '@aws-sdk/client-ec2'
import type { Inventory } from '../../domain/images/inventory.js'
import type { Machines } from '../../ops/images/catalog.js'
import { EC2Client, paginateDescribeInstances } from '../aws/ec2MachineSdk.js'
import { awsCall, clientLimits } from '../aws/errors.js'
import type { AwsSettings } from '../deploy/compute.js'

/** Any instance that is not terminated needs its image: a stopped one, too, to be looked up. */
const LIVE_STATES = ['pending', 'running', 'shutting-down', 'stopping', 'stopped']

/** The account's instances. */
export function createMachines(settings: AwsSettings): Machines {
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
  }
}

function toMachine({ InstanceId = '', ImageId = '', LaunchTime, Tags = [] }: Instance): Inventory['machines'][number] {
  const tag = (key: string) => Tags.find(({ Key }) => Key === key)?.Value
  const hostId = tag('app') === 'clawdinator' ? (tag('clawdinator:id') ?? tag('Name') ?? null) : null
  return { instanceId: InstanceId, hostId, imageId: ImageId, launchedAt: LaunchTime ?? null }
}
