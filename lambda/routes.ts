import { randomUUID } from 'node:crypto'
import * as z from 'zod/mini'
import {
  CURSOR_PATTERN,
  cancelRequestSchema,
  deployAnswerSchema,
  deployDetailAnswerSchema,
  deploysAnswerSchema,
  fleetAnswerSchema,
  freezeRequestSchema,
  freezesAnswerSchema,
  hostAnswerSchema,
  ID_PATTERN,
  orderSchema,
  preflightAnswerSchema,
  REQUEST_ID_PATTERN,
  unfreezeRequestSchema,
} from '../src/lib/domain/contract/index.js'
import { type Assurance, formatIdentity, nameAsker } from '../src/lib/domain/deploy/identity.js'
import { allowDeploy, refuseAsker, refused } from '../src/lib/domain/deploy/policy.js'
import { ClawctlError, type Code } from '../src/lib/domain/errors.js'
import { cancelDeploy } from '../src/lib/ops/deploy/cancelDeploy.js'
import { getDeploy, listDeploys } from '../src/lib/ops/deploy/deploys.js'
import { dispatchDeploy } from '../src/lib/ops/deploy/dispatchDeploy.js'
import { fleetStatus } from '../src/lib/ops/deploy/fleetStatus.js'
import { freezeFleet, unfreezeFleet } from '../src/lib/ops/deploy/freeze.js'
import { showHost } from '../src/lib/ops/deploy/showHost.js'
import { type Asker, identify, identifyPerson } from '../src/lib/ops/people/people.js'
import { serverPreflight } from '../src/lib/ops/preflight/serverPreflight.js'
import { readRegistry } from '../src/lib/ops/registry/readRegistry.js'
import type { Bearer } from './authenticate.js'
import type { Budget } from './budget.js'
import type { LambdaPorts } from './context.js'
import * as examples from './examples.js'
import { changed, MAX_WAIT_SECONDS, VERSION_PATTERN } from './longPoll.js'

type Fields = z.ZodMiniObject
type Parsed<T extends Fields | undefined> = T extends Fields ? z.infer<T> : Record<string, never>

/** What a request of the route holds, parsed, and who sends it. */
interface Input<Path extends Fields | undefined, Query extends Fields | undefined, Body extends Fields | undefined> {
  path: Parsed<Path>
  query: Parsed<Query>
  body: Parsed<Body>
  bearer: Bearer
  /** What the request turned out to be about, for its log line. */
  tell(subject: Subject): void
}

export interface Subject {
  requestId?: string
  target?: string
  caller?: string | null
  /** Whether the caller is known by a token of its own, or only says so. */
  host?: 'verified' | 'claimed' | 'none'
  requester?: string | null
  retire?: boolean
  override?: string | null
}

/** What a route asks the world with. */
export interface RoutePorts {
  /** As things are now: what a deploy is decided on. */
  now(): LambdaPorts
  /** As things were a moment ago, perhaps: enough to show them. */
  recent(): LambdaPorts
  /** What was known a moment ago is over. */
  forget(): void
  budget: Budget
}

/**
 * One route of the contract, as data: requests are parsed by these schemas, and docs/control-api.openapi.yaml is
 * generated from them.
 */
export interface Route {
  method: 'GET' | 'POST'
  /** A part in braces is one path segment, named in `parameters`. */
  path: string
  /** The operation's id, and the route's name in the log. */
  name: string
  summary: string
  /** For the contract's document: what the summary has no room for. */
  description: string
  /** Path parameters. What does not fit names nothing that exists: NOT_FOUND. */
  parameters?: Fields
  /** Whole numbers arrive as numbers, everything else as text; what is not named here is refused. */
  query?: Fields
  /** One JSON object in UTF-8, at most 16 KiB, whatever the content type says. */
  body?: Fields
  answer: { status: 200 | 202; schema: z.ZodMiniObject }
  /** Every code that the route can answer with, authentication and defects included. */
  codes: readonly Code[]
  examples: readonly RouteExample[]
  /** The answer without its `ok: true`. */
  run(input: Input<Fields, Fields, Fields>, ports: RoutePorts): Promise<object>
}

export interface RouteExample {
  /** One clause: what is asked. */
  title: string
  /** Path and query as they are sent. */
  path: string
  body?: object
  answer: { status: number; body: object }
}

/** Holds a route's `run` against its own schemas, which an array of routes can't. */
function route<
  Path extends Fields | undefined,
  Query extends Fields | undefined,
  Body extends Fields | undefined,
  Answer extends z.ZodMiniObject,
>(
  definition: Omit<Route, 'parameters' | 'query' | 'body' | 'answer' | 'run'> & {
    parameters?: Path
    query?: Query
    body?: Body
    answer: { status: 200 | 202; schema: Answer }
    run(input: Input<Path, Query, Body>, ports: RoutePorts): Promise<Omit<z.infer<Answer>, 'ok'>>
  },
): Route {
  return definition as unknown as Route
}

/** Before any route's own work, and whatever it asks: the token, the form of the request, the server's own state. */
const COMMON_CODES = ['INVALID_REQUEST', 'UNAUTHORIZED', 'NOT_CONFIGURED', 'TIMED_OUT', 'INTERNAL'] as const
const UPSTREAM_CODES = ['DENIED', 'UPSTREAM', 'RATE_LIMITED'] as const
const REGISTRY_CODES = ['INVALID_REGISTRY', 'REGISTRY_NOT_FOUND'] as const

/** Of who asks for a change. */
const ASKER_CODES = [
  'READ_ONLY',
  'CALLER_MISMATCH',
  'UNKNOWN_CALLER',
  'CODE_REQUIRED',
  'CODE_WRONG',
  'CODE_LOCKED',
] as const

const DEFAULT_LIMIT = 20
const MAX_LIMIT = 100
const LIMIT_RANGE = `must be from 1 to ${MAX_LIMIT}`
const WAIT_RANGE = `must be from 0 to ${MAX_WAIT_SECONDS}`

const FREEZE_CODES = [
  ...COMMON_CODES,
  'PAYLOAD_TOO_LARGE',
  'PERSON_REQUIRED',
  'UNKNOWN_TARGET',
  ...ASKER_CODES,
  ...REGISTRY_CODES,
  ...UPSTREAM_CODES,
] as const

export const ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/deploys',
    name: 'createDeploy',
    summary: 'Ask for a deploy. The same request id again answers the run that it started before.',
    description:
      "The decision is the server's: the same policy as the command line's, on the registry of the deployed branch. It dispatches one run of the deploy workflow; runs queue, and none is cancelled by a newer one. After a lost answer ask again with the same request id.",
    body: orderSchema,
    answer: { status: 202, schema: deployAnswerSchema },
    codes: [
      ...COMMON_CODES,
      'PAYLOAD_TOO_LARGE',
      'INVALID_TARGET',
      'INVALID_AMI',
      'AMI_NOT_FOUND',
      'AMI_REFUSED',
      'AMI_FAILED_BEFORE',
      'UNKNOWN_TARGET',
      'SELF_DEPLOY',
      'BOT_DEPLOY_ALL',
      'BOT_RETIRE',
      'PERSON_REQUIRED',
      ...ASKER_CODES,
      'FROZEN',
      'STILL_REGISTERED',
      'REQUEST_CONFLICT',
      ...REGISTRY_CODES,
      ...UPSTREAM_CODES,
    ],
    examples: examples.createDeploy,
    async run({ body: { code, ...body }, bearer, tell }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      const asked = { ...body, ...(caller ? { caller } : {}), requestId: body.requestId ?? randomUUID() }
      tell({
        requestId: asked.requestId,
        target: asked.target,
        caller,
        host,
        requester: asked.requestedBy ?? null,
        retire: asked.retire ?? false,
        override: asked.amiOverride ?? null,
      })
      // What needs no registry is refused before anything upstream is asked; dispatchDeploy decides again with it.
      const person = code ? 'verified' : asked.requestedBy ? 'claimed' : 'none'
      allowDeploy({ ...asked, identity: { host, person } })
      try {
        return { deploy: await dispatchDeploy(asked, { host, code }, ports.now()) }
      } finally {
        ports.forget()
      }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/deploys',
    name: 'listDeploys',
    summary: 'The audit trail, newest first: what, which AMI, who asked, how it ended.',
    description:
      'Pages of the history, the newest first. Where GitHub or S3 can not be asked, the rest is shown and `sources` says so.',
    query: z.strictObject({
      limit: z._default(
        z.int('must be a whole number').check(z.minimum(1, LIMIT_RANGE), z.maximum(MAX_LIMIT, LIMIT_RANGE)),
        DEFAULT_LIMIT,
      ),
      before: z.optional(
        z.string('must be text').check(z.regex(CURSOR_PATTERN, 'must be the `next` of the page before')),
      ),
    }),
    answer: { status: 200, schema: deploysAnswerSchema },
    codes: [...COMMON_CODES, ...UPSTREAM_CODES],
    examples: examples.listDeploys,
    async run({ query }, ports) {
      const { limit, before } = query
      return listDeploys(ports.recent(), { limit, ...(before === undefined ? {} : { before }) })
    },
  }),
  route({
    method: 'GET',
    path: '/v1/deploys/{requestId}',
    name: 'getDeploy',
    summary: "One deploy with its run's steps, by its request id or by its run's id.",
    description:
      'Status, hosts with their steps, error, and the steps of the run. With `wait` the answer is held until something changed, so that a follower costs a call each half minute. A deploy that is over is never held.',
    parameters: z.object({ requestId: z.string().check(z.regex(REQUEST_ID_PATTERN)) }),
    query: z.strictObject({
      wait: z.optional(
        z.int('must be a whole number').check(z.minimum(0, WAIT_RANGE), z.maximum(MAX_WAIT_SECONDS, WAIT_RANGE)),
      ),
      seen: z.optional(
        z.string('must be text').check(z.regex(VERSION_PATTERN, 'must be the `version` of an earlier answer')),
      ),
    }),
    answer: { status: 200, schema: deployDetailAnswerSchema },
    codes: [...COMMON_CODES, 'NOT_FOUND', ...UPSTREAM_CODES],
    examples: examples.getDeploy,
    async run({ path, query, tell }, ports) {
      tell({ requestId: path.requestId })
      const look = async () => {
        try {
          return await getDeploy(ports.recent(), path.requestId)
        } catch (error) {
          if (!(error instanceof ClawctlError) || error.code !== 'NOT_FOUND') throw error
          // It may have been started a moment ago, by way of another execution environment.
          ports.forget()
          return getDeploy(ports.recent(), path.requestId)
        }
      }
      return changed(look, query, ports.budget)
    },
  }),
  route({
    method: 'POST',
    path: '/v1/deploys/{requestId}/cancel',
    name: 'cancelDeploy',
    summary: 'Cancel a queued deploy, or ask a running one to stop before its next handover.',
    description:
      'Any token but one that only reads may cancel; who did stands in the record. The answer has the deploy as it was. Asked again, it is the same; a deploy that is over stays as it ended.',
    parameters: z.object({ requestId: z.string().check(z.regex(REQUEST_ID_PATTERN)) }),
    body: cancelRequestSchema,
    answer: { status: 202, schema: deployAnswerSchema },
    codes: [...COMMON_CODES, 'PAYLOAD_TOO_LARGE', 'NOT_FOUND', ...ASKER_CODES, ...UPSTREAM_CODES],
    examples: examples.cancelDeploy,
    async run({ path, body, bearer, tell }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      tell({ requestId: path.requestId, caller })
      const now = ports.now()
      const purpose = `cancel ${path.requestId}`
      const { identity } = await identify(askerOf(body, host), { purpose, needed: false }, now)
      const by = nameAsker({ caller, requestedBy: body.requestedBy, identity: formatIdentity(identity) })
      try {
        return { deploy: await cancelDeploy(path.requestId, by, now) }
      } finally {
        ports.forget()
      }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/freezes',
    name: 'freeze',
    summary: 'Let nothing be deployed to an instance, or to all, until the freeze ends.',
    description:
      'A person has to ask: a verified one once anybody is enrolled. A freeze of the same target is replaced. A deploy that runs goes on. The answer has all that is frozen.',
    body: freezeRequestSchema,
    answer: { status: 200, schema: freezesAnswerSchema },
    codes: FREEZE_CODES,
    examples: examples.freeze,
    async run({ body: { code, ...request }, bearer, tell }, ports) {
      const { caller, host } = callerOf(request.caller, bearer)
      tell({ target: request.target, caller })
      const now = bucketOf(ports)
      const purpose = `freeze ${request.target}: ${request.reason}`
      const identity = await identifyPerson(askerOf({ ...request, code }, host), { purpose, what: 'for a freeze' }, now)
      const registry = await readRegistry(now.registry)
      const refusal = refuseAsker({ ...request, caller, registry })
      if (refusal) throw refused(refusal)
      const freeze = { ...request, caller: caller ?? undefined, identity: formatIdentity(identity) }
      return { freezes: await freezeFleet(freeze, { ...now, registry }) }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/unfreezes',
    name: 'unfreeze',
    summary: 'End the freeze of an instance, or of all.',
    description:
      'A person has to ask, as for the freeze. Ends the freeze of exactly this target; the answer has what is still frozen.',
    body: unfreezeRequestSchema,
    answer: { status: 200, schema: freezesAnswerSchema },
    codes: [...FREEZE_CODES, 'NOT_FOUND'],
    examples: examples.unfreeze,
    async run({ body, bearer, tell }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      tell({ target: body.target, caller })
      const now = bucketOf(ports)
      await identifyPerson(askerOf(body, host), { purpose: `unfreeze ${body.target}`, what: 'to end a freeze' }, now)
      const refusal = refuseAsker({ ...body, caller, registry: await readRegistry(now.registry) })
      if (refusal) throw refused(refusal)
      return { freezes: await unfreezeFleet(body, now) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/fleet',
    name: 'fleet',
    summary: 'The desired beside the actual fleet.',
    description:
      'Every instance of the registry with its machine, health and AMI, then what EC2 has beyond it. Where GitHub or S3 can not be asked, the rest is shown and `sources` says so.',
    answer: { status: 200, schema: fleetAnswerSchema },
    codes: [...COMMON_CODES, ...REGISTRY_CODES, ...UPSTREAM_CODES],
    examples: examples.fleet,
    async run(_input, ports) {
      return { fleet: await fleetStatus(ports.recent()) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/fleet/{id}',
    name: 'host',
    summary: 'One instance: its machines with boot, health and console, who may act, its last deploys.',
    description:
      'Its machines with the stages of their boot, heartbeat, gateway and console, who may act, and its last deploys with what was seen of a machine that failed.',
    parameters: z.object({ id: z.string().check(z.regex(ID_PATTERN)) }),
    answer: { status: 200, schema: hostAnswerSchema },
    codes: [...COMMON_CODES, 'NOT_FOUND', 'UNKNOWN_TARGET', ...REGISTRY_CODES, ...UPSTREAM_CODES],
    examples: examples.host,
    async run({ path, tell }, ports) {
      tell({ target: path.id })
      return { host: await showHost(path.id, ports.recent()) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/preflight',
    name: 'preflight',
    summary: 'What only the server can see of what has to hold before a flight. Nothing is changed by asking.',
    description:
      "One check each for GitHub, EC2, S3, the bundles and the Control API's own secrets, with what was seen and what to do. Each check fails alone.",
    answer: { status: 200, schema: preflightAnswerSchema },
    codes: COMMON_CODES,
    examples: examples.preflight,
    async run(_input, ports) {
      return { preflight: { checks: await serverPreflight(ports.recent()) } }
    },
  }),
]

/** What is frozen stands in the bucket. @throws ClawctlError NOT_CONFIGURED */
function bucketOf(ports: RoutePorts) {
  const { store, ...now } = ports.now()
  if (store) return { ...now, store }
  throw new ClawctlError('NOT_CONFIGURED', 'The Control API has no bucket, so nothing can be frozen.', {
    hint: 'Set S3_BUCKET.',
  })
}

const askerOf = (body: { requestedBy?: string | undefined; code?: string | undefined }, host: Assurance): Asker => ({
  host,
  requestedBy: body.requestedBy,
  code: body.code,
})

/** Who has a token of its own is that instance. @throws ClawctlError CALLER_MISMATCH */
function callerOf(claimed: string | undefined, { caller }: Bearer): { caller: string | null; host: Assurance } {
  if (caller === null)
    return claimed === undefined ? { caller: null, host: 'none' } : { caller: claimed, host: 'claimed' }
  if (claimed === undefined || claimed === caller) return { caller, host: 'verified' }
  throw new ClawctlError(
    'CALLER_MISMATCH',
    `The token belongs to ${caller}, and the request names ${claimed} as its caller.`,
    {
      hint: `Leave caller out, or use the token of ${claimed}.`,
    },
  )
}
