import { createHash } from 'node:crypto'
import * as z from 'zod/mini'
import { parseJson } from '../../src/lib/domain/json.js'
import type { Exchange, Reply } from '../http.js'
import { BLOCK_SIZE } from './blocks.js'
import type { EbsRequest } from './ebs.js'
import { AwsError } from './error.js'
import { BLOCKS_PER_GIB, digestsOf, holderOf, rootOf, type Snapshot } from './snapshots.js'
import type { World } from './world.js'

/** EBS's quota of snapshots that are pending at a time. */
const MAX_PENDING = 100
const MAX_VOLUME_GIB = 65_536
/** How long a list's block tokens are valid. */
const TOKEN_MS = 7 * 86_400_000

const startSchema = z.object({
  VolumeSize: z.int().check(z.gte(1), z.lte(MAX_VOLUME_GIB)),
  ParentSnapshotId: z.optional(z.string()),
  Tags: z.optional(z.array(z.object({ Key: z.string(), Value: z.string() })).check(z.maxLength(50))),
  Description: z.optional(z.string().check(z.maxLength(255))),
  ClientToken: z.optional(z.string().check(z.maxLength(255))),
  Encrypted: z.optional(z.boolean()),
  KmsKeyArn: z.optional(z.string()),
  Timeout: z.optional(z.int().check(z.gte(10), z.lte(4320))),
})
type StartRequest = z.infer<typeof startSchema>

/** StartSnapshot. The same client token again gives the same snapshot. */
export async function startSnapshot(world: World, { exchange, faults }: EbsRequest): Promise<Reply> {
  const chunks: Buffer[] = []
  for await (const chunk of exchange.stream) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const parsed = startSchema.safeParse(parseJson(text))
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] ?? { path: [], message: 'not an object' }
    const reason = path[0] === 'VolumeSize' ? 'INVALID_VOLUME_SIZE' : path[0] === 'Tags' ? 'INVALID_TAG' : PARAMETER
    throw invalid(reason, `Invalid value for ${path.join('.') || 'the request'}: ${message}`)
  }
  const { ClientToken: token, ...request } = parsed.data
  const digest = createHash('sha256').update(JSON.stringify(request)).digest('hex')
  const earlier = token === undefined ? undefined : world.snapshotStarts.get(token)
  if (earlier && earlier.digest !== digest) {
    const message = 'The request uses the same client token as a previous, but non-identical request.'
    throw new AwsError('ConflictException', 409, message)
  }
  const known = earlier && world.snapshots.get(earlier.id)
  if (known) return json(201, startedJson(world, known))
  const encryption = decideEncryption(world, request, faults.encryptsByDefault())
  if (world.snapshots.all().filter((snapshot) => snapshot.state === 'pending').length >= MAX_PENDING) {
    const message = `You have reached the limit of ${MAX_PENDING} pending snapshots.`
    throw new AwsError('ServiceQuotaExceededException', 402, message, { reason: 'DEPENDENCY_SERVICE_QUOTA_EXCEEDED' })
  }
  const snapshot = world.snapshots.add({
    volumeSize: request.VolumeSize,
    description: request.Description ?? '',
    tags: (request.Tags ?? []).map(({ Key, Value }): [string, string] => [Key, Value]),
    timeoutMs: (request.Timeout ?? 60) * 60_000,
    ...encryption,
  })
  if (token !== undefined) world.snapshotStarts.set(token, { digest, id: snapshot.id })
  return json(201, startedJson(world, snapshot))
}

/** The documented outcomes of Encrypted, KmsKeyArn, the parent and the account's default. @throws AwsError */
function decideEncryption(world: World, request: StartRequest, byDefault: boolean) {
  const parent = request.ParentSnapshotId === undefined ? null : mustExist(world, request.ParentSnapshotId)
  const key = request.KmsKeyArn ?? null
  if (!parent) {
    const encrypted = request.Encrypted ?? byDefault
    if (byDefault && !encrypted) throw invalid(PARAMETER, 'The account encrypts every snapshot by default.')
    if (key !== null && request.Encrypted !== true) throw invalid(PARAMETER, 'KmsKeyArn needs Encrypted.')
    return { parent, encrypted, kmsKeyId: encrypted ? (key ?? world.defaultKmsKey) : null }
  }
  if (request.Encrypted !== undefined) {
    throw invalid(PARAMETER, 'Encrypted and ParentSnapshotId cannot be specified together.')
  }
  if (parent.state !== 'completed') {
    throw invalid('INVALID_SNAPSHOT_ID', `The parent snapshot ${parent.id} is not in the completed state.`)
  }
  if (!parent.encrypted && (byDefault || key !== null)) {
    throw invalid(PARAMETER, 'An unencrypted parent snapshot cannot have an encrypted child.')
  }
  if (parent.encrypted && key !== null) throw invalid(PARAMETER, 'KmsKeyArn is taken from the parent snapshot.')
  if (request.VolumeSize < parent.volumeSize) {
    throw invalid('INVALID_VOLUME_SIZE', `The volume size is less than that of the parent: ${parent.volumeSize} GiB.`)
  }
  return { parent, encrypted: parent.encrypted, kmsKeyId: parent.kmsKeyId }
}

function startedJson(world: World, snapshot: Snapshot) {
  return {
    SnapshotId: snapshot.id,
    OwnerId: world.accountId,
    Status: snapshot.state,
    StartTime: snapshot.startedAt.getTime() / 1000,
    VolumeSize: snapshot.volumeSize,
    BlockSize: BLOCK_SIZE,
    Description: snapshot.description,
    Tags: [...snapshot.tags].map(([Key, Value]) => ({ Key, Value })),
    ...(snapshot.parent ? { ParentSnapshotId: snapshot.parent.id } : {}),
    ...(snapshot.kmsKeyId === null ? {} : { KmsKeyArn: snapshot.kmsKeyId }),
  }
}

/** PutSnapshotBlock. Hashes once, as the block comes in. */
export async function putBlock(world: World, request: EbsRequest): Promise<Reply> {
  const { exchange, faults } = request
  const { headers, stream } = exchange
  if (faults.overQuota()) {
    const message = 'You have exceeded the rate of PutSnapshotBlock for the account.'
    throw new AwsError('RequestThrottledException', 400, message, { reason: 'ACCOUNT_THROTTLED' })
  }
  const snapshot = mustTakeBlocks(world, request.snapshotId)
  const index = blockIndex(request.blockIndex)
  if (index >= snapshot.volumeSize * BLOCKS_PER_GIB) {
    throw invalid(
      'INVALID_BLOCK',
      `The block ${index} lies behind the end of the volume of ${snapshot.volumeSize} GiB.`,
    )
  }
  const promised = headers['x-amz-checksum']
  if (headers['x-amz-checksum-algorithm'] !== 'SHA256' || typeof promised !== 'string') {
    throw invalid(PARAMETER, 'A block needs a checksum, by SHA256.')
  }
  if (headers['x-amz-data-length'] !== String(BLOCK_SIZE)) {
    throw invalid(PARAMETER, `The data length must be ${BLOCK_SIZE}.`)
  }
  const chunks: Buffer[] = []
  const hash = createHash('sha256')
  let size = 0
  const corrupt = faults.corrupts('ebs')
  for await (const chunk of stream) {
    if (corrupt && size === 0 && chunk[0] !== undefined) chunk[0] ^= 1
    size += chunk.length
    if (size > BLOCK_SIZE) break
    hash.update(chunk)
    chunks.push(chunk)
  }
  if (size !== BLOCK_SIZE) throw invalid('INVALID_BLOCK', `A block has ${BLOCK_SIZE} bytes.`)
  const digest = hash.digest()
  if (digest.toString('base64') !== promised) {
    throw invalid('INVALID_BLOCK', 'The checksum does not match the data of the block.')
  }
  // it may have been sealed or deleted meanwhile
  mustTakeBlocks(world, snapshot.id)
  await snapshot.blocks.write(index, chunks, digest)
  world.snapshots.touch(snapshot)
  return { status: 201, headers: { 'x-amz-checksum': promised, 'x-amz-checksum-algorithm': 'SHA256' } }
}

/** CompleteSnapshot. A repeated request returns the snapshot's state. */
export function completeSnapshot(world: World, { exchange, snapshotId }: EbsRequest): Reply {
  const { headers } = exchange
  const snapshot = mustExist(world, snapshotId)
  if (snapshot.state === 'error') throw notPending(snapshot)
  const count = snapshot.blocks.digests.size
  const promised = headers['x-amz-changedblockscount']
  if (promised !== String(count)) {
    throw invalid(PARAMETER, `ChangedBlocksCount is ${promised ?? 'missing'}, and ${count} blocks were written.`)
  }
  const checksum = headers['x-amz-checksum']
  if (checksum !== undefined) {
    const [algorithm, method] = [headers['x-amz-checksum-algorithm'], headers['x-amz-checksum-aggregation-method']]
    if (algorithm !== 'SHA256' || method !== 'LINEAR') {
      throw invalid(PARAMETER, 'A checksum needs the algorithm SHA256 and the aggregation method LINEAR.')
    }
    if (checksum !== snapshot.blocks.linearChecksum().toString('base64')) {
      throw invalid(PARAMETER, 'The checksum does not match the blocks that were written.')
    }
  }
  if (!snapshot.sealed) world.snapshots.seal(snapshot)
  return json(202, { Status: snapshot.state })
}

/** GetSnapshotBlock, by the token of a list. */
export async function getBlock(world: World, request: EbsRequest): Promise<Reply> {
  const snapshot = mustBeComplete(world, request.snapshotId)
  const index = blockIndex(request.blockIndex)
  if (request.exchange.url.searchParams.get('blockToken') !== blockToken(snapshot, index)) {
    throw invalid('INVALID_BLOCK_TOKEN', 'The block token is not valid.')
  }
  const digest = holderOf(snapshot, index)?.blocks.digests.get(index)
  if (!digest) throw invalid('INVALID_BLOCK', `The block ${index} does not exist.`)
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'x-amz-data-length': String(BLOCK_SIZE),
      'x-amz-checksum': digest.toString('base64'),
      'x-amz-checksum-algorithm': 'SHA256',
    },
    body: await world.snapshots.read(snapshot, index),
  }
}

/** ListSnapshotBlocks. */
export function listBlocks(world: World, { exchange, snapshotId }: EbsRequest): Reply {
  const snapshot = mustBeComplete(world, snapshotId)
  const found = pageOf(exchange, digestsOf(snapshot))
  const Blocks = found.items.map(([index]) => ({ BlockIndex: index, BlockToken: blockToken(snapshot, index) }))
  return json(200, { Blocks, ...listJson(world, snapshot, found.nextToken) })
}

/** ListChangedBlocks: what differs between two snapshots of one lineage. */
export function listChangedBlocks(world: World, { exchange, snapshotId }: EbsRequest): Reply {
  const second = mustBeComplete(world, snapshotId)
  const firstId = exchange.url.searchParams.get('firstSnapshotId')
  const first = firstId === null ? null : mustBeComplete(world, firstId)
  if (first && rootOf(first) !== rootOf(second)) {
    throw invalid('UNRELATED_SNAPSHOTS', `The snapshots ${first.id} and ${second.id} are not related.`)
  }
  const [before, after] = [new Map(first ? digestsOf(first) : []), new Map(digestsOf(second))]
  const indexes = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => a - b)
  const changed = indexes.filter((index) => {
    const [a, b] = [before.get(index), after.get(index)]
    return !a || !b || !a.equals(b)
  })
  const found = pageOf(
    exchange,
    changed.map((index): [number] => [index]),
  )
  const ChangedBlocks = found.items.map(([index]) => ({
    BlockIndex: index,
    ...(first && before.has(index) ? { FirstBlockToken: blockToken(first, index) } : {}),
    ...(after.has(index) ? { SecondBlockToken: blockToken(second, index) } : {}),
  }))
  return json(200, { ChangedBlocks, ...listJson(world, second, found.nextToken) })
}

function listJson(world: World, snapshot: Snapshot, nextToken: string | undefined) {
  return {
    ExpiryTime: (world.now().getTime() + TOKEN_MS) / 1000,
    VolumeSize: snapshot.volumeSize,
    BlockSize: BLOCK_SIZE,
    ...(nextToken === undefined ? {} : { NextToken: nextToken }),
  }
}

/** By maxResults (100 to 10,000, as EBS has it), startingBlockIndex and pageToken, which names the next index. */
function pageOf<T extends readonly [number, ...unknown[]]>({ url }: Exchange, all: readonly T[]) {
  const query = url.searchParams
  const size = Number(query.get('maxResults') ?? 10_000)
  if (!Number.isInteger(size) || size < 100 || size > 10_000) {
    throw invalid(PARAMETER, 'MaxResults must be between 100 and 10000.')
  }
  const token = query.get('pageToken')
  const start = token === null ? (query.get('startingBlockIndex') ?? '0') : Buffer.from(token, 'base64url').toString()
  if (!/^\d{1,9}$/.test(start)) {
    throw invalid(token === null ? PARAMETER : 'INVALID_PAGE_TOKEN', 'The page token or starting block is not valid.')
  }
  const rest = all.filter(([index]) => index >= Number(start))
  const next = rest[size]?.[0]
  const nextToken = next === undefined ? undefined : Buffer.from(String(next)).toString('base64url')
  return { items: rest.slice(0, size), nextToken }
}

function blockToken({ id }: Snapshot, index: number): string {
  return createHash('sha256').update(`${id} ${index}`).digest('base64')
}

function blockIndex(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw invalid('INVALID_BLOCK', `"${text}" is not a block index.`)
  return Number(text)
}

/** @throws AwsError */
function mustExist(world: World, id: string): Snapshot {
  if (!/^snap-[0-9a-f]+$/.test(id)) throw invalid('INVALID_SNAPSHOT_ID', `"${id}" is not a snapshot id.`)
  const snapshot = world.snapshots.get(id)
  if (snapshot) return snapshot
  const message = `The snapshot '${id}' does not exist.`
  throw new AwsError('ResourceNotFoundException', 404, message, { reason: 'SNAPSHOT_NOT_FOUND' })
}

function mustTakeBlocks(world: World, id: string): Snapshot {
  const snapshot = mustExist(world, id)
  if (snapshot.sealed) throw notPending(snapshot)
  return snapshot
}

function mustBeComplete(world: World, id: string): Snapshot {
  const snapshot = mustExist(world, id)
  if (snapshot.state === 'completed') return snapshot
  throw invalid('INVALID_SNAPSHOT_ID', `The snapshot ${id} is not in the completed state.`)
}

function notPending({ id }: Snapshot): AwsError {
  return invalid('INVALID_SNAPSHOT_ID', `The snapshot ${id} is not in the pending state.`)
}

const PARAMETER = 'INVALID_PARAMETER_VALUE'

function invalid(reason: string, message: string): AwsError {
  return new AwsError('ValidationException', 400, message, { reason })
}

function json(status: number, body: unknown): Reply {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
