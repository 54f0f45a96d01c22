import { invalidValue, type Query } from './ec2Query.js'
import { AwsError } from './error.js'
import type { Tags, World } from './world.js'
import type { XmlValue } from './xml.js'

interface Kind {
  /** The prefix of an id, before the hyphen. */
  prefix: string
  malformed: string
  notFound: string
  missing(ids: readonly string[]): string
  find(world: World, id: string): { tags: Tags } | null
}

const list = (one: string, many: string) => (ids: readonly string[]) =>
  ids.length === 1 ? `The ${one} '${ids[0]}' does not exist` : `The ${many} '${ids.join(', ')}' do not exist`

const KINDS = {
  instance: {
    prefix: 'i',
    malformed: 'InvalidInstanceID.Malformed',
    notFound: 'InvalidInstanceID.NotFound',
    missing: list('instance ID', 'instance IDs'),
    find: (world, id) => world.instances.get(id) ?? null,
  },
  image: {
    prefix: 'ami',
    malformed: 'InvalidAMIID.Malformed',
    notFound: 'InvalidAMIID.NotFound',
    missing: (ids) => `The image id '[${ids.join(', ')}]' does not exist`,
    find: (world, id) => world.images.get(id) ?? null,
  },
  snapshot: {
    prefix: 'snap',
    malformed: 'InvalidSnapshotID.Malformed',
    notFound: 'InvalidSnapshot.NotFound',
    missing: list('snapshot', 'snapshots'),
    find: (world, id) => world.snapshots.get(id),
  },
  'security-group': {
    prefix: 'sg',
    malformed: 'InvalidGroupId.Malformed',
    notFound: 'InvalidGroup.NotFound',
    missing: list('security group', 'security groups'),
    find: (world, id) => world.securityGroups.get(id) ?? null,
  },
  subnet: {
    prefix: 'subnet',
    malformed: 'InvalidSubnetID.Malformed',
    notFound: 'InvalidSubnetID.NotFound',
    missing: list('subnet ID', 'subnet IDs'),
    find: (world, id) => world.subnets.get(id) ?? null,
  },
  'import-snapshot-task': {
    prefix: 'import-snap',
    malformed: 'InvalidConversionTaskId.Malformed',
    notFound: 'InvalidConversionTaskId',
    missing: list('import task', 'import tasks'),
    find: (world, id) => world.imports.get(id) ?? null,
  },
} satisfies Record<string, Kind>

type ResourceKind = keyof typeof KINDS

/** @throws AwsError */
export function mustBeWellFormed(kind: ResourceKind, id: string): void {
  const { prefix, malformed } = KINDS[kind]
  if (new RegExp(`^${prefix}-(?:[0-9a-f]{8}|[0-9a-f]{17})$`).test(id)) return
  throw new AwsError(malformed, 400, `Invalid id: "${id}" (expecting "${prefix}-...")`)
}

/** @throws AwsError */
export function mustExist(world: World, kind: ResourceKind, ids: readonly string[]): void {
  for (const id of ids) mustBeWellFormed(kind, id)
  const { find, missing, notFound } = KINDS[kind]
  const unknown = ids.filter((id) => !find(world, id))
  if (unknown.length > 0) throw new AwsError(notFound, 400, missing(unknown))
}

/** The resource with this id. @throws AwsError */
export function taggable(world: World, id: string): { tags: Tags } {
  const kind = (Object.keys(KINDS) as ResourceKind[]).find((name) => id.startsWith(`${KINDS[name].prefix}-`))
  if (!kind) throw new AwsError('InvalidID', 400, `The ID '${id}' is not valid, or no kind that the sandbox has`)
  mustExist(world, kind, [id])
  const resource = KINDS[kind].find(world, id)
  if (!resource) throw new Error(`${id} vanished`)
  return resource
}

/**
 * Reads `TagSpecification.N` and returns the tags of `kind`; those of `others` are dropped.
 * @throws AwsError InvalidParameterValue for another type
 */
export function tagSpecifications(query: Query, kind: string, others: readonly string[] = []): [string, string][] {
  return query.indexes('TagSpecification').flatMap((n) => {
    const type = query.require(`TagSpecification.${n}.ResourceType`)
    const pairs = query.tags(`TagSpecification.${n}.Tag`)
    if (type === kind) return pairs
    if (others.includes(type)) return []
    throw invalidValue('ResourceType', type, `The sandbox knows ${[kind, ...others].join(', ')} here.`)
  })
}

export function tagsXml(tags: Tags): XmlValue {
  return { item: [...tags].map(([key, value]) => ({ key, value })) }
}
