import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ANSWER_BY_MS, Budget, DISPATCH_MS, LIMITS_MS, type Timing } from '../../lambda/budget.js'
import type { LambdaPorts } from '../../lambda/context.js'
import { createHandlerWithSecrets } from '../../lambda/storedSecrets.js'
import { oneTimeCodes } from '../../src/lib/adapters/people/oneTimeCodes.js'
import { ClawctlError } from '../../src/lib/domain/errors.js'
import { formatPeople, PEOPLE_KEY } from '../../src/lib/domain/people/people.js'
import type { ObjectStore } from '../../src/lib/ops/ports.js'
import { entryOf, FakeStore, imageOf, NEW, registryText } from '../support/fakes.js'
import { ROOT } from '../support/plane.js'
import { event, TOKEN } from './invoke.js'

const KEY = 'control-api/secrets.json'
const START_MS = Date.parse('2026-11-26T03:00:00Z')
const CODE = '123456'
const CODE_STEP = START_MS / 30_000
/** How long a call waits for a service that never answers. */
const NEVER = Number.POSITIVE_INFINITY

/** A clock that only advances while code waits for it, as soon as all other code has run. */
class VirtualTime implements Timing {
  #now = 0
  #waiting: { at: number; run: () => void }[] = []

  now = () => this.#now

  after = (ms: number, run: () => void) => {
    const entry = { at: this.#now + ms, run }
    this.#waiting.push(entry)
    return () => {
      this.#waiting = this.#waiting.filter((one) => one !== entry)
    }
  }

  readonly clock = {
    now: () => new Date(START_MS + this.#now),
    sleep: (ms: number) => new Promise<void>((resolve) => void this.after(ms, resolve)),
  }

  /** The result of the work and its time. */
  async run<T>(work: Promise<T>): Promise<{ result: T; ms: number }> {
    let ended: { result: T; ms: number } | undefined
    work.then((result) => {
      ended = { result, ms: this.#now }
    })
    while (!ended) {
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
      if (ended) break
      const next = this.#waiting.filter(({ at }) => at !== NEVER).sort((a, b) => a.at - b.at)[0]
      if (!next) throw new Error('nothing is waited for, and the work is not over')
      this.#waiting = this.#waiting.filter((one) => one !== next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
    return ended
  }
}

type Delay = 'quick' | 'slow' | 'hangs'
interface Slowness {
  secrets: Delay
  github: Delay
  ec2: Delay
  s3: Delay
  dispatch: Delay
}
const DELAYS: readonly Delay[] = ['quick', 'slow', 'hangs']

const QUICK: Slowness = { secrets: 'quick', github: 'quick', ec2: 'quick', s3: 'quick', dispatch: 'quick' }
const SLOW: Slowness = { secrets: 'slow', github: 'slow', ec2: 'slow', s3: 'slow', dispatch: 'slow' }

/**
 * Everything takes the longest that its limit allows, less a moment, or does not answer at all.
 * @param world.meanwhile how often somebody else writes the list of people at the same moment
 * @param world.refuses called where GitHub refuses the dispatch
 */
function world(slowness: Slowness, { meanwhile = 0, refuses }: { meanwhile?: number; refuses?: () => void } = {}) {
  let others = meanwhile
  const time = new VirtualTime()
  const lines: string[] = []
  const dispatched: number[] = []
  const take = async <T>(what: keyof Slowness, limit: number, answer: () => T): Promise<T> => {
    const ms = { quick: 10, slow: limit - 10, hangs: NEVER }[slowness[what]]
    await time.clock.sleep(ms)
    return answer()
  }
  const objects = new FakeStore()
  objects.set(KEY, { CONTROL_API_TOKEN: TOKEN, GITHUB_TOKEN: 'ghp_budget_0123456789' })
  const jo = { name: 'Jo', secret: 'A', enrolledAt: '2026-11-01T00:00:00Z', used: null, wrong: 0, lockedUntil: null }
  objects.set(PEOPLE_KEY, JSON.parse(formatPeople([jo])))
  const s3 = <T>(work: () => Promise<T>) => take('s3', LIMITS_MS.s3, work).then((answer) => answer)
  const store: ObjectStore = {
    get: (key) => s3(() => objects.get(key)),
    put: (key, text) => s3(() => objects.put(key, text)),
    putIf: (key, text, etag) =>
      s3(async () => (key === PEOPLE_KEY && others-- > 0 ? false : objects.putIf(key, text, etag))),
    delete: (key) => s3(() => objects.delete(key)),
    list: (prefix, options) => s3(() => objects.list(prefix, options)),
  }
  const github = <T>(answer: () => T) => take('github', LIMITS_MS.github, answer)
  const ec2 = <T>(answer: () => T) => take('ec2', LIMITS_MS.ec2, answer)
  const ports = {
    clock: time.clock,
    store,
    compute: {
      describeHosts: () => ec2(() => []),
      describeHost: () => ec2(() => null),
      fleetImages: () => ec2(() => [imageOf(NEW)]),
      findImage: () => ec2(() => null),
      console: () => ec2(() => ''),
    },
    runs: {
      list: () => github(() => []),
      find: () => github(() => null),
      jobs: () => github(() => []),
      cancel: () => github(() => undefined),
      dispatch: () =>
        take('dispatch', LIMITS_MS.github, () => {
          refuses?.()
          if (refuses) throw new ClawctlError('DENIED', 'GitHub refuses it.')
          dispatched.push(time.now())
          return null
        }),
    },
    registry: { read: () => github(() => ({ text: registryText([entryOf('clawdinator-1')]), origin: 'test' })) },
    github: { repository: () => github(never), workflow: () => github(() => null), site: () => github(() => null) },
    // The real ports load their libraries at the first call, for which no virtual time passes.
    codes: { ...oneTimeCodes, stepOf: async (_secret, code) => (code === CODE ? CODE_STEP : null) },
    controlTokens: { previous: false, callers: [] },
    appId: null,
    secrets: null,
  } satisfies LambdaPorts
  const handle = createHandlerWithSecrets(
    { CONTROL_API_SECRETS_KEY: KEY, S3_BUCKET: 'b', AWS_REGION: 'eu-central-1' },
    (line) => lines.push(line),
    {
      clock: time.clock,
      timing: time,
      store: () =>
        ({ ...objects, get: (key: string) => take('secrets', LIMITS_MS.secrets, () => objects.get(key)) }) as never,
      makePorts: () => ports,
    },
  )
  return { time, lines, dispatched, objects, handle }
}

function never(): never {
  throw new ClawctlError('UPSTREAM', 'It does not say.')
}

/** A verified person is read and written. */
const DEPLOY = { target: 'clawdinator-1', requestedBy: 'Jo', requestId: 'request-0001', code: CODE }
const CLAIM = 'claims/request-0001.json'
const requests = [
  ['POST', '/v1/deploys', JSON.stringify(DEPLOY)],
  ['GET', '/v1/fleet', undefined],
  ['GET', '/v1/deploys', undefined],
  ['GET', '/v1/deploys/request-0001?wait=25', undefined],
  ['GET', '/v1/preflight', undefined],
] as const

describe("the time of the Control API's requests", () => {
  it('ends within 28 s for every combination of slow services, with an answer and a log line', async () => {
    let longest = 0
    for (const secrets of DELAYS) {
      for (const github of DELAYS) {
        for (const ec2 of DELAYS) {
          for (const s3 of DELAYS) {
            for (const dispatch of DELAYS) {
              for (const [method, path, body] of requests) {
                if (method === 'GET' && dispatch !== 'quick') continue
                const { time, lines, handle } = world({ secrets, github, ec2, s3, dispatch })
                const { result, ms } = await time.run(handle(event(method, path, body ? { body } : {})))
                const what = JSON.stringify({ path, secrets, github, ec2, s3, dispatch, status: result.statusCode })
                expect(ms, what).to.be.at.most(ANSWER_BY_MS)
                expect(lines.length, what).to.be.at.least(1)
                longest = Math.max(longest, ms)
              }
            }
          }
        }
      }
    }
    expect(longest, 'the slowest really was slow').to.be.above(20_000)
  })

  it('is enough for a deploy if each step takes its whole limit', async () => {
    const { time, dispatched, handle } = world(SLOW)
    const [[method, path, body]] = requests
    const { ms } = await time.run(handle(event(method, path, { body })))
    expect(dispatched).to.have.length(1)
    const { secrets, github, ec2, s3 } = LIMITS_MS
    expect(secrets + Math.max(github, s3) + Math.max(ec2, 2 * s3) + DISPATCH_MS).to.be.below(ANSWER_BY_MS)
    expect(ms).to.be.at.most(ANSWER_BY_MS)
  })

  it('is enough to release a claim that GitHub refused at the last moment', async () => {
    const slowness = { ...SLOW }
    const { time, objects, handle } = world(slowness, { refuses: () => Object.assign(slowness, { s3: 'quick' }) })
    const [[method, path, body]] = requests
    const { result } = await time.run(handle(event(method, path, { body })))
    expect(JSON.parse(result.body).error.code).to.equal('DENIED')
    expect(objects.objects.get(CLAIM)?.text).to.include('released')
  })

  it('is enough to dispatch every claim; a request that was not sent may be repeated immediately', async () => {
    const [[method, path, body]] = requests
    let unsent = 0
    for (let meanwhile = 0; meanwhile < 4; meanwhile++) {
      for (const ec2 of DELAYS) {
        for (const s3 of ['quick', 'slow'] as const) {
          const slowness = { ...SLOW, ec2, s3 }
          const { time, dispatched, handle } = world(slowness, { meanwhile })
          const { result } = await time.run(handle(event(method, path, { body })))
          if (dispatched.length > 0) continue
          unsent += 1
          // UPSTREAM if a call of S3 was cut off before the claim.
          expect(JSON.parse(result.body).error.code).to.be.oneOf(['TIMED_OUT', 'UPSTREAM'])
          Object.assign(slowness, QUICK)
          await time.run(handle(event(method, path, { body })))
          expect(dispatched.length, JSON.stringify({ meanwhile, ec2, s3 })).to.equal(1)
        }
      }
    }
    expect(unsent, 'some had no time').to.be.above(0)
  })

  it('matches the decision record, step by step', () => {
    const text = readFileSync(join(ROOT, 'docs/adr/0064-the-time-of-a-request.md'), 'utf8')
    const rows = [...text.matchAll(/^ *\| (.+?) +\| +([0-9.]+) s +\|$/gm)].map(([, step, s]) => [
      step,
      Number(s) * 1000,
    ])
    const { secrets, github, ec2, s3 } = LIMITS_MS
    expect(rows).to.deep.equal([
      ['the secrets object, in a new environment', secrets],
      ['GitHub: registry and runs, side by side, the token of the App included', github],
      ['S3: the one-time code, read and written; EC2: the images, beside it', Math.max(ec2, 2 * s3)],
      ['S3: the claim', s3],
      ['GitHub: the dispatch', github],
      ['S3: the release of the claim, where GitHub refused', DISPATCH_MS - s3 - github],
      ['together', secrets + github + Math.max(ec2, 2 * s3) + DISPATCH_MS],
      ['the answer is sent by', ANSWER_BY_MS],
    ])
  })

  it('starts no change if too little time is left for its answer', async () => {
    const time = new VirtualTime()
    const budget = new Budget(time, 3_000)
    await time.run(time.clock.sleep(1_500))
    let begun = 0
    const work = async () => {
      begun += 1
    }
    const { result } = await time.run(budget.call('github', true, work).catch((error: ClawctlError) => error.code))
    expect([result, begun]).to.deep.equal(['TIMED_OUT', 0])
    await time.run(budget.call('github', false, work))
    expect(begun).to.equal(1)
  })
})
