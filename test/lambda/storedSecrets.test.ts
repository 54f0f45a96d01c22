import { expect } from 'chai'
import { createHandlerWithSecrets } from '../../lambda/storedSecrets.js'
import { SECRET_NAMES } from '../../src/lib/domain/controlSecrets.js'
import { FakeClock, FakeStore, upstream } from '../support/fakes.js'
import { event, TOKEN } from './invoke.js'

const KEY = 'control-api/secrets.json'
const NEXT = 'cct_next_0123456789'
/** The other required values beside the token. */
const GITHUB_TOKEN = 'ghp_stored_0123456789'
const object = (token: string, more: Record<string, string> = {}) => ({
  CONTROL_API_TOKEN: token,
  GITHUB_TOKEN,
  ...more,
})

/**
 * A handler without secrets in its environment, and the store that it reads. The tested routes make no other upstream
 * call.
 */
function world(env: Record<string, string> = {}) {
  const store = new FakeStore()
  const clock = new FakeClock()
  const lines: string[] = []
  let reads = 0
  const get = store.get.bind(store)
  store.get = async (key) => {
    reads += 1
    return get(key)
  }
  const handle = createHandlerWithSecrets({ CONTROL_API_SECRETS_KEY: KEY, ...env }, (line) => lines.push(line), {
    store: () => store,
    clock,
    emit: (line) => lines.push(line),
  })
  /** An authenticated caller gets 404 here, every other caller 401. */
  const ask = async (token = TOKEN) => {
    const result = await handle(event('GET', '/nowhere', { headers: { authorization: `Bearer ${token}` } }))
    return { status: result.statusCode, code: JSON.parse(result.body).error.code as string, text: result.body }
  }
  return { store, clock, lines, ask, reads: () => reads }
}

describe("the Control API's secrets", () => {
  it('are read once, and again after five minutes: a rotation needs no apply', async () => {
    const { store, clock, ask, reads } = world()
    store.set(KEY, object(TOKEN))
    expect((await ask()).status).to.equal(404)
    expect((await ask(NEXT)).status).to.equal(401)
    expect(reads()).to.equal(1)

    store.set(KEY, object(NEXT, { CONTROL_API_TOKEN_PREVIOUS: TOKEN }))
    await clock.sleep(5 * 60_000)
    expect([(await ask()).status, (await ask(NEXT)).status]).to.deep.equal([404, 404])
    expect(reads()).to.equal(2)
  })

  it("stay in use while they can't be read, and are soon read again", async () => {
    const { store, clock, ask, lines } = world()
    store.set(KEY, object(TOKEN))
    await ask()
    const get = store.get
    store.get = async () => {
      throw upstream()
    }
    await clock.sleep(5 * 60_000)
    expect((await ask()).status).to.equal(404)
    const logged = lines.map((line) => JSON.parse(line)).find((line) => line.secrets)
    expect(logged).to.include({ secrets: 'not taken', code: 'UPSTREAM', goesOn: true })
    expect(lines.map((line) => JSON.parse(line).SecretsUnreadable)).to.include(1)
    store.get = get
    store.set(KEY, object(NEXT))
    await clock.sleep(5_000)
    expect((await ask()).status).to.equal(401)
  })

  it('are read once for concurrent requests, and a slow read does not delay requests with known secrets', async () => {
    const { store, clock, ask, reads } = world()
    store.set(KEY, object(TOKEN))
    const get = store.get
    let answer = () => {}
    store.get = async (key) => {
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return get(key)
    }
    const cold = Promise.all(Array.from({ length: 10 }, () => ask()))
    answer()
    expect((await cold).map(({ status }) => status)).to.deep.equal(Array(10).fill(404))
    expect(reads()).to.equal(1)

    await clock.sleep(5 * 60_000)
    store.set(KEY, object(NEXT))
    expect((await Promise.all([ask(), ask()])).map(({ status }) => status)).to.deep.equal([404, 404])
    expect((await ask(NEXT)).status).to.equal(401)
    answer()
    await new Promise(setImmediate)
    expect((await ask(NEXT)).status).to.equal(404)
    expect(reads()).to.equal(2)
  })

  it("are reported as the server's own failure if they were never read, with few reads", async () => {
    const { store, clock, ask, reads } = world()
    for (let i = 0; i < 20; i++) expect(await ask()).to.include({ status: 500, code: 'NOT_CONFIGURED' })
    expect(reads()).to.equal(1)
    store.set(KEY, object(TOKEN))
    await clock.sleep(5_000)
    expect((await ask()).status).to.equal(404)
  })

  it('of an invalid form are refused as a whole, and never quoted', async () => {
    for (const bad of [
      `{"CONTROL_API_TOKEN": "${TOKEN}", "OTHER": "x"}`,
      `["${TOKEN}"]`,
      TOKEN,
      `{"GITHUB_TOKEN": 1}`,
    ]) {
      const { store, lines, ask } = world()
      store.set(KEY, bad)
      const answer = await ask()
      expect(answer).to.include({ status: 500, code: 'NOT_CONFIGURED' })
      expect(answer.text + lines.join('')).not.to.include(TOKEN)
    }
  })

  it('stay in use while a new object is incomplete, and log, metric and preflight name the reason', async () => {
    for (const bad of [
      { CONTROL_API_TOKEN: NEXT },
      { GITHUB_TOKEN },
      object('short'),
      object(NEXT, { OTHER: 'x' }),
      '{broken',
    ]) {
      const { store, clock, ask, lines } = world()
      store.set(KEY, object(TOKEN))
      await ask()
      store.set(KEY, bad)
      await clock.sleep(5 * 60_000)
      expect([(await ask()).status, (await ask(NEXT)).status]).to.deep.equal([404, 401])
      const logged = lines.map((line) => JSON.parse(line)).find((line) => line.secrets)
      expect(logged).to.include({ code: 'NOT_CONFIGURED', goesOn: true })
      expect(lines.map((line) => JSON.parse(line).SecretsUnreadable)).to.include(1)
      expect(lines.join('')).not.to.include(NEXT)
      store.set(KEY, object(NEXT))
      await clock.sleep(5_000)
      expect((await ask(NEXT)).status).to.equal(404)
    }
  })

  it('are overridden by variables of the environment', async () => {
    const { store, ask } = world({ CONTROL_API_TOKEN: TOKEN, GITHUB_TOKEN: '' })
    store.set(KEY, object(NEXT))
    expect([(await ask()).status, (await ask(NEXT)).status]).to.deep.equal([404, 401])
  })

  it('come only from the environment if no object is named', async () => {
    const { ask, reads } = world({ CONTROL_API_SECRETS_KEY: '', CONTROL_API_TOKEN: TOKEN })
    expect((await ask()).status).to.equal(404)
    expect(reads()).to.equal(0)
  })

  it('have unique names', () => expect(new Set(SECRET_NAMES).size).to.equal(SECRET_NAMES.length))
})
