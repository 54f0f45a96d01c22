import { createHash } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { DeleteItemCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb'
import { parseLock, type StateLock } from '../../domain/deploy/stateLock.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { StateLocks } from '../../ops/deploy/ports.js'
import type { ObjectStore } from '../../ops/ports.js'
import { type AwsSettings, awsCall, clientOptions, unlessNamed } from '../aws/errors.js'

export interface LockSettings extends AwsSettings {
  bucket: string
  /** Key of the state. */
  key: string
  /** Null without a lock table. */
  table: string | null
  /** URL of this run; empty outside of one. */
  run: string
}

/** One of the two places in which OpenTofu's S3 backend locks a state. */
interface Place {
  read(): Promise<string | null>
  /** False if another lock is held there. */
  write(text: string): Promise<boolean>
  /** Removes exactly this lock. */
  remove(text: string): Promise<void>
}

/**
 * The same locks that OpenTofu takes, in the same form, so that both respect each other. Ours name the run. After a lost
 * answer, a lock with our id is ours.
 */
export function createStateLocks(settings: LockSettings, store: ObjectStore): StateLocks {
  const path = `${settings.bucket}/${settings.key}`
  const places = [objectPlace(store, `${settings.key}.tflock`)]
  if (settings.table !== null) places.push(tablePlace(settings, settings.table, path))
  let own: StateLock | null = null

  const read = async (place: Place): Promise<{ text: string; lock: StateLock } | null> => {
    const text = await place.read()
    if (text === null) return null
    const lock = parseLock(text)
    if (lock) return { text, lock }
    throw new ClawctlError('STATE_LOCKED', `The lock of ${path} does not have OpenTofu's form.`, {
      hint: 'Find out what wrote it, and remove it when that no longer runs.',
    })
  }

  /** Null if it is ours now, else the other lock. */
  async function takeAt(place: Place, lock: StateLock): Promise<StateLock | null> {
    let failure: ClawctlError | null = null
    try {
      if (await place.write(JSON.stringify(lock))) return null
    } catch (error) {
      // The write may have succeeded although its answer was lost.
      failure = asClawctlError(error)
    }
    const stands = await read(place)
    if (stands?.lock.ID === lock.ID) return null
    if (stands) return stands.lock
    throw failure ?? new ClawctlError('UPSTREAM', `The lock of ${path} could not be written.`)
  }

  async function release(id = own?.ID): Promise<void> {
    for (const place of places) {
      const stands = await read(place)
      if (stands && stands.lock.ID === id) await place.remove(stands.text)
    }
    if (id === own?.ID) own = null
  }

  return {
    run: settings.run,
    async held() {
      const found = await Promise.all(places.map(read))
      const locks = found.flatMap((one) => one?.lock ?? [])
      return locks.filter(({ ID }, index) => locks.findIndex((lock) => lock.ID === ID) === index)
    },
    async take() {
      own ??= {
        ID: crypto.randomUUID(),
        Operation: 'clawctl',
        Info: settings.run,
        Who: `${userInfo().username}@${hostname()}`,
        Version: '',
        Created: new Date().toISOString(),
        Path: path,
      }
      try {
        for (const place of places) {
          const other = await takeAt(place, own)
          if (other === null) continue
          await release()
          return other
        }
        return null
      } catch (error) {
        // Outside of a run, no later deploy could release the other place.
        await release().catch(() => {})
        throw error
      }
    },
    release,
    hasStaleDigest: async () => (await staleDigest(settings, path, store)) !== null,
    dropStaleDigest: () => dropStaleDigest(settings, path, store),
  }
}

function objectPlace(store: ObjectStore, key: string): Place {
  return {
    read: async () => (await store.get(key))?.text ?? null,
    write: (text) => store.putIf(key, text, null),
    remove: () => store.delete(key),
  }
}

const tableClient = (settings: AwsSettings) => new DynamoDBClient(clientOptions(settings))

/** False if the condition of the call does not hold. */
const unless = (call: () => Promise<unknown>) =>
  unlessNamed(/^ConditionalCheckFailedException$/, false, () => call().then(() => true))

/**
 * The lock table's MD5 of the state, if another state is stored; else null. OpenTofu stores the state first and its MD5 second,
 * and reads no state with another one. Without a digest it reads what is stored.
 */
async function staleDigest(settings: LockSettings, path: string, store: ObjectStore): Promise<string | null> {
  const TableName = settings.table
  if (TableName === null) return null
  const digest = await awsCall('DynamoDB GetItem', async () => {
    const input = { TableName, Key: digestKey(path), ConsistentRead: true }
    const { Item } = await tableClient(settings).send(new GetItemCommand(input))
    return Item?.Digest?.S ?? null
  })
  if (digest === null) return null
  const state = await store.get(settings.key)
  // If the state itself is missing, only the digest prevents a plan that would create the fleet a second time.
  if (state === null || createHash('md5').update(state.text).digest('hex') === digest) return null
  return digest
}

async function dropStaleDigest(settings: LockSettings, path: string, store: ObjectStore): Promise<boolean> {
  const digest = await staleDigest(settings, path, store)
  if (digest === null || settings.table === null) return false
  const command = new DeleteItemCommand({
    TableName: settings.table,
    Key: digestKey(path),
    ConditionExpression: 'Digest = :digest',
    ExpressionAttributeValues: { ':digest': { S: digest } },
  })
  return awsCall('DynamoDB DeleteItem', () => unless(() => tableClient(settings).send(command)))
}

const digestKey = (path: string) => ({ LockID: { S: `${path}-md5` } })

/** The item that OpenTofu writes into the lock table. */
function tablePlace(settings: AwsSettings, TableName: string, path: string): Place {
  const client = tableClient(settings)
  const Key = { LockID: { S: path } }
  return {
    read: () =>
      awsCall('DynamoDB GetItem', async () => {
        const { Item } = await client.send(new GetItemCommand({ TableName, Key, ConsistentRead: true }))
        return Item?.Info?.S ?? null
      }),
    write: (text) =>
      awsCall('DynamoDB PutItem', () =>
        unless(() =>
          client.send(
            new PutItemCommand({
              TableName,
              Item: { ...Key, Info: { S: text } },
              ConditionExpression: 'attribute_not_exists(LockID)',
            }),
          ),
        ),
      ),
    remove: (text) =>
      awsCall('DynamoDB DeleteItem', async () => {
        // The lock was removed or replaced meanwhile: in both cases it no longer exists.
        await unless(() =>
          client.send(
            new DeleteItemCommand({
              TableName,
              Key,
              ConditionExpression: 'Info = :info',
              ExpressionAttributeValues: { ':info': { S: text } },
            }),
          ),
        )
      }),
  }
}
