import { invalidValue, page, type Query, readFilters } from './ec2Query.js'
import { mustExist, tagSpecifications, tagsXml } from './ec2Resources.js'
import { AwsError } from './error.js'
import type { World, WorldImage } from './world.js'
import type { XmlValue } from './xml.js'

const ROOT_DEVICE = '/dev/xvda'

/** DescribeImages. */
export function describeImages(world: World, query: Query) {
  const ids = query.list('ImageId')
  const owners = query.list('Owner')
  mustExist(world, 'image', ids)
  const matches = readFilters<WorldImage>(query, {
    state: (image) => [image.state],
    name: (image) => [image.name],
    'image-id': (image) => [image.id],
    architecture: (image) => [image.architecture],
    'block-device-mapping.snapshot-id': (image) => [image.snapshotId],
  })
  const accounts = owners.map((owner) => (owner === 'self' ? world.accountId : owner))
  const wanted = (image: WorldImage) => owners.length === 0 || accounts.includes(image.ownerId)
  const found = page(
    query,
    [...world.images.values()],
    (image) => wanted(image) && (ids.length === 0 || ids.includes(image.id)) && matches(image),
  )
  query.refuseUnread()
  return { imagesSet: { item: found.items.map((image) => imageXml(world, image)) }, nextToken: found.nextToken }
}

/** RegisterImage, of one snapshot as the root device. It is available a moment later. */
export function registerImage(world: World, query: Query) {
  const name = query.require('Name')
  if (!/^[A-Za-z0-9()[\] ./'@_-]{3,128}$/.test(name)) {
    const message = `AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_': ${name}`
    throw new AwsError('InvalidAMIName.Malformed', 400, message)
  }
  const architecture = oneOf(query, 'Architecture', ['x86_64', 'arm64'], 'i386')
  oneOf(query, 'VirtualizationType', ['hvm'], 'paravirtual')
  const bootMode = oneOf(query, 'BootMode', ['legacy-bios', 'uefi', 'uefi-preferred'], null)
  const imdsSupport = oneOf(query, 'ImdsSupport', ['v2.0'], null)
  const enaSupport = query.boolean('EnaSupport')
  const description = query.get('Description') ?? ''
  const rootDevice = query.get('RootDeviceName') ?? ROOT_DEVICE
  const root = rootVolume(world, query, rootDevice)
  const tags = tagSpecifications(query, 'image', ['snapshot'])
  query.refuseUnread()
  const earlier = [...world.images.values()].find((image) => image.name === name)
  if (earlier) {
    const message = `AMI name ${name} is already in use by AMI ${earlier.id}`
    throw new AwsError('InvalidAMIName.Duplicate', 400, message)
  }
  const image = world.addImage({
    name,
    description,
    state: 'pending',
    tags,
    ...root,
    enaSupport,
    ...(architecture === null ? {} : { architecture }),
    ...(bootMode === null ? {} : { bootMode }),
    ...(imdsSupport === null ? {} : { imdsSupport }),
  })
  world.later(() => {
    image.state = 'available'
  })
  return { imageId: image.id }
}

/** DeregisterImage. Instances that run it keep running. */
export async function deregisterImage(world: World, query: Query) {
  const id = query.require('ImageId')
  const withSnapshots = query.boolean('DeleteAssociatedSnapshots')
  query.refuseUnread()
  mustExist(world, 'image', [id])
  const image = world.images.get(id)
  world.images.delete(id)
  if (!image || !withSnapshots) return { return: true }
  const { snapshotId } = image
  const inUse = [...world.images.values()].some((other) => other.snapshotId === snapshotId)
  if (!inUse) await world.snapshots.delete(snapshotId)
  const returnCode = inUse ? 'skipped' : 'success'
  return { return: true, deleteSnapshotResultSet: { item: [{ snapshotId, returnCode }] } }
}

/** The default of EC2; null: no default. */
function oneOf<T extends string>(query: Query, name: string, known: readonly T[], fallback: string | null): T | null {
  const value = query.get(name) ?? fallback
  if (value === null) return null
  const found = known.find((one) => one === value)
  if (!found) throw invalidValue(name, value, `The sandbox registers ${known.join(', ')}.`)
  return found
}

/** @throws AwsError */
function rootVolume(world: World, query: Query, rootDevice: string) {
  const volumes = query.indexes('BlockDeviceMapping').map((n) => {
    const field = (name: string) => `BlockDeviceMapping.${n}.${name}`
    return {
      device: query.require(field('DeviceName')),
      snapshotId: query.get(field('Ebs.SnapshotId')) ?? null,
      volumeSize: query.integer(field('Ebs.VolumeSize')) ?? null,
      volumeType: query.get(field('Ebs.VolumeType')) ?? 'standard',
      deleteOnTermination: query.boolean(field('Ebs.DeleteOnTermination')),
    }
  })
  const root = volumes.find((volume) => volume.device === rootDevice)
  if (volumes.length !== 1 || !root?.snapshotId) {
    const message = `The sandbox registers images with one block device, ${rootDevice}, of a snapshot`
    throw new AwsError('InvalidBlockDeviceMapping', 400, message)
  }
  mustExist(world, 'snapshot', [root.snapshotId])
  const snapshot = world.snapshots.get(root.snapshotId)
  if (snapshot?.state !== 'completed') {
    throw new AwsError('IncorrectState', 400, `The snapshot '${root.snapshotId}' is not in the completed state`)
  }
  if (root.volumeSize !== null && root.volumeSize < snapshot.volumeSize) {
    const message = `Volume of size ${root.volumeSize}GB is smaller than snapshot '${snapshot.id}', expect size >= ${snapshot.volumeSize}GB`
    throw new AwsError('InvalidBlockDeviceMapping', 400, message)
  }
  const { snapshotId, volumeType, deleteOnTermination } = root
  return { rootDevice, snapshotId, volumeType, deleteOnTermination, volumeSize: root.volumeSize ?? snapshot.volumeSize }
}

function imageXml(world: World, image: WorldImage): XmlValue {
  return {
    imageId: image.id,
    imageLocation: `${world.accountId}/${image.name}`,
    imageState: image.state,
    imageOwnerId: image.ownerId,
    isPublic: false,
    architecture: image.architecture,
    imageType: 'machine',
    name: image.name,
    description: image.description,
    creationDate: image.createdAt,
    rootDeviceType: 'ebs',
    rootDeviceName: image.rootDevice,
    blockDeviceMapping: {
      item: [
        {
          deviceName: image.rootDevice,
          ebs: {
            snapshotId: image.snapshotId,
            volumeSize: image.volumeSize,
            volumeType: image.volumeType,
            deleteOnTermination: image.deleteOnTermination,
            encrypted: world.snapshots.get(image.snapshotId)?.encrypted ?? false,
          },
        },
      ],
    },
    virtualizationType: 'hvm',
    enaSupport: image.enaSupport,
    bootMode: image.bootMode ?? undefined,
    imdsSupport: image.imdsSupport ?? undefined,
    tagSet: tagsXml(image.tags),
  }
}
