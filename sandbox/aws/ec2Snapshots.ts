import type { Faults } from '../faults.js'
import { page, type Query, readFilters } from './ec2Query.js'
import { mustExist, tagsXml } from './ec2Resources.js'
import { AwsError } from './error.js'
import type { Snapshot } from './snapshots.js'
import type { World } from './world.js'
import type { XmlValue } from './xml.js'

/** DescribeSnapshots. */
export function describeSnapshots(world: World, query: Query) {
  const ids = query.list('SnapshotId')
  const owners = query.list('Owner')
  mustExist(world, 'snapshot', ids)
  const matches = readFilters<Snapshot>(query, {
    'snapshot-id': (snapshot) => [snapshot.id],
    status: (snapshot) => [snapshot.state],
    description: (snapshot) => [snapshot.description],
    'volume-size': (snapshot) => [String(snapshot.volumeSize)],
    encrypted: (snapshot) => [String(snapshot.encrypted)],
  })
  const ours = owners.length === 0 || owners.some((owner) => owner === 'self' || owner === world.accountId)
  const found = page(
    query,
    world.snapshots.all(),
    (snapshot) => ours && (ids.length === 0 || ids.includes(snapshot.id)) && matches(snapshot),
  )
  query.refuseUnread()
  return { snapshotSet: { item: found.items.map((one) => snapshotXml(world, one)) }, nextToken: found.nextToken }
}

/** DeleteSnapshot. */
export async function deleteSnapshot(world: World, query: Query) {
  const id = query.require('SnapshotId')
  query.refuseUnread()
  mustExist(world, 'snapshot', [id])
  const image = [...world.images.values()].find((one) => one.snapshotId === id)
  if (image) {
    const message = `The snapshot ${id} is currently in use by ${image.id}`
    throw new AwsError('InvalidSnapshot.InUse', 400, message)
  }
  await world.snapshots.delete(id)
  return { return: true }
}

/** GetEbsEncryptionByDefault. */
export function getEbsEncryptionByDefault(_world: World, query: Query, faults: Faults) {
  query.refuseUnread()
  return { ebsEncryptionByDefault: faults.encryptsByDefault() }
}

function snapshotXml(world: World, snapshot: Snapshot): XmlValue {
  return {
    snapshotId: snapshot.id,
    volumeId: 'vol-ffffffff',
    status: snapshot.state,
    statusMessage: snapshot.state === 'error' ? 'The snapshot was not completed within its timeout.' : undefined,
    startTime: snapshot.startedAt,
    progress: snapshot.state === 'completed' ? '100%' : '0%',
    ownerId: world.accountId,
    volumeSize: snapshot.volumeSize,
    description: snapshot.description,
    encrypted: snapshot.encrypted,
    kmsKeyId: snapshot.kmsKeyId ?? undefined,
    storageTier: 'standard',
    tagSet: tagsXml(snapshot.tags),
  }
}
