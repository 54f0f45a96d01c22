import { createHash } from 'node:crypto'
import { invalidValue, page, type Query, readFilters } from './ec2Query.js'
import { mustBeWellFormed, mustExist, tagSpecifications, tagsXml } from './ec2Resources.js'
import { AwsError } from './error.js'
import {
  type Instance,
  type InstanceState,
  type Launch,
  type MetadataOptions,
  metadataDefaults,
  type RootVolume,
  type World,
} from './world.js'
import type { XmlValue } from './xml.js'

/** The low byte that EC2 documents for each state. */
const STATE_CODES: Record<InstanceState, number> = {
  pending: 0,
  running: 16,
  'shutting-down': 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
}

const USER_DATA_LIMIT = 16 * 1024

export function describeInstances(world: World, query: Query) {
  const found = findInstances(world, query)
  query.refuseUnread()
  const reservations = new Map<string, Instance[]>()
  for (const instance of found.items) {
    const siblings = reservations.get(instance.reservationId) ?? []
    reservations.set(instance.reservationId, [...siblings, instance])
  }
  return {
    reservationSet: { item: [...reservations].map(([id, instances]) => reservationXml(world, id, instances)) },
    nextToken: found.nextToken,
  }
}

export function describeInstanceStatus(world: World, query: Query) {
  const all = query.boolean('IncludeAllInstances')
  const found = findInstances(world, query, (instance) => all || instance.state === 'running')
  query.refuseUnread()
  return {
    instanceStatusSet: {
      item: found.items.map((instance) => ({
        instanceId: instance.id,
        availabilityZone: `${world.region}a`,
        instanceState: stateXml(instance.state),
        systemStatus: checkXml(instance),
        instanceStatus: checkXml(instance),
      })),
    },
    nextToken: found.nextToken,
  }
}

function findInstances(world: World, query: Query, also: (instance: Instance) => boolean = () => true) {
  const ids = query.list('InstanceId')
  if (ids.length > 0 && query.get('MaxResults') !== undefined) {
    const message = 'The parameter instancesSet cannot be used with the parameter maxResults'
    throw new AwsError('InvalidParameterCombination', 400, message)
  }
  mustExist(world, 'instance', ids)
  const matches = readFilters<Instance>(query, {
    'instance-state-name': (instance) => [instance.state],
    'instance-id': (instance) => [instance.id],
    'instance-type': (instance) => [instance.instanceType],
    'image-id': (instance) => [instance.imageId],
    'instance.group-id': (instance) => instance.securityGroups,
  })
  const named = new Set(ids)
  const wanted = (instance: Instance) => (named.size === 0 || named.has(instance.id)) && also(instance)
  return page(query, [...world.instances.values()], (instance) => wanted(instance) && matches(instance))
}

export function runInstances(world: World, query: Query) {
  const imageId = query.require('ImageId')
  mustBeWellFormed('image', imageId)
  const min = Number(query.require('MinCount') && query.integer('MinCount'))
  const max = Number(query.require('MaxCount') && query.integer('MaxCount'))
  if (min < 1 || max < min) throw invalidValue('maxCount', String(max), `It is less than minCount ( ${min} ).`)
  const instanceType = query.get('InstanceType') ?? 'm1.small'
  const clientToken = query.get('ClientToken') ?? null
  const userData = query.get('UserData') ?? null
  if (userData !== null) checkUserData(userData)
  // The sandbox does not store volumes and interfaces, so their tags are dropped.
  const tags = tagSpecifications(query, 'instance', ['volume', 'network-interface'])
  const network = networkOf(world, query)
  const metadata = metadataOf(query)
  const rootVolume = rootVolumeOf(query)
  const profile = profileOf(world, query)
  query.get('InstanceInitiatedShutdownBehavior')
  query.refuseUnread()
  const image = world.images.get(imageId)
  mustFit(instanceType, image?.architecture)
  if (image?.imdsSupport === 'v2.0' && metadata.tokens === 'optional') {
    throw new AwsError('InvalidParameterCombination', 400, `The image ${imageId} needs HttpTokens required`)
  }
  if (world.httpTokensEnforced && image && (metadata.tokens ?? metadataDefaults(image).tokens) !== 'required') {
    const message = 'HttpTokens must be required: the account enforces IMDSv2 (HttpTokensEnforced).'
    throw new AwsError('UnsupportedOperation', 400, message)
  }
  if (image && (rootVolume.size ?? image.volumeSize) < image.volumeSize) {
    const message = `Volume of size ${rootVolume.size}GB is smaller than snapshot '${image.snapshotId}', expect size >= ${image.volumeSize}GB`
    throw new AwsError('InvalidBlockDeviceMapping', 400, message)
  }

  const digest = createHash('sha256')
    .update(JSON.stringify([imageId, instanceType, min, max, userData, tags, network, metadata, rootVolume, profile]))
    .digest('hex')
  const earlier = clientToken === null ? undefined : world.launches.get(clientToken)
  if (earlier && earlier.digest !== digest) {
    const message = 'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).'
    throw new AwsError('IdempotentParameterMismatch', 400, message)
  }
  const reservationId = earlier?.reservationId ?? world.newId('r')
  if (!earlier) {
    const machine = { imageId, instanceType, metadata, rootVolume, profile, ...network }
    const launch = { ...machine, tags, userData, reservationId, clientToken }
    for (let n = 0; n < max; n++) world.launch(launch)
    if (clientToken !== null) world.launches.set(clientToken, { digest, reservationId })
  }
  const instances = [...world.instances.values()].filter((instance) => instance.reservationId === reservationId)
  return reservationXml(world, reservationId, instances)
}

/** SecurityGroupId.N, or one network interface with groups, a subnet and a public address. */
function networkOf(world: World, query: Query): Pick<Launch, 'securityGroups' | 'subnetId' | 'publicAddress'> {
  const interfaces = query.indexes('NetworkInterface')
  const own = interfaces.length > 0 ? `NetworkInterface.${interfaces[0]}.` : ''
  if (interfaces.length > 1 || (own !== '' && query.integer(`${own}DeviceIndex`) !== 0)) {
    throw new AwsError(
      'InvalidParameterCombination',
      400,
      'The sandbox takes one network interface, with DeviceIndex 0',
    )
  }
  const securityGroups = query.list(`${own}SecurityGroupId`)
  const subnet = query.get(`${own}SubnetId`)
  const address = query.get(`${own}AssociatePublicIpAddress`)
  if (own !== '') query.get(`${own}DeleteOnTermination`)
  mustExist(world, 'security-group', securityGroups)
  if (subnet !== undefined) mustExist(world, 'subnet', [subnet])
  return { securityGroups, ...(subnet === undefined ? {} : { subnetId: subnet }), publicAddress: address !== 'false' }
}

function metadataOf(query: Query): Partial<MetadataOptions> {
  const tokens = query.get('MetadataOptions.HttpTokens')
  const endpoint = query.get('MetadataOptions.HttpEndpoint')
  const hops = query.integer('MetadataOptions.HttpPutResponseHopLimit')
  if (tokens !== undefined && tokens !== 'required' && tokens !== 'optional')
    throw invalidValue('HttpTokens', tokens, '')
  if (endpoint !== undefined && endpoint !== 'enabled' && endpoint !== 'disabled') {
    throw invalidValue('HttpEndpoint', endpoint, '')
  }
  return { ...(tokens ? { tokens } : {}), ...(endpoint ? { endpoint } : {}), ...(hops === undefined ? {} : { hops }) }
}

/** The one volume that the sandbox's machines have. */
function rootVolumeOf(query: Query): Partial<RootVolume> {
  const [first, ...others] = query.indexes('BlockDeviceMapping')
  if (first === undefined) return {}
  const at = `BlockDeviceMapping.${first}`
  const device = query.require(`${at}.DeviceName`)
  if (others.length > 0 || device !== '/dev/xvda') throw invalidValue('DeviceName', device, 'The sandbox has the root.')
  const [encrypted, kept] = [query.get(`${at}.Ebs.Encrypted`), query.get(`${at}.Ebs.DeleteOnTermination`)]
  const [type, size] = [query.get(`${at}.Ebs.VolumeType`), query.integer(`${at}.Ebs.VolumeSize`)]
  return {
    ...(encrypted === undefined ? {} : { encrypted: encrypted === 'true' }),
    ...(kept === undefined ? {} : { deleteOnTermination: kept === 'true' }),
    ...(type === undefined ? {} : { type }),
    ...(size === undefined ? {} : { size }),
  }
}

/** @throws AwsError InvalidParameterValue if IAM has no such profile */
function profileOf(world: World, query: Query): string | null {
  const arn = query.get('IamInstanceProfile.Arn')
  const name = query.get('IamInstanceProfile.Name') ?? arn?.split('/').at(-1)
  if (name === undefined) return null
  if (world.iam.getProfile(name)) return name
  throw invalidValue('iamInstanceProfile.name', name, 'Invalid IAM Instance Profile name')
}

/** Graviton families have a `g` behind their generation. */
function mustFit(instanceType: string, architecture: string | undefined): void {
  const own = /^[a-z]+\d+[a-z]*g[a-z]*\./.test(instanceType) && !/^g\d/.test(instanceType) ? 'arm64' : 'x86_64'
  if (architecture === undefined || architecture === own) return
  const message = `The architecture '${own}' of the specified instance type does not match the architecture '${architecture}' of the specified AMI.`
  throw new AwsError('InvalidParameterValue', 400, message)
}

function checkUserData(userData: string): void {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(userData.replace(/\s/g, ''))) {
    throw new AwsError('InvalidParameterValue', 400, 'Invalid BASE64 encoding of user data')
  }
  if (Buffer.from(userData, 'base64').length > USER_DATA_LIMIT) {
    throw new AwsError('InvalidParameterValue', 400, `User data is limited to ${USER_DATA_LIMIT} bytes`)
  }
}

/** GetConsoleOutput. */
export function getConsoleOutput(world: World, query: Query) {
  const id = query.require('InstanceId')
  query.boolean('Latest')
  query.refuseUnread()
  mustExist(world, 'instance', [id])
  const output = Buffer.from(world.instances.get(id)?.console ?? '').toString('base64')
  return { instanceId: id, timestamp: world.now(), output: output === '' ? undefined : output }
}

export const terminateInstances = (world: World, query: Query) => end(query, world, (id) => world.terminate(id))

/** StartInstances. */
export const startInstances = (world: World, query: Query) => end(query, world, (id) => world.start(id))

/** StopInstances. A stopped machine keeps its volume and loses its public address. */
export const stopInstances = (world: World, query: Query) => {
  query.boolean('Force')
  return end(query, world, (id) => world.stop(id))
}

function end(query: Query, world: World, one: (id: string) => ReturnType<World['terminate']>) {
  const ids = query.list('InstanceId')
  query.refuseUnread()
  if (ids.length === 0) query.require('InstanceId.1')
  mustExist(world, 'instance', ids)
  const item = [...new Set(ids)].map((id) => {
    const { instance, previous } = one(id)
    return { instanceId: id, currentState: stateXml(instance.state), previousState: stateXml(previous) }
  })
  return { instancesSet: { item } }
}

function reservationXml(world: World, id: string, instances: readonly Instance[]): Record<string, XmlValue> {
  return {
    reservationId: id,
    ownerId: world.accountId,
    groupSet: { item: [] },
    instancesSet: { item: instances.map((instance, index) => instanceXml(world, instance, index)) },
  }
}

function instanceXml(world: World, instance: Instance, index: number): XmlValue {
  return {
    instanceId: instance.id,
    imageId: instance.imageId,
    instanceState: stateXml(instance.state),
    instanceType: instance.instanceType,
    amiLaunchIndex: index,
    launchTime: instance.launchTime,
    placement: { availabilityZone: `${world.region}a`, tenancy: 'default' },
    architecture: world.images.get(instance.imageId)?.architecture,
    privateIpAddress: instance.privateIp ?? undefined,
    ipAddress: instance.publicIp ?? undefined,
    clientToken: instance.clientToken ?? undefined,
    subnetId: instance.subnetId,
    vpcId: world.subnets.get(instance.subnetId)?.vpcId,
    iamInstanceProfile: profileXml(world, instance),
    metadataOptions: {
      state: 'applied',
      httpTokens: instance.metadata.tokens,
      httpEndpoint: instance.metadata.endpoint,
      httpPutResponseHopLimit: instance.metadata.hops,
    },
    groupSet: {
      item: instance.securityGroups.map((groupId) => ({ groupId, groupName: world.securityGroups.get(groupId)?.name })),
    },
    tagSet: tagsXml(instance.tags),
  }
}

function profileXml(world: World, { profile }: Instance): XmlValue {
  const found = profile === null ? null : world.iam.getProfile(profile)
  return found ? { arn: found.arn, id: found.uniqueId } : undefined
}

function stateXml(state: InstanceState): XmlValue {
  return { code: STATE_CODES[state], name: state }
}

/** EC2 runs checks on running instances only. */
function checkXml(instance: Instance): XmlValue {
  if (instance.state !== 'running') return { status: 'not-applicable' }
  const status = { initializing: 'initializing', ok: 'passed', impaired: 'failed' }[instance.checks]
  return { status: instance.checks, details: { item: [{ name: 'reachability', status }] } }
}
