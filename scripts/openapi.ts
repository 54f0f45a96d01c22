import { readFileSync } from 'node:fs'
import * as yaml from 'yaml'
import * as z from 'zod/mini'
import { ROUTES, type Route } from '../lambda/routes.js'
import * as contract from '../src/lib/domain/contract/index.js'
import { CODE_NAMES, CODES, type Code, httpStatusOf } from '../src/lib/domain/errors.js'

/** Generates docs/control-api.openapi.yaml from the routes and their schemas. */

type Json = Record<string, unknown>
const SCHEMAS = '#/components/schemas/'

const DESCRIPTION = `Deploys, their history and the fleet's state, for agents and maintainers. \`clawctl\` uses it in agent mode.

Every answer is one JSON document: \`{"ok": true, …}\`, or \`{"ok": false, "error": {"code", "message", "hint"?}}\` with the
status that belongs to the code. A route that does not exist answers 404 \`NOT_FOUND\`, a method that a route does not take
405 \`METHOD_NOT_ALLOWED\`, both to authenticated callers only. An answer may get more fields: clients ignore unknown
fields.

The server is behind a Lambda Function URL, which sends its own answers, in another form, when the function is at its
reserved concurrency (429) or does not answer (502, 503, 504).`

/** Letters, marks and signs of the common scripts; the server accepts further ones. Written as characters, because engines escape differently. */
const LETTERS = [
  ...[
    '!~',
    '\u00a1\u00ac',
    '\u00ae\u0377',
    '\u03a3\u052f',
    '\u05d0\u05ea',
    '\u0620\u064a',
    '\u0904\u0939',
    '\u0e01\u0e3a',
  ],
  ...['\u1e00\u1eff', '\u3041\u3096', '\u30a1\u30fa', '\u4e00\u9fff', '\uac00\ud7a3', '🌀🙏', '🚀🛅', '🥇🧿'],
]
  .map(([from, to]) => `${from}-${to}`)
  .join('')

/** For every regular expression engine: no lookahead, no classes of Unicode. The server checks more strictly. */
const PATTERNS = {
  // `all` has the form of an id.
  target: '^[a-z][a-z0-9-]{0,62}$',
  ami: '^(ami-([0-9a-f]{8}|[0-9a-f]{17}))?$',
  oneLine: `^ *[${LETTERS}][ ${LETTERS}]*$`,
}

/** Additions to the schemas, by path in the document. A test fails for a path that does not exist. */
const NOTES: Record<string, Json> = {
  'Order.target': {
    description: '`all`, or an instance id of nix/instances.json. There is no default.',
    examples: ['clawdinator-2'],
    pattern: PATTERNS.target,
  },
  'Order.amiOverride': {
    pattern: PATTERNS.ami,
    description:
      'Deploy this AMI instead of the latest: `ami-` and 8 or 17 hexadecimal digits. An empty text counts as absent.',
  },
  'Order.caller': {
    description:
      'The instance that sends the request. It must not be the target. If the token belongs to an instance, it must be that one.',
  },
  'Order.requestedBy': {
    description:
      "The requester's name: one line of at most 64 characters, without control characters; blanks around it are removed. Without it, a request from an instance counts as a bot's.",
    maxLength: 64,
    pattern: PATTERNS.oneLine,
  },
  'FreezeRequest.reason': { pattern: PATTERNS.oneLine },
  'Order.requestId': {
    description: 'The same id twice starts only one run. If it is absent, the server makes one.',
  },
  'Order.strategy': {
    description: "How a host is replaced. Absent: the repository's default.",
  },
  'Order.configRevision': {
    description: "The configuration of a new machine: that of its image's commit, or the newest. Absent: image.",
  },
  'Fleet.sources': {
    description:
      'The sources that answered. Without `registry` the instances are those of EC2, by their tags; without `heartbeats` health is unknown.',
  },
  'DeploysAnswer.next': { description: '`before` of the next page; null on the last.' },
  'DeploysAnswer.sources': {
    description: 'Without `runs` the deploys come from the records, without `records` from GitHub.',
  },
  'DeployDetailAnswer.sources': {
    description: 'Without `runs` the deploy comes from its record, without `records` from GitHub.',
  },
  'DeployDetailAnswer.version': {
    description: 'Changes when the deploy changes. Send it as `seen` with the next request.',
  },
  'Error.code': { description: 'The closed list of docs/errors.md, which may grow.' },
  'Deploy.ami': {
    description: 'The AMI that is deployed: the override, or the one that the run chose; null until then.',
  },
  'Deploy.waitsFor': { description: 'The deploy that this one waits for; one runs at a time.' },
  'Deploy.queuePosition': { description: 'Its place among the queued deploys, from 1; null if it is not queued.' },
  'Deploy.durationMs': { description: 'From the start of the run to its end; null until it is over.' },
  'Deploy.error': { description: 'Why it failed; null if it succeeded or is not over.' },
  'Deploy.runId': { description: "GitHub's id of the workflow run; null for a deploy that ran without one." },
  'Fleet.latestAmi': { description: 'The newest available AMI tagged clawdinator=true, or null.' },
  'FleetInstance.state': {
    description: '`missing`: in the registry, but not in EC2. `orphan`: in EC2, but not in the registry.',
  },
  'FleetInstance.amiStatus': { description: '`stale`: an older AMI than the latest.' },
  'FleetInstance.health': {
    description: "From EC2's checks and the host's own heartbeat; `unknown` without a heartbeat.",
  },
  'FleetInstance.revision': { description: 'Git revision that the host reports.' },
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** `orderSchema` is Order. */
const NAMES = new Map<unknown, string>(
  Object.entries(contract).flatMap(([name, value]): [unknown, string][] =>
    name.endsWith('Schema') ? [[value, name[0]?.toUpperCase() + name.slice(1).replace(/Schema$/, '')]] : [],
  ),
)

function namedSchemas(): Record<string, Json> {
  const registry = z.registry<{ id: string }>()
  for (const [schema, id] of NAMES) registry.add(schema as z.ZodMiniType, { id })
  const { schemas } = z.toJSONSchema(registry, {
    uri: (id) => SCHEMAS + id,
    override: ({ zodSchema, jsonSchema }) => {
      const { def } = zodSchema._zod
      // A default only concerns the reader: the value is always sent.
      if (def.type === 'catch' || def.type === 'default') delete jsonSchema.default
      // Parsing drops unknown fields. Only a strict object excludes further ones.
      if (def.type === 'object' && !('catchall' in def && def.catchall)) delete jsonSchema.additionalProperties
    },
  })
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => {
      const { $schema: _, $id: __, ...rest } = schema as Json
      return [name, noted(name, rest)]
    }),
  )
}

/** Rules over several fields. */
const RULES: Record<string, Json> = {
  // A retirement boots no AMI.
  Order: {
    not: {
      type: 'object',
      properties: { retire: { const: true }, amiOverride: { type: 'string', minLength: 1 } },
      required: ['retire', 'amiOverride'],
    },
  },
}

function noted(name: string, schema: Json): Json {
  if (!isObject(schema.properties)) return schema
  const properties = Object.entries(schema.properties).map(([key, value]) => {
    // DeployDetail has the fields of Deploy.
    const note = NOTES[`${name}.${key}`] ?? (name === 'DeployDetail' ? NOTES[`Deploy.${key}`] : undefined)
    const isAsker = key === 'requestedBy' && isObject(value) && 'pattern' in value
    const isTime = /At$/.test(key) && isObject(value) && !('$ref' in value)
    return [
      key,
      {
        ...(value as Json),
        ...(isTime ? { format: 'date-time' } : {}),
        ...(isAsker ? NOTES['Order.requestedBy'] : {}),
        ...note,
      },
    ]
  })
  return { ...schema, properties: Object.fromEntries(properties), ...RULES[name] }
}

function refTo(schema: unknown): Json {
  const name = NAMES.get(schema)
  if (!name) throw new Error('A route uses a schema that src/lib/domain/contract does not export.')
  return { $ref: SCHEMAS + name }
}

const json = (schema: Json, examples: Json) => ({
  'application/json': { schema, ...(Object.keys(examples).length > 0 ? { examples } : {}) },
})

/** Each example, named by its title in camel case. */
function examplesOf(route: Route, keep: (example: Route['examples'][number]) => unknown): Json {
  const kept = route.examples.flatMap((example) => {
    const value = keep(example)
    const name = example.title.toLowerCase().replace(/[^a-z0-9]+(.)/g, (_, letter: string) => letter.toUpperCase())
    return value === undefined ? [] : [[name, { summary: example.title, value }]]
  })
  return Object.fromEntries(kept)
}

/** The same codes with the same status are one response, named by its codes, unless a route has an example of it. */
function failures(route: Route, shared: Map<string, Json>): Json {
  const byStatus = new Map<number, Code[]>()
  for (const code of CODE_NAMES.filter((name) => route.codes.includes(name))) {
    byStatus.set(httpStatusOf(code), [...(byStatus.get(httpStatusOf(code)) ?? []), code])
  }
  const responses = [...byStatus].map(([status, codes]): [string, Json] => {
    const narrowed = {
      properties: { error: { ...refTo(contract.errorSchema), properties: { code: { enum: codes } } } },
    }
    const examples = examplesOf(route, ({ answer }) => (answer.status === status ? answer.body : undefined))
    const response = {
      description: codes.map((code) => `\`${code}\`: ${CODES[code].meaning}`).join('\n\n'),
      ...(status === 429 ? { headers: { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } } } : {}),
      content: json({ allOf: [refTo(contract.failureSchema), narrowed] }, examples),
    }
    if (Object.keys(examples).length > 0) return [String(status), response]
    const name = codes.map(pascal).join('Or')
    shared.set(name, response)
    return [String(status), { $ref: `#/components/responses/${name}` }]
  })
  return Object.fromEntries(responses)
}

const pascal = (code: string) => code.toLowerCase().replace(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())

const PARAMETERS: Record<string, string> = {
  requestId: "The deploy's request id, or the id of its run.",
  id: 'An instance id of nix/instances.json, or of a machine that EC2 has.',
  limit: 'The largest number of deploys.',
  before: '`next` of the previous page.',
  wait: 'Hold the answer for up to this many seconds, until the `version` of the deploy differs from `seen`.',
  seen: '`version` of an earlier answer; absent: the version when the request arrives.',
}

function parametersOf(route: Route): Json[] {
  const of = (schema: z.ZodMiniObject | undefined, place: 'path' | 'query') => {
    if (!schema) return []
    const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' })
    return Object.entries(properties).map(([name, one]) => {
      const description = PARAMETERS[name]
      if (!description) throw new Error(`The parameter ${name} is not described.`)
      return {
        name,
        in: place,
        required: place === 'path' || required.includes(name),
        description,
        schema: one as Json,
      }
    })
  }
  return [...of(route.parameters, 'path'), ...of(route.query, 'query')]
}

function operation(route: Route, shared: Map<string, Json>): Json {
  const { name, summary, body, answer } = route
  const parameters = parametersOf(route)
  const bodies = examplesOf(route, (example) => example.body)
  const answers = examplesOf(route, (example) =>
    example.answer.status === answer.status ? example.answer.body : undefined,
  )
  return {
    operationId: name,
    tags: [route.path.startsWith('/v1/deploys') ? 'Deploys' : 'Fleet'],
    summary,
    description: route.description,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: { required: true, content: json(refTo(body), bodies) } } : {}),
    responses: {
      [answer.status]: {
        description: answer.status === 202 ? 'Accepted; follow it by its request id.' : 'Success.',
        content: json(refTo(answer.schema), answers),
      },
      ...failures(route, shared),
    },
  }
}

/** The document. The same code gives the same document. */
export function openApi(): Json {
  const paths: Record<string, Json> = {}
  const shared = new Map<string, Json>()
  for (const route of ROUTES) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route, shared) }
  }
  const responses = Object.fromEntries([...shared].sort(([a], [b]) => (a < b ? -1 : 1)))
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Json
  return {
    openapi: '3.1.0',
    info: {
      title: 'Control API of the CLAWDINATOR fleet',
      version,
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [
      {
        url: 'https://{urlId}.lambda-url.{region}.on.aws',
        description: 'The Function URL, as /etc/clawdinator/control-api-url names it.',
        variables: { urlId: { default: 'abcdefghijklmnopqrstuvwxyz012345' }, region: { default: 'eu-central-1' } },
      },
    ],
    tags: [
      { name: 'Deploys', description: 'Request a deploy, follow it, read the history.' },
      { name: 'Fleet', description: 'The desired and the actual fleet, and the checks before a deploy.' },
    ],
    security: [{ controlToken: [] }],
    paths,
    components: {
      securitySchemes: {
        controlToken: {
          type: 'http',
          scheme: 'bearer',
          description: 'The shared control token, or the token of an instance.',
        },
      },
      headers: {
        RetryAfter: {
          description: 'Seconds to wait before the next attempt.',
          required: true,
          schema: { type: 'integer', minimum: 1 },
        },
      },
      responses,
      schemas: reachable({ paths, responses }, namedSchemas()),
    },
  }
}

/** The schemas that the routes use, in alphabetical order. */
function reachable(from: Json, all: Record<string, Json>): Record<string, Json> {
  const found = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    if (!isObject(value)) return
    const ref = typeof value.$ref === 'string' ? value.$ref : ''
    const name = ref.startsWith(SCHEMAS) ? ref.slice(SCHEMAS.length) : undefined
    if (name !== undefined && !found.has(name)) {
      found.add(name)
      visit(all[name])
    }
    Object.values(value).forEach(visit)
  }
  visit(from)
  return Object.fromEntries([...found].sort().map((name) => [name, all[name] ?? {}]))
}

/** Notes without a field in the schemas; a test refuses them. */
export function idleNotes(): string[] {
  const schemas = namedSchemas()
  return Object.keys(NOTES).filter((path) => {
    const [name = '', key = ''] = path.split('.')
    return !isObject(schemas[name]?.properties) || !(key in (schemas[name].properties as Json))
  })
}

export function openApiText(): string {
  const head = '# Generated by `npm run docs` from lambda/routes.ts and src/lib/domain/contract: do not edit.\n'
  // Many readers still use YAML 1.1, where a bare time is a date and not text.
  return head + yaml.stringify(openApi(), { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false })
}
