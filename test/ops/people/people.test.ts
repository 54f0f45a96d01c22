import { expect } from 'chai'
import fc from 'fast-check'
import { Secret, TOTP } from 'otpauth'
import { oneTimeCodes } from '../../../src/lib/adapters/people/oneTimeCodes.js'
import { judgeCode, PEOPLE_KEY, type Person, parsePeople } from '../../../src/lib/domain/people/people.js'
import { addPerson, identify, identifyPerson, listPeople, removePerson } from '../../../src/lib/ops/people/people.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeStore, registryOf, START } from '../../support/fakes.js'

const MINUTE_MS = 60_000
const STEP_MS = 30_000

async function world(...names: string[]) {
  const [store, clock] = [new FakeStore(), new FakeClock()]
  const ports = { store, clock, codes: oneTimeCodes }
  for (const name of names) await addPerson(name, { ...ports, registry: registryOf('a', 'b') })
  const people = () => parsePeople(store.objects.get(PEOPLE_KEY)?.text ?? '') ?? []
  /** The code on the phone, this many milliseconds from now. */
  const codeOf = (name: string, after = 0) => {
    const secret = Secret.fromBase32(people().find((person) => person.name === name)?.secret ?? '')
    return new TOTP({ secret }).generate({ timestamp: clock.now().getTime() + after })
  }
  const ask = (code: string | undefined, { requestedBy = 'Jo', purpose = 'deploy all', needed = true } = {}) =>
    identify({ host: 'none', requestedBy, code }, { purpose, needed }, ports)
  const refusal = async (code: string, more = {}) => (await failureOf(ask(code, more))).code
  return { store, clock, ports, people, codeOf, ask, refusal }
}

const VERIFIED = { identity: { host: 'none', person: 'verified' }, enrolled: true }

describe('people', () => {
  it('are verified by the current code of their authenticator, the previous or the next one', async () => {
    for (const after of [0, -STEP_MS, STEP_MS]) {
      const { codeOf, ask } = await world('Jo')
      expect(await ask(codeOf('Jo', after))).to.deep.equal(VERIFIED)
    }
    for (const after of [-3 * STEP_MS, 3 * STEP_MS]) {
      const { codeOf, refusal } = await world('Jo')
      expect(await refusal(codeOf('Jo', after))).to.equal('CODE_WRONG')
    }
  })

  it('have the codes of RFC 6238', async () => {
    const secret = Secret.fromLatin1('12345678901234567890').base32
    for (const [seconds, code] of [
      [59, '287082'],
      [1111111109, '081804'],
      [1234567890, '005924'],
      [20000000000, '353130'],
    ] as const) {
      expect(await oneTimeCodes.stepOf(secret, code, new Date(seconds * 1000))).to.equal(Math.floor(seconds / 30))
    }
  })

  it('can use a code once; the same request may be repeated with it', async () => {
    const { codeOf, ask, refusal, clock } = await world('Jo')
    const code = codeOf('Jo')
    await ask(code)
    expect(await ask(code)).to.deep.equal(VERIFIED)
    expect(await refusal(code, { purpose: 'deploy a' })).to.equal('CODE_WRONG')
    const earlier = codeOf('Jo', -STEP_MS)
    expect(await refusal(earlier, { purpose: 'deploy a' })).to.equal('CODE_WRONG')
    await clock.sleep(2 * STEP_MS)
    expect(await ask(codeOf('Jo'), { purpose: 'deploy a' })).to.deep.equal(VERIFIED)
  })

  it('are verified only once by one code in two concurrent requests', async () => {
    const { codeOf, ask } = await world('Jo')
    const code = codeOf('Jo')
    const asked = ['deploy all', 'deploy a', 'deploy b'].map((purpose) => ask(code, { purpose }))
    const outcomes = await Promise.allSettled(asked)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(1)
  })

  it('are locked for 15 minutes after five wrong codes, also for right ones; others are not', async () => {
    const { codeOf, ask, refusal, clock, people } = await world('Jo', 'Ada')
    for (let nth = 0; nth < 5; nth++) expect(await refusal('000000')).to.equal('CODE_WRONG')
    const error = await failureOf(ask(codeOf('Jo')))
    expect([error.code, error.retryAfterS]).to.deep.equal(['CODE_LOCKED', 900])
    expect(await ask(codeOf('Ada'), { requestedBy: 'ada ' })).to.deep.equal(VERIFIED)
    await clock.sleep(15 * MINUTE_MS)
    expect(await ask(codeOf('Jo'))).to.deep.equal(VERIFIED)
    expect(people()[0]).to.include({ wrong: 0, lockedUntil: null })
  })

  it('are claimed without a code, which is enough only while no person is enrolled', async () => {
    const what = { purpose: 'freeze all', what: 'for a freeze' }
    const nobody = await world()
    const jo = { host: 'none', requestedBy: 'Jo', code: undefined } as const
    expect(await identifyPerson(jo, what, nobody.ports)).to.deep.equal({ host: 'none', person: 'claimed' })
    const enrolled = await world('Ada')
    expect((await failureOf(identifyPerson(jo, what, enrolled.ports))).code).to.equal('CODE_REQUIRED')
    const none = { ...jo, requestedBy: undefined }
    expect((await failureOf(identifyPerson(none, what, nobody.ports))).code).to.equal('PERSON_REQUIRED')
  })

  it('are not read if no person is required, and not verified if none is enrolled', async () => {
    const { ask, store } = await world()
    store.get = () => Promise.reject(new Error('nobody is to be looked up'))
    expect(await ask(undefined, { needed: false })).to.deep.include({ enrolled: false })
    const empty = await world()
    expect(await empty.refusal('123456')).to.equal('CODE_WRONG')
  })

  it('have unique names, which are not ids of instances', async () => {
    const { ports } = await world('Jo')
    const add = async (name: string) =>
      (await failureOf(addPerson(name, { ...ports, registry: registryOf('a-1') }))).code
    expect(await add('jo')).to.equal('USAGE')
    expect(await add('a-1')).to.equal('INVALID_REQUEST')
    expect(await add('\u3164')).to.equal('INVALID_REQUEST')
    expect(await listPeople(ports)).to.deep.equal([{ name: 'Jo', enrolledAt: START, lockedUntil: null }])
    expect(await removePerson('JO', ports.store)).to.deep.equal({ name: 'JO', left: 0 })
    expect((await failureOf(removePerson('Jo', ports.store))).code).to.equal('NOT_FOUND')
  })

  it("can't be verified if the list is damaged: every decision fails", async () => {
    const { ask, store } = await world()
    store.set(PEOPLE_KEY, '{"people":[]}')
    expect((await failureOf(ask(undefined))).code).to.equal('NOT_CONFIGURED')
  })

  it('are added and removed although the answer to the write is lost', async () => {
    const { store, ports, people } = await world()
    store.loseAnswer()
    const { uri } = await addPerson('Jo', { ...ports, registry: registryOf('a') })
    expect(uri).to.include(people()[0]?.secret)
    store.loseAnswer()
    expect(await removePerson('Jo', store)).to.deep.equal({ name: 'Jo', left: 0 })
  })

  it('have names that a request may contain', async () => {
    const { ports, people } = await world()
    for (const name of ['a\nb', 'x'.repeat(65), 'a\u001b[2J', 'a\u202eb', ' ']) {
      const refused = await failureOf(addPerson(name, { ...ports, registry: registryOf('a') }))
      expect(refused.code, JSON.stringify(name)).to.equal('INVALID_REQUEST')
    }
    expect(people()).to.deep.equal([])
  })

  const person: Person = { name: 'Jo', secret: '', enrolledAt: START, used: null, wrong: 0, lockedUntil: null }
  const attempt = fc.record({
    step: fc.option(fc.integer({ min: 1, max: 6 })),
    purpose: fc.constantFrom('x', 'y'),
    after: fc.integer({ min: 0, max: 10 * MINUTE_MS }),
  })
  it("can't use a code for two purposes in any order, or enter more than four wrong ones in a row", () =>
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 40 }), (attempts) => {
        let state = person
        let time = Date.parse(START)
        const taken = new Map<number, string>()
        for (const { step, purpose, after } of attempts) {
          time += after
          const judged = judgeCode(state, step, purpose, new Date(time))
          state = judged.person
          expect(state.wrong).to.be.below(5)
          if (judged.verdict !== 'right' || step === null) continue
          expect(taken.get(step) ?? purpose).to.equal(purpose)
          expect(Math.max(step, ...taken.keys())).to.equal(step)
          taken.set(step, purpose)
        }
      }),
    ))
})
