import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { createStateLocks } from '../../../src/lib/adapters/deploy/stateLocks.js'
import { parseLock } from '../../../src/lib/domain/deploy/stateLock.js'
import { failureOf } from '../../support/failure.js'
import { FakeStore, lockOf, upstream } from '../../support/fakes.js'
import { type Responder, startServer, type TestServer } from '../../support/server.js'

const KEY = 'state/fleet.tfstate'
const LOCK = `${KEY}.tflock`
const PATH = `bucket/${KEY}`
const RUN = 'https://github.example/o/r/actions/runs/7/attempts/1'

describe('createStateLocks', () => {
  /** The table's items by LockID. */
  const items = new Map<string, string>()
  /** The writes whose answers get lost after they arrived. */
  let lost = 0
  /** The role may not write to the table. */
  let refusing = false
  let server: TestServer
  let store: FakeStore
  const locks = (table: string | null = 'locks') =>
    createStateLocks({ region: 'eu-central-1', bucket: 'bucket', key: KEY, table, run: RUN }, store)

  /** The four calls of DynamoDB that are used, with the conditions that they are sent with. */
  const table: Responder = (response, { headers, body }) => {
    const answer = (status: number, document: object) =>
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(document))
    const failed = () =>
      answer(400, { __type: 'com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException', message: 'no' })
    const call = String(headers['x-amz-target']).split('.')[1]
    const request = JSON.parse(body)
    const id = (request.Key ?? request.Item).LockID.S
    const info = items.get(id)
    const value = id.endsWith('-md5') ? 'Digest' : 'Info'
    if (call === 'GetItem') {
      expect(request.ConsistentRead).to.equal(true)
      return answer(200, info === undefined ? {} : { Item: { LockID: { S: id }, [value]: { S: info } } })
    }
    if (call === 'PutItem') {
      if (refusing) return answer(400, { __type: 'com.amazon.coral.service#AccessDeniedException', message: 'no' })
      expect(request.ConditionExpression).to.equal('attribute_not_exists(LockID)')
      if (info !== undefined) return failed()
      items.set(id, request.Item.Info.S)
      if (lost > 0) {
        lost -= 1
        return response.socket?.destroy()
      }
      return answer(200, {})
    }
    const bound = `:${value.toLowerCase()}`
    expect([call, request.ConditionExpression]).to.deep.equal(['DeleteItem', `${value} = ${bound}`])
    if (request.ExpressionAttributeValues[bound].S !== info) return failed()
    items.delete(id)
    return answer(200, {})
  }

  const KEPT = ['AWS_ENDPOINT_URL_DYNAMODB', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const
  const before_ = KEPT.map((name) => process.env[name])
  before(async () => {
    server = await startServer(table)
    Object.assign(process.env, {
      AWS_ENDPOINT_URL_DYNAMODB: server.url,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    })
  })
  after(async () => {
    for (const [index, name] of KEPT.entries()) {
      if (before_[index] === undefined) delete process.env[name]
      else process.env[name] = before_[index]
    }
    await server.close()
  })
  beforeEach(() => {
    items.clear()
    lost = 0
    refusing = false
    store = new FakeStore()
  })

  it("takes the lock in both places in OpenTofu's form, and releases both", async () => {
    const own = locks()
    expect(await own.take()).to.equal(null)
    const text = store.objects.get(LOCK)?.text ?? ''
    expect(parseLock(text)).to.include({ Info: RUN, Path: PATH })
    expect(parseLock(text)?.Who).to.match(/^.+@.+$/)
    expect(items.get(PATH)).to.equal(text)
    expect(await own.held()).to.have.length(1)
    await own.release()
    expect([store.objects.size, items.size]).to.deep.equal([0, 0])
  })

  it('names the holder of a lock, and leaves no lock of its own', async () => {
    items.set(PATH, JSON.stringify(lockOf()))
    expect(await locks().take()).to.deep.equal(lockOf())
    expect(store.objects.size).to.equal(0)
    expect(items.get(PATH)).to.equal(JSON.stringify(lockOf()))
  })

  it('recognises its own lock if the answer to the write was lost, in either place', async () => {
    lost = 1
    const own = locks()
    expect(await own.take()).to.equal(null)
    await own.release()

    const putIf = store.putIf.bind(store)
    store.putIf = async (...args) => {
      await putIf(...args)
      throw upstream()
    }
    expect(await own.take()).to.equal(null)
    await own.release()
    expect([store.objects.size, items.size]).to.deep.equal([0, 0])
  })

  it('fails if the write failed and there is no lock', async () => {
    store.putIf = async () => {
      throw upstream()
    }
    expect((await failureOf(locks().take())).code).to.equal('UPSTREAM')
  })

  it('leaves no lock in the bucket if the table refuses', async () => {
    refusing = true
    expect((await failureOf(locks().take())).code).to.equal('DENIED')
    expect(store.objects.size).to.equal(0)
  })

  it('releases a lock that exists in only one place, and never another lock', async () => {
    for (const place of ['object', 'item'] as const) {
      if (place === 'object') store.set(LOCK, lockOf())
      else items.set(PATH, JSON.stringify(lockOf()))
      await locks().release('other')
      expect(store.objects.size + items.size).to.equal(1)
      await locks().release('lock-1')
      expect(store.objects.size + items.size).to.equal(0)
    }
  })

  it('uses only the object if there is no table, and refuses an invalid lock', async () => {
    expect(await locks(null).take()).to.equal(null)
    expect(items.size).to.equal(0)
    store.set(LOCK, 'not a lock')
    const error = await failureOf(locks(null).take())
    expect(error.code).to.equal('STATE_LOCKED')
    expect(error.message).to.include(PATH)
  })

  it("removes the table's digest of the state only if another state is stored", async () => {
    const MD5 = `${PATH}-md5`
    expect(await locks(null).dropStaleDigest()).to.equal(false)
    expect(await locks().dropStaleDigest()).to.equal(false)
    items.set(MD5, createHash('md5').update('{"version":4}').digest('hex'))
    // The state was deleted.
    expect(await locks().dropStaleDigest()).to.equal(false)
    store.set(KEY, { version: 4 })
    expect(await locks().dropStaleDigest()).to.equal(false)
    expect(items.size).to.equal(1)
    expect(await locks().hasStaleDigest()).to.equal(false)
    store.set(KEY, { version: 4, serial: 2 })
    expect(await locks().hasStaleDigest()).to.equal(true)
    expect(items.size).to.equal(1)
    expect(await locks().dropStaleDigest()).to.equal(true)
    expect(items.size).to.equal(0)
  })
})
