import { createHash } from 'node:crypto'
import type { Faults } from '../faults.js'
import { invalidValue, page, type Query, readFilters } from './ec2Query.js'
import { mustBeWellFormed, mustExist, tagSpecifications, tagsXml } from './ec2Resources.js'
import { AwsError } from './error.js'
import { type ImportTask, startImport } from './imports.js'
import type { World } from './world.js'
import type { XmlValue } from './xml.js'

const FORMATS = ['RAW', 'VHD', 'VMDK'] as const

/** ImportSnapshot, from an object in a bucket. The same client token again gives the same task. */
export function importSnapshot(world: World, query: Query, faults: Faults) {
  const token = query.get('ClientToken') ?? null
  const description = query.get('Description') ?? ''
  query.get('DiskContainer.Description')
  const givenFormat = query.require('DiskContainer.Format')
  const bucket = query.require('DiskContainer.UserBucket.S3Bucket')
  const key = query.require('DiskContainer.UserBucket.S3Key')
  const role = query.get('RoleName') ?? 'vmimport'
  const encrypted = query.boolean('Encrypted') || faults.encryptsByDefault()
  const kmsKeyId = query.get('KmsKeyId') ?? null
  const tags = tagSpecifications(query, 'import-snapshot-task')
  query.refuseUnread()
  if (kmsKeyId !== null && !encrypted) throw invalidValue('KmsKeyId', kmsKeyId, 'It needs Encrypted.')
  const format = FORMATS.find((one) => one === givenFormat.toUpperCase())
  if (!format) throw invalidValue('Format', givenFormat, `It is one of ${FORMATS.join(', ')}.`)

  const said = [bucket, key, format, role, encrypted, kmsKeyId, description, tags]
  const digest = createHash('sha256').update(JSON.stringify(said)).digest('hex')
  const earlier = token === null ? undefined : world.importStarts.get(token)
  if (earlier && earlier.digest !== digest) {
    const message = 'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).'
    throw new AwsError('IdempotentParameterMismatch', 400, message)
  }
  const known = earlier && world.imports.get(earlier.id)
  if (known) return taskXml(known)
  if (faults.import(['no-role'])) {
    const message = `The service role ${role} provided does not exist or does not have sufficient permissions`
    throw new AwsError('InvalidParameter', 400, message)
  }
  const object = world.buckets.get(bucket)?.get(key)
  if (!object) {
    throw new AwsError('InvalidParameter', 400, `Invalid S3 source location: s3://${bucket}/${key} does not exist`)
  }
  const fault = faults.import(['error', 'bad-image', 'stuck'])
  const request = { bucket, key, format, description, encrypted, kmsKeyId, tags }
  const task = startImport(world, request, object.content, fault)
  if (token !== null) world.importStarts.set(token, { digest, id: task.id })
  return taskXml(task)
}

/** DescribeImportSnapshotTasks. */
export function describeImportSnapshotTasks(world: World, query: Query) {
  const ids = query.list('ImportTaskId')
  for (const id of ids) mustBeWellFormed('import-snapshot-task', id)
  mustExist(world, 'import-snapshot-task', ids)
  const matches = readFilters<ImportTask>(query, {}, 'Filters')
  const wanted = (task: ImportTask) => (ids.length === 0 || ids.includes(task.id)) && matches(task)
  const found = page(query, [...world.imports.values()], wanted)
  query.refuseUnread()
  return { importSnapshotTaskSet: { item: found.items.map(taskXml) }, nextToken: found.nextToken }
}

function taskXml(task: ImportTask): Record<string, XmlValue> {
  return {
    importTaskId: task.id,
    description: task.description,
    snapshotTaskDetail: {
      description: task.description,
      diskImageSize: task.bytes,
      format: task.format,
      status: task.status,
      statusMessage: task.message ?? undefined,
      // EC2 leaves it out at the end
      progress: task.status === 'active' ? String(task.progress) : undefined,
      snapshotId: task.snapshotId ?? undefined,
      encrypted: task.encrypted,
      kmsKeyId: task.kmsKeyId ?? undefined,
      userBucket: { s3Bucket: task.bucket, s3Key: task.key },
    },
    tagSet: tagsXml(task.tags),
  }
}
