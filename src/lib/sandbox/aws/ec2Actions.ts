import { createHash } from 'node:crypto'
import { invalidValue, page, type Query, readFilters } from './ec2Query.js'
import { AwsError } from './error.js'
import type { Instance, InstanceState, Tags, World, WorldImage } from './world.js'
import type { XmlValue } from './xml.js'

type Action = (world: World, query: Query) => Record<string, XmlValue>

export const EC2_ACTIONS: Record<string, Action> = {
  DescribeInstances: describeInstances,
  DescribeInstanceStatus: describeInstanceStatus,
  DescribeImages: describeImages,
  RunInstances: runInstances,
  TerminateInstances: terminateInstances,
  CreateTags: createTags,
}

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

function describeInstances(world: World, query: Query) {
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

function describeInstanceStatus(world: World, query: Query) {
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
  mustExist('instance', ids, world.instances)
  const matches = readFilters<Instance>(query, {
    'instance-state-name': (instance) => [instance.state],
    'instance-id': (instance) => [instance.id],
    'instance-type': (instance) => [instance.instanceType],
    'image-id': (instance) => [instance.imageId],
  })
  const named = new Set(ids)
  const wanted = (instance: Instance) => (named.size === 0 || named.has(instance.id)) && also(instance)
  return page(query, [...world.instances.values()], (instance) => wanted(instance) && matches(instance))
}

function describeImages(world: World, query: Query) {
  const ids = query.list('ImageId')
  const owners = query.list('Owner')
  mustExist('image', ids, world.images)
  const matches = readFilters<WorldImage>(query, {
    state: (image) => [image.state],
    name: (image) => [image.name],
    'image-id': (image) => [image.id],
    architecture: (image) => [image.architecture],
  })
  const ours = owners.length === 0 || owners.some((owner) => owner === 'self' || owner === world.accountId)
  const found = page(
    query,
    [...world.images.values()],
    (image) => ours && (ids.length === 0 || ids.includes(image.id)) && matches(image),
  )
  query.refuseUnread()
  return { imagesSet: { item: found.items.map((image) => imageXml(world, image)) }, nextToken: found.nextToken }
}

function runInstances(world: World, query: Query) {
  const imageId = query.require('ImageId')
  mustBeWellFormed('image', imageId)
  const min = Number(query.require('MinCount') && query.integer('MinCount'))
  const max = Number(query.require('MaxCount') && query.integer('MaxCount'))
  if (min < 1 || max < min) throw invalidValue('maxCount', String(max), `It is less than minCount ( ${min} ).`)
  const instanceType = query.get('InstanceType') ?? 'm1.small'
  const clientToken = query.get('ClientToken') ?? null
  const userData = query.get('UserData') ?? null
  if (userData !== null) checkUserData(userData)
  const tags = query.indexes('TagSpecification').flatMap((n) => {
    const type = query.require(`TagSpecification.${n}.ResourceType`)
    const pairs = query.tags(`TagSpecification.${n}.Tag`)
    if (type === 'instance') return pairs
    // the sandbox has no such resources: their tags have nowhere to go
    if (type === 'volume' || type === 'network-interface') return []
    throw invalidValue('ResourceType', type, 'The sandbox knows instance, volume and network-interface.')
  })
  query.refuseUnread()

  const digest = createHash('sha256')
    .update(JSON.stringify([imageId, instanceType, min, max, userData, tags]))
    .digest('hex')
  const earlier = clientToken === null ? undefined : world.launches.get(clientToken)
  if (earlier && earlier.digest !== digest) {
    const message = 'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).'
    throw new AwsError('IdempotentParameterMismatch', 400, message)
  }
  const reservationId = earlier?.reservationId ?? world.newId('r')
  if (!earlier) {
    for (let n = 0; n < max; n++) world.launch({ imageId, instanceType, tags, userData, reservationId, clientToken })
    if (clientToken !== null) world.launches.set(clientToken, { digest, reservationId })
  }
  const instances = [...world.instances.values()].filter((instance) => instance.reservationId === reservationId)
  return reservationXml(world, reservationId, instances)
}

function checkUserData(userData: string): void {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(userData.replace(/\s/g, ''))) {
    throw new AwsError('InvalidParameterValue', 400, 'Invalid BASE64 encoding of user data')
  }
  if (Buffer.from(userData, 'base64').length > USER_DATA_LIMIT) {
    throw new AwsError('InvalidParameterValue', 400, `User data is limited to ${USER_DATA_LIMIT} bytes`)
  }
}

function terminateInstances(world: World, query: Query) {
  const ids = query.list('InstanceId')
  query.refuseUnread()
  if (ids.length === 0) query.require('InstanceId.1')
  mustExist('instance', ids, world.instances)
  const item = [...new Set(ids)].map((id) => {
    const { instance, previous } = world.terminate(id)
    return { instanceId: id, currentState: stateXml(instance.state), previousState: stateXml(previous) }
  })
  return { instancesSet: { item } }
}

function createTags(world: World, query: Query) {
  const ids = query.list('ResourceId')
  const tags = query.tags('Tag')
  query.refuseUnread()
  if (ids.length === 0) query.require('ResourceId.1')
  if (tags.length === 0) query.require('Tag.1.Key')
  const resources = ids.map((id): { tags: Tags } => {
    const kind = id.startsWith('ami-') ? 'image' : id.startsWith('i-') ? 'instance' : null
    if (!kind) throw new AwsError('InvalidID', 400, `The ID '${id}' is not valid, or no kind that the sandbox has`)
    mustExist(kind, [id], kind === 'image' ? world.images : world.instances)
    const resource = world.images.get(id) ?? world.instances.get(id)
    if (!resource) throw new Error(`${id} vanished`)
    return resource
  })
  for (const resource of resources) for (const [key, value] of tags) resource.tags.set(key, value)
  return { return: true }
}

const ID_FORMS = {
  instance: { pattern: /^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/, code: 'InvalidInstanceID', form: 'i-' },
  image: { pattern: /^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$/, code: 'InvalidAMIID', form: 'ami-' },
}

function mustBeWellFormed(kind: keyof typeof ID_FORMS, id: string): void {
  const { pattern, code, form } = ID_FORMS[kind]
  if (!pattern.test(id)) throw new AwsError(`${code}.Malformed`, 400, `Invalid id: "${id}" (expecting "${form}...")`)
}

function mustExist(kind: keyof typeof ID_FORMS, ids: readonly string[], known: ReadonlyMap<string, unknown>): void {
  for (const id of ids) mustBeWellFormed(kind, id)
  const missing = ids.filter((id) => !known.has(id))
  if (missing.length === 0) return
  const [what, list] = missing.length === 1 ? ['ID', `'${missing[0]}' does`] : ['IDs', `'${missing.join(', ')}' do`]
  const message = kind === 'image' ? `The image id '[${missing.join(', ')}]' does` : `The instance ${what} ${list}`
  throw new AwsError(`${ID_FORMS[kind].code}.NotFound`, 400, `${message} not exist`)
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
    tagSet: tagsXml(instance.tags),
  }
}

function imageXml(world: World, image: WorldImage): XmlValue {
  return {
    imageId: image.id,
    imageLocation: `${world.accountId}/${image.name}`,
    imageState: image.state,
    imageOwnerId: world.accountId,
    isPublic: false,
    architecture: image.architecture,
    imageType: 'machine',
    name: image.name,
    creationDate: image.createdAt,
    rootDeviceType: 'ebs',
    rootDeviceName: '/dev/xvda',
    blockDeviceMapping: { item: [{ deviceName: '/dev/xvda', ebs: { snapshotId: image.snapshotId } }] },
    virtualizationType: 'hvm',
    tagSet: tagsXml(image.tags),
  }
}

function tagsXml(tags: Tags): XmlValue {
  return { item: [...tags].map(([key, value]) => ({ key, value })) }
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
