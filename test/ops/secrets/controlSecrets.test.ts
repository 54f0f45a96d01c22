import { expect } from 'chai'
import * as fc from 'fast-check'
import {
  CONTROL_SECRETS_KEY,
  judgeControlSecrets,
  PREVIOUS_SECRETS_KEY,
} from '../../../src/lib/domain/controlSecrets.js'
import { checkControlSecrets, editControlSecrets } from '../../../src/lib/ops/secrets/controlSecrets.js'
import { failureOf } from '../../support/failure.js'
import { FakeStore } from '../../support/fakes.js'

const TOKEN = 'cct_current_0123456789'
const NEXT = 'cct_next_0123456789'
const good = { CONTROL_API_TOKEN: TOKEN, GITHUB_TOKEN: 'ghp_0123456789abcdef' }
const PEM = '-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----'

describe('the secrets object', () => {
  const problems = (object: unknown, around = {}) => {
    const verdict = judgeControlSecrets(JSON.stringify(object), around)
    return verdict.ok ? [] : verdict.problems
  }

  it('is complete with a control token and one credential for GitHub, from object or environment', () => {
    expect(problems(good)).to.deep.equal([])
    expect(problems({ ...good, CONTROL_API_TOKEN_PREVIOUS: '' })).to.deep.equal([])
    expect(problems({ CONTROL_API_TOKEN: TOKEN, GITHUB_APP_PRIVATE_KEY: PEM })).to.deep.equal([])
    const base64 = Buffer.from(PEM).toString('base64')
    expect(problems({ CONTROL_API_TOKEN: TOKEN, GITHUB_APP_PRIVATE_KEY: base64 })).to.deep.equal([])
    expect(problems({ GITHUB_TOKEN: good.GITHUB_TOKEN }, { CONTROL_API_TOKEN: TOKEN })).to.deep.equal([])
  })

  it('reports every problem together, by names', () => {
    const cases: [object, RegExp][] = [
      [{}, /CONTROL_API_TOKEN is missing.*GITHUB_TOKEN is missing/],
      [{ ...good, CONTROL_API_TOKEN: 'short' }, /CONTROL_API_TOKEN has less than 16/],
      [{ ...good, OTHER: 'x' }, /"OTHER" is not one of the names/],
      [{ ...good, GITHUB_TOKEN: 1 }, /GITHUB_TOKEN is not text/],
      [{ ...good, GITHUB_APP_PRIVATE_KEY: PEM }, /both set; set one of them/],
      [{ ...good, GITHUB_APP_PRIVATE_KEY: 'x' }, /not a private key/],
      [{ ...good, CONTROL_API_CALLER_TOKENS: '{"clawdinator-1":"x"}' }, /CALLER_TOKENS is not JSON/],
      [{ ...good, CONTROL_API_TOKEN_PREVIOUS: TOKEN }, /PREVIOUS is CONTROL_API_TOKEN/],
      [[], /one JSON object/],
      [{ ...good, __proto__: 1, constructor: 'x' }, /"constructor" is not one of the names/],
    ]
    for (const [object, words] of cases) expect(problems(object).join('; ')).to.match(words)
  })

  it('never repeats a value', () => {
    const value = fc.stringMatching(/^v[A-Za-z0-9]{8,40}z$/)
    fc.assert(
      fc.property(
        value,
        fc.constantFrom(...Object.keys(good), 'GITHUB_APP_PRIVATE_KEY', 'CONTROL_API_CALLER_TOKENS'),
        (text, name) => {
          expect(problems({ [name]: text }).join(' ')).not.to.include(text)
        },
      ),
    )
  })
})

describe('secrets control-api', () => {
  const world = (object?: object) => {
    const store = new FakeStore()
    if (object) store.set(CONTROL_SECRETS_KEY, object)
    return { store, digest: (text: string) => `#${text.length}` }
  }
  const to = (object: object) => async () => JSON.stringify(object)

  it('writes a complete object, shows names and digests, and keeps the previous version', async () => {
    const ports = world(good)
    const next = { CONTROL_API_TOKEN: NEXT, CONTROL_API_TOKEN_PREVIOUS: TOKEN, GITHUB_TOKEN: good.GITHUB_TOKEN }
    const { entries, written } = await editControlSecrets(to(next), ports)
    expect(written).to.equal(true)
    expect(entries.map(({ name, digest, change }) => `${name} ${digest} ${change}`)).to.deep.equal([
      'CONTROL_API_TOKEN #19 changed',
      'GITHUB_TOKEN #20 same',
      'CONTROL_API_TOKEN_PREVIOUS #22 added',
    ])
    expect(JSON.stringify(entries)).not.to.include(NEXT)
    expect(JSON.parse(ports.store.objects.get(CONTROL_SECRETS_KEY)?.text ?? '')).to.deep.equal(next)
    expect(JSON.parse(ports.store.objects.get(PREVIOUS_SECRETS_KEY)?.text ?? '')).to.deep.equal(good)
  })

  it('creates the first object, and writes nothing without a change', async () => {
    const ports = world()
    expect((await failureOf(checkControlSecrets(ports))).code).to.equal('NOT_FOUND')
    expect((await editControlSecrets(to(good), ports)).written).to.equal(true)
    ports.store.puts.length = 0
    expect((await editControlSecrets(to(good), ports)).written).to.equal(false)
    expect((await editControlSecrets(async () => null, ports)).written).to.equal(false)
    expect(ports.store.puts).to.deep.equal([])
    expect((await checkControlSecrets(ports)).problems).to.deep.equal([])
  })

  it('refuses an object that the Control API would not accept, and a concurrent change', async () => {
    const ports = world(good)
    const invalid = await failureOf(editControlSecrets(to({ CONTROL_API_TOKEN: NEXT }), ports))
    expect([invalid.code, invalid.details]).to.deep.equal([
      'INVALID_SECRETS',
      ['GITHUB_TOKEN is missing, and so is GITHUB_APP_PRIVATE_KEY.'],
    ])
    const slower = async () => {
      ports.store.set(CONTROL_SECRETS_KEY, { ...good, CONTROL_API_TOKEN: 'cct_theirs_0123456789' })
      return JSON.stringify({ ...good, CONTROL_API_TOKEN: NEXT })
    }
    const conflict = await failureOf(editControlSecrets(slower, ports))
    expect(conflict.code).to.equal('OBJECT_CONFLICT')
    expect(conflict.hint).to.include('else it undoes the other change')
    expect(ports.store.objects.get(CONTROL_SECRETS_KEY)?.text).to.include('theirs')
  })

  it('checks an unusable object, by its names', async () => {
    const { problems, entries } = await checkControlSecrets(world({ CONTROL_API_TOKEN: 'short', OTHER: 'x' }))
    expect(entries.map(({ name }) => name)).to.deep.equal(['CONTROL_API_TOKEN', 'OTHER'])
    expect(problems).to.have.length(3)
  })
})
