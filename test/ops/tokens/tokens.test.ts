import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Authenticator } from '../../../lambda/authenticate.js'
import { ageIdentities, ageKeys } from '../../../src/lib/adapters/bundles/ageIdentities.js'
import { secretsFolder } from '../../../src/lib/adapters/bundles/secretsFolder.js'
import { newToken } from '../../../src/lib/adapters/tokens/newTokens.js'
import { renderTokenChange } from '../../../src/lib/cli/render/tokens.js'
import { CONTROL_SECRETS_KEY } from '../../../src/lib/domain/controlSecrets.js'
import { encryptedFor, endRotation, listTokens, makeToken, removeToken } from '../../../src/lib/ops/tokens/tokens.js'
import { failureOf } from '../../support/failure.js'
import { FakeStore, registryOf } from '../../support/fakes.js'

const SHARED = 'cct_shared_0123456789'
const bytesOf = (text: string) => new TextEncoder().encode(text)

describe("hosts' own tokens", () => {
  let folder: string
  let host: Awaited<ReturnType<typeof ageKeys.generate>>
  let maintainer: Awaited<ReturnType<typeof ageKeys.generate>>
  let store: FakeStore
  const registry = registryOf('a', 'b')

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-tokens-'))
    ;[host, maintainer] = await Promise.all([ageKeys.generate(), ageKeys.generate()])
    await secretsFolder(folder).write(
      new Map([
        ['recipients/maintainers.txt', bytesOf(maintainer.recipient)],
        ['recipients/a.txt', bytesOf(host.recipient)],
      ]),
    )
    store = new FakeStore()
    store.set(CONTROL_SECRETS_KEY, { CONTROL_API_TOKEN: SHARED, GITHUB_TOKEN: 'ghp_0123456789abcdef' })
  })
  afterEach(() => rm(folder, { recursive: true }))

  const make = (id: string, rotate: boolean) =>
    makeToken(
      { id, scope: 'deploy', rotate },
      { store, newToken, tokenPlace: encryptedFor({ secrets: secretsFolder(folder), keys: ageKeys, registry }) },
    )
  /** The token that the host has after its next bundle. */
  async function tokenOf(id: string, text: string): Promise<string> {
    const identity = await ageIdentities({}).parse(bytesOf(text), 'test')
    const file = await readFile(join(folder, `clawdinator-control-token-${id}.age`))
    return Buffer.from((await identity.decrypt(file)) ?? []).toString()
  }
  /** The caller of the token by the Control API; null if the token is not accepted. */
  const callerOf = (token: string) => {
    const env = JSON.parse(store.objects.get(CONTROL_SECRETS_KEY)?.text ?? '{}')
    try {
      return new Authenticator(env).identify(`Bearer ${token}`).caller
    } catch {
      return 'nobody'
    }
  }

  it('are encrypted for the host and the maintainers, and authenticate the host', async () => {
    expect(await make('a', false)).to.deep.equal({
      ...{ id: 'a', scope: 'deploy', accepted: 1 },
      written: 'clawdinator-control-token-a.age',
    })
    const token = await tokenOf('a', host.text)
    expect(await tokenOf('a', maintainer.text)).to.equal(token)
    expect([callerOf(token), callerOf(SHARED)]).to.deep.equal(['a', null])
    expect(store.objects.get(CONTROL_SECRETS_KEY)?.text).not.to.include(token)
    expect((await failureOf(make('a', false))).code).to.equal('USAGE')
    const digest = createHash('sha256').update(token).digest('hex').slice(0, 12)
    expect(await listTokens({ store, registry })).to.deep.equal([
      { id: 'a', scope: 'deploy', digests: [digest] },
      { id: 'b', scope: 'deploy', digests: [] },
    ])
  })

  it('are both accepted during a rotation, then only the new one, then none', async () => {
    await make('a', false)
    const old = await tokenOf('a', host.text)
    expect((await make('a', true)).accepted).to.equal(2)
    const next = await tokenOf('a', host.text)
    expect([callerOf(old), callerOf(next)]).to.deep.equal(['a', 'a'])
    expect((await failureOf(make('a', true))).hint).to.include('--end')
    await endRotation('a', 'deploy', store)
    expect([callerOf(old), callerOf(next)]).to.deep.equal(['nobody', 'a'])
    await removeToken('a', 'deploy', store)
    expect([callerOf(next), callerOf(SHARED)]).to.deep.equal(['nobody', null])
    expect((await failureOf(removeToken('a', 'deploy', store))).code).to.equal('USAGE')
  })

  it('are created again if the command was killed before the Control API accepted them', async () => {
    store.beforePut = () => {
      throw new Error('killed')
    }
    await make('a', false).catch(() => {})
    store.beforePut = () => {}
    await make('a', false)
    expect(callerOf(await tokenOf('a', host.text))).to.equal('a')
  })

  it('change nothing if a recipient, an id or the secrets object is missing, or another process writes', async () => {
    const before = store.objects.get(CONTROL_SECRETS_KEY)?.text
    expect((await failureOf(make('b', false))).code).to.equal('INVALID_SECRETS')
    expect((await failureOf(make('c', false))).code).to.equal('UNKNOWN_TARGET')
    expect(store.objects.get(CONTROL_SECRETS_KEY)?.text).to.equal(before)
    const { putIf } = store
    store.putIf = async (...args) => {
      store.set(CONTROL_SECRETS_KEY, before)
      return putIf.apply(store, args)
    }
    expect((await failureOf(make('a', false))).code).to.equal('UPSTREAM')
    store.objects.delete(CONTROL_SECRETS_KEY)
    expect((await failureOf(make('a', false))).code).to.equal('NOT_CONFIGURED')
  })

  it('are accepted although the answer to the write is lost, or another write came between', async () => {
    store.loseAnswer()
    await make('a', false)
    expect(callerOf(await tokenOf('a', host.text))).to.equal('a')
    const { get } = store
    store.get = async (key) => {
      const object = await get.call(store, key)
      store.get = get
      store.set(CONTROL_SECRETS_KEY, { ...JSON.parse(object?.text ?? ''), GITHUB_TOKEN: 'ghp_another_0123456789' })
      return object
    }
    await endRotation('a', 'deploy', store)
    expect(store.objects.get(CONTROL_SECRETS_KEY)?.text).to.include('ghp_another')
  })

  it("are not created for an owner that the table can't name", async () => {
    const written: string[] = []
    const tokenPlace = { write: async (id: string) => String(written.push(id)) }
    const made = makeToken({ id: 'A B', scope: 'read', rotate: false }, { store, newToken, tokenPlace })
    expect((await failureOf(made)).code).to.equal('USAGE')
    expect(written).to.deep.equal([])
  })

  it('for reading belong to no instance', async () => {
    let token = ''
    const tokenPlace = {
      write: async (_id: string, made: string) => {
        token = made
        return 'a file'
      },
    }
    await makeToken({ id: 'phone', scope: 'read', rotate: false }, { store, newToken, tokenPlace })
    const env = JSON.parse(store.objects.get(CONTROL_SECRETS_KEY)?.text ?? '{}')
    const bearer = new Authenticator(env).identify(`Bearer ${token}`)
    expect(bearer).to.deep.include({ caller: null, scope: 'read' })
    const rotated = await makeToken({ id: 'phone', scope: 'read', rotate: true }, { store, newToken, tokenPlace })
    expect(renderTokenChange(rotated)).to.include('clawctl token rotate phone --read --end')
  })
})
