import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import type { LambdaPorts } from '../../lambda/context.js'
import { parseEvent } from '../../lambda/event.js'
import { createHandler } from '../../lambda/handler.js'
import { page } from '../../lambda/page.js'
import { ROUTES } from '../../lambda/routes.js'
import { oneTimeCodes } from '../../src/lib/adapters/people/oneTimeCodes.js'
import { formatRunTitle } from '../../src/lib/domain/contract/order.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import type { Run } from '../../src/lib/domain/deploy/run.js'
import type { Clock } from '../../src/lib/ops/ports.js'
import { FakeStore, hostOf, imageOf, NEW, OLD, registryOf, registrySource, START } from '../support/fakes.js'
import { answerProblems } from '../support/heldToContract.js'

/**
 * Function URL events close to valid ones: a valid request with a few errors, or a different value. The upstreams are
 * in memory and always answer, so a 5xx is a defect of the handler.
 */
const TOKEN = 'cct_fuzz_current_0123456789'
const PREVIOUS = 'cct_fuzz_previous_0123456789'
const GITHUB_TOKEN = 'ghp_fuzz_secret_0123456789'
/** Only of clawdinator-1. */
const CALLER_TOKEN = 'cct_fuzz_caller_0123456789'
const MINUTE_MS = 60_000
/** An invalid request must not get a larger answer. */
const LARGEST_REFUSAL = 4096
const SECRETS = [TOKEN, PREVIOUS, GITHUB_TOKEN, CALLER_TOKEN]
const IDS = ['clawdinator-1', 'clawdinator-2']

const secret = fc.constantFrom(...SECRETS, `Bearer ${TOKEN}`)
const odd = fc.constantFrom(
  '',
  ' ',
  '\u0000',
  '\n',
  '\ud800',
  '\u202e',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '../..',
  '%',
  '%00',
  '%zz',
  '%2e%2e%2f',
  '$(id)',
  'a'.repeat(129),
  '🦀'.repeat(64),
  '-1',
  '1e3',
  'null',
)
/** Any code point. fast-check's own arbitrary builds a table of all of them, which takes a second. */
const anyCharacter = fc.nat({ max: 0x10ffff - 0x800 }).map((n) => String.fromCodePoint(n < 0xd800 ? n : n + 0x800))
const text = fc.oneof(
  { weight: 4, arbitrary: odd },
  { weight: 2, arbitrary: secret },
  { weight: 3, arbitrary: fc.string({ unit: anyCharacter, maxLength: 80 }) },
  { weight: 2, arbitrary: fc.string({ maxLength: 20 }) },
)
const value = fc.oneof(
  { weight: 5, arbitrary: text },
  {
    weight: 1,
    arbitrary: fc.anything({ withNullPrototype: true, withBigInt: false, maxDepth: 2, maxKeys: 3, key: odd }),
  },
)
const id = fc.constantFrom(...IDS, 'clawdinator-9', 'all')
const requestId = fc.oneof(
  fc.constantFrom('request-0001', 'request-0002', 'request-0003'),
  fc.uuid(),
  fc.bigInt({ min: 20_000_000_001n, max: 20_000_000_020n }).map(String),
)

const goodBody = fc.record(
  {
    target: id,
    amiOverride: fc.constantFrom(OLD.id, NEW.id, 'ami-12345678'),
    caller: fc.constantFrom(...IDS),
    requestedBy: fc.constantFrom('Jo', 'Zoë 🦀', ' Jo ', '\u3164', 'clawdinator-1'),
    code: fc.constantFrom('123456', '000000'),
    requestId,
  },
  { requiredKeys: ['target'] },
)
/** Values that the policy allows, so that enough requests start a run. */
const plainBody = fc.record({ target: fc.constantFrom(...IDS), requestedBy: fc.constantFrom('Jo', 'Ada') })
const field = fc.oneof(
  fc.constantFrom('target', 'amiOverride', 'caller', 'requestedBy', 'requestId', 'code', 'identity'),
  odd,
)
const goodFreeze = fc.record(
  {
    target: id,
    reason: fc.constantFrom('Discord is down', ' '),
    forSeconds: fc.integer({ min: 0, max: 7200 }),
    requestedBy: fc.constantFrom('Jo', '-'),
    code: fc.constant('123456'),
  },
  { requiredKeys: ['target'] },
)
const nearBody = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: goodBody },
      { weight: 3, arbitrary: plainBody },
      { weight: 1, arbitrary: goodFreeze },
    ),
    fc.oneof(fc.constant([]), fc.array(fc.tuple(field, value), { maxLength: 2 })),
  )
  .map(([good, changes]) => `{${[...Object.entries(good), ...changes].map(member).join(',')}}`)

/** As text, so that `__proto__` and repeated keys are sent unchanged. */
function member([key, one]: [string, unknown]): string {
  return `${JSON.stringify(key)}:${JSON.stringify(one) ?? 'null'}`
}

const oddBody = fc.oneof(
  fc.json({ maxDepth: 3 }),
  text,
  fc.integer({ min: 1, max: 6000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.integer({ min: 1, max: 6000 }).map((depth) => `{"target":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`),
  fc.integer({ min: 16_000, max: 17_000 }).map((size) => JSON.stringify({ target: 'x'.repeat(size - 13) })),
  fc.constantFrom(
    'x'.repeat(200_000),
    '\ufeff{"target":"all"}',
    '{"target":"all"}{"target":"all"}',
    'NaN',
    '"\\ud800"',
  ),
)

/** Plain text, base64 of it or of other bytes, or one marked as the other. */
const sentBody = fc.oneof({ weight: 6, arbitrary: nearBody }, { weight: 2, arbitrary: oddBody }).chain((body) =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant({ body, isBase64Encoded: false }) },
    { weight: 3, arbitrary: fc.constant({ body: Buffer.from(body).toString('base64'), isBase64Encoded: true }) },
    { weight: 1, arbitrary: fc.constant({ body, isBase64Encoded: true }) },
    {
      weight: 1,
      arbitrary: fc.constant({ body: Buffer.from(body, 'utf16le').toString('base64'), isBase64Encoded: true }),
    },
    {
      weight: 1,
      arbitrary: fc
        .uint8Array({ maxLength: 40 })
        .map((bytes) => ({ body: Buffer.from(bytes).toString('base64'), isBase64Encoded: true })),
    },
  ),
)

const oddPath = fc.oneof(
  text.map((one) => `/v1/deploys/${one}`),
  secret.map((one) => `/v1/${one}`),
  text,
  fc.constantFrom('/', '//', '/v1', '/v1/', '/v1/deploys/', '/V1/fleet', '/v1//fleet', '/v1/fleet/', '/v1/deploys/a/b'),
)
const posts = ROUTES.filter(({ method }) => method === 'POST')
const goodPlace = fc.oneof(fc.constantFrom(...posts), fc.constantFrom(...ROUTES)).chain((route) =>
  fc.record({
    method: fc.constant<string>(route.method),
    path: requestId.map((one) => route.path.replace(/\{[^}]+\}/, one)),
  }),
)
const oddMethod = fc.oneof(fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'get', 'TRACE'), text)
const place = fc.oneof(
  { weight: 10, arbitrary: goodPlace },
  { weight: 1, arbitrary: fc.tuple(goodPlace, oddMethod).map(([{ path }, method]) => ({ path, method })) },
  { weight: 2, arbitrary: fc.record({ method: fc.constantFrom('GET', 'POST'), path: oddPath }) },
)
const query = fc.oneof(
  { weight: 8, arbitrary: fc.constant('') },
  { weight: 2, arbitrary: fc.integer({ min: -5, max: 120 }).map((limit) => `limit=${limit}`) },
  { weight: 1, arbitrary: fc.tuple(text, text).map(([name, one]) => `${name}=${one}`) },
  { weight: 1, arbitrary: text.map((one) => `limit=${one}&limit=1&limit=${one}`) },
)
const authorization = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(`Bearer ${TOKEN}`, `bearer ${PREVIOUS}`, `Bearer ${CALLER_TOKEN}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      TOKEN,
      `Basic ${TOKEN}`,
      `Bearer ${TOKEN} `,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${GITHUB_TOKEN}`,
    ),
  },
  { weight: 1, arbitrary: value },
)

const near = fc
  .record({ place, query, authorization, sent: sentBody, others: fc.dictionary(odd, value, { maxKeys: 2 }) })
  .map(({ place: { method, path }, query, authorization, sent, others }) => ({
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    headers: { ...others, authorization, 'content-type': 'application/json' } as Record<string, unknown>,
    requestContext: { http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' }, requestId: 'aws-1' },
    ...(method === 'POST' || method === 'PUT' ? sent : { isBase64Encoded: false }),
  }))

/** One part of the event is replaced or missing. */
const broken = fc
  .tuple(
    near,
    fc.constantFrom('rawPath', 'rawQueryString', 'headers', 'requestContext', 'body', 'isBase64Encoded', '__proto__'),
    fc.oneof(fc.constant(undefined), value),
  )
  .map(([event, key, one]) => ({ ...event, [key]: one }))

export const anyEvent: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 16, arbitrary: near },
  { weight: 3, arbitrary: broken },
  { weight: 1, arbitrary: fc.anything({ withNullPrototype: true, withDate: true, withTypedArray: true, maxDepth: 3 }) },
)

/** Upstreams that answer immediately, keep little, and never fail. */
export function calmPorts(): LambdaPorts {
  let time = Date.parse(START)
  const clock: Clock = {
    now: () => new Date(time),
    async sleep(ms) {
      time += ms
    },
  }
  const store = new FakeStore()
  const hosts: Host[] = IDS.slice(0, 1).map((one) => hostOf(one))
  const images = [imageOf(OLD), imageOf(NEW)]
  let runs: Run[] = []
  let count = 0
  return {
    clock,
    codes: oneTimeCodes,
    store: {
      get: (key) => store.get(key),
      put: (key, one) => store.put(key, one),
      putIf: (key, one, etag) => store.putIf(key, one, etag),
      delete: (key) => store.delete(key),
      list: (prefix, options) => store.list(prefix, options),
    },
    registry: registrySource(registryOf(...IDS)),
    compute: {
      describeHosts: async () => hosts,
      describeHost: async () => null,
      console: async () => '',
      findImage: async (one: string) => images.find((other) => other.id === one) ?? null,
      fleetImages: async () => images,
    },
    runs: {
      async dispatch(request) {
        count += 1
        // Deploys are rare: a claim expires before a hundred later runs hide its run.
        time += MINUTE_MS
        if (count % 500 === 0) store.objects.clear()
        const run: Run = {
          id: 20_000_000_000 + count,
          url: `https://github.example/runs/${count}`,
          title: formatRunTitle(request),
          status: count % 3 === 0 ? 'queued' : 'completed',
          conclusion: count % 3 === 0 ? null : 'success',
          createdAt: clock.now().toISOString(),
          startedAt: null,
          updatedAt: clock.now().toISOString(),
        }
        runs = [run, ...runs].slice(0, 100)
        return { id: run.id, url: run.url }
      },
      list: async (limit) => runs.slice(0, limit),
      find: async (id) => runs.find((run) => run.id === id) ?? null,
      jobs: async () => [],
      cancel: async () => {},
    },
    github: {
      repository: async () => ({
        name: 'acme/fleet',
        private: false,
        archived: false,
        push: true,
        credential: { kind: 'fine-grained', expiresAt: null, scopes: null, permissions: null },
      }),
      site: async () => null,
      workflow: async () => ({ file: 'fleet-deploy.yml', ref: 'main', state: 'active', text: null }),
    },
    controlTokens: { previous: true, callers: [] },
    appId: null,
    secrets: null,
  } satisfies LambdaPorts
}

/** The result of an event, or an error that names the violated rule. */
export function createProbe(ports: LambdaPorts = calmPorts()): (event: unknown) => Promise<number> {
  const lines: string[] = []
  const env = {
    CONTROL_API_TOKEN: TOKEN,
    CONTROL_API_TOKEN_PREVIOUS: PREVIOUS,
    CONTROL_API_CALLER_TOKENS: JSON.stringify({
      'clawdinator-1': createHash('sha256').update(CALLER_TOKEN).digest('hex'),
    }),
    GITHUB_TOKEN,
    GITHUB_REPO: 'acme/fleet',
    AWS_REGION: 'eu-central-1',
  }
  const handler = createHandler(env, (line) => lines.push(line), { makePorts: () => ports })
  return async (event) => {
    lines.length = 0
    const result = await handler(event)
    if (result.statusCode < 200 || result.statusCode >= 500) throw new Error(`${result.statusCode}: ${result.body}`)
    if (result.statusCode >= 400 && result.body.length > LARGEST_REFUSAL) throw new Error(`${result.body.length} bytes`)
    if (result.body === page.body) {
      const { method, path } = parseEvent(event)
      if (method !== 'GET' || path !== '/' || lines.length > 0) throw new Error('the page, where nobody asked for it')
      return result.statusCode
    }
    const [line = '', ...more] = lines
    if (more.length > 0 || line.includes('\n')) throw new Error(`${lines.length} log lines`)
    const logged = JSON.parse(line) as { status: number; route: string | null; method: string }
    if (logged.status !== result.statusCode) throw new Error('the log tells another status')
    const output = `${result.body}\n${JSON.stringify(result.headers)}\n${line}`
    for (const one of SECRETS) if (output.includes(one)) throw new Error(`a token in the output: ${output}`)
    const route = ROUTES.find(({ name }) => name === logged.route)
    const url = new URL(route?.path ?? '/nowhere', 'http://127.0.0.1')
    const problems = await answerProblems(route?.method ?? 'GET', url, result.statusCode, result.body)
    if (problems.length > 0) throw new Error(problems.join('\n'))
    return result.statusCode
  }
}
