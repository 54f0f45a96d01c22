import { hostname, userInfo } from 'node:os'
import { DeleteItemCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb'
import { parseLock, type StateLock } from '../../domain/deploy/stateLock.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { StateLocks } from '../../ops/deploy/ports.js'
import type { ObjectStore } from '../../ops/ports.js'
import { awsCall, clientLimits } from '../aws/errors.js'
import type { AwsSettings } from './compute.js'

export interface LockSettings extends AwsSettings {
  bucket: string
  /** Key of the state. */
  key: string
  /** Null where there is no lock table. */
  table: string | null
  /** URL of the run that takes it; empty outside of one. */
  run: string
}

/** One place that OpenTofu's S3 backend locks a state in. */
interface Place {
  read(): Promise<string | null>
  /** False where another lock stands there. */
  write(text: string): Promise<boolean>
  /** Removes exactly this lock. */
  remove(text: string): Promise<void>
}

/**
 * The locks that OpenTofu itself would take, in its form and places, so that both respect one another. Ours name the run,
 * and know themselves again: where the answer to a write was lost, what stands there with our id is ours.
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
    throw new ClawctlError('STATE_LOCKED', `What stands for the lock of ${path} is none that OpenTofu writes.`, {
      hint: 'Look at what wrote it, and remove it when nothing of it runs any more.',
    })
  }

  /** Null where it is ours now, else the lock that stands there. */
  async function takeAt(place: Place, lock: StateLock): Promise<StateLock | null> {
    let failure: ClawctlError | null = null
    try {
      if (await place.write(JSON.stringify(lock))) return null
    } catch (error) {
      // It may have arrived, and its answer not.
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
      for (const place of places) {
        const other = await takeAt(place, own)
        if (other === null) continue
        await release()
        return other
      }
      return null
    },
    release,
  }
}

function objectPlace(store: ObjectStore, key: string): Place {
  return {
    read: async () => (await store.get(key))?.text ?? null,
    write: (text) => store.putIf(key, text, null),
    remove: () => store.delete(key),
  }
}

/** The item that OpenTofu writes into the lock table. */
function tablePlace(settings: AwsSettings, TableName: string, path: string): Place {
  const client = new DynamoDBClient({ region: settings.region, ...clientLimits(settings) })
  const Key = { LockID: { S: path } }
  const unless = async (call: () => Promise<unknown>): Promise<boolean> => {
    try {
      await call()
      return true
    } catch (error) {
      if ((error as Error).name === 'ConditionalCheckFailedException') return false
      throw error
    }
  }
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
        // Gone meanwhile, or another's: either way this one is no more.
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
