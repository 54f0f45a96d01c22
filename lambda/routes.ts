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
import { type Budget, DISPATCH_MS } from './budget.js'
import type { LambdaPorts } from './context.js'
import * as examples from './examples.js'
import { MAX_WAIT_SECONDS, VERSION_PATTERN, waitForChange } from './longPoll.js'

type Fields = z.ZodMiniObject
type Parsed<T extends Fields | undefined> = T extends Fields ? z.infer<T> : Record<string, never>

/** The parsed request of a route, and its sender. */
interface Input<Path extends Fields | undefined, Query extends Fields | undefined, Body extends Fields | undefined> {
  path: Parsed<Path>
  query: Parsed<Query>
  body: Parsed<Body>
  bearer: Bearer
  /** Adds fields to the request's log line. */
  logSubject(subject: Subject): void
}

export interface Subject {
  requestId?: string
  target?: string
  caller?: string | null
  /** Whether the caller authenticated with its own token, or only claims to be that instance. */
  host?: 'verified' | 'claimed' | 'none'
  requester?: string | null
  retire?: boolean
  override?: string | null
}

export interface RoutePorts {
  /** Uncached: for decisions. */
  current(): LambdaPorts
  /** With answers that may be seconds old: for requests that only read. */
  cached(): LambdaPorts
  clearCache(): void
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
  /** For the contract's document. */
  description: string
  /** Path parameters. One that does not match is answered with NOT_FOUND. */
  parameters?: Fields
  /** Whole numbers arrive as numbers, everything else as text. Other parameters are refused. */
  query?: Fields
  /** One JSON object in UTF-8, at most 16 KiB, with any content type. */
  body?: Fields
  answer: { status: 200 | 202; schema: z.ZodMiniObject }
  /** Every code that the route can answer with, authentication and defects included. */
  codes: readonly Code[]
  examples: readonly RouteExample[]
  /** The answer without its `ok: true`. */
  run(input: Input<Fields, Fields, Fields>, ports: RoutePorts): Promise<object>
}

export interface RouteExample {
  /** One clause. */
  title: string
  /** With the query. */
  path: string
  body?: object
  answer: { status: number; body: object }
}

/** Checks the type of `run` against the route's own schemas; an array of routes can't. */
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

/** Every route can answer with these: for the token, the form of the request, the server's own state. */
const COMMON_CODES = ['INVALID_REQUEST', 'UNAUTHORIZED', 'NOT_CONFIGURED', 'TIMED_OUT', 'INTERNAL'] as const
const UPSTREAM_CODES = ['DENIED', 'UPSTREAM', 'RATE_LIMITED'] as const
const REGISTRY_CODES = ['INVALID_REGISTRY', 'REGISTRY_NOT_FOUND'] as const

/** About the sender of a change. */
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
    summary: 'Request a deploy. The same request id again returns the run that it started.',
    description:
      'The server decides, by the same policy as the command line, with the registry of the deployed branch. It dispatches one run of the deploy workflow. Runs queue; a newer one does not cancel an older one. If the answer is lost, send the same request id again.',
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
    async run({ body: { code, ...body }, bearer, logSubject }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      const asked = { ...body, ...(caller ? { caller } : {}), requestId: body.requestId ?? randomUUID() }
      logSubject({
        requestId: asked.requestId,
        target: asked.target,
        caller,
        host,
        requester: asked.requestedBy ?? null,
        retire: asked.retire ?? false,
        override: asked.amiOverride ?? null,
      })
      // Refused without any call upstream, if the registry is not needed; dispatchDeploy decides again with it.
      const person = code ? 'verified' : asked.requestedBy ? 'claimed' : 'none'
      allowDeploy({ ...asked, identity: { host, person } })
      try {
        const mustHaveTime = () => ports.budget.mustFit(DISPATCH_MS)
        return { deploy: await dispatchDeploy(asked, { host, code }, { ...ports.current(), mustHaveTime }) }
      } finally {
        ports.clearCache()
      }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/deploys',
    name: 'listDeploys',
    summary: 'The history of deploys, newest first: target, AMI, requester, outcome.',
    description: 'In pages. If GitHub or S3 does not answer, the rest is returned and `sources` names what is missing.',
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
      return listDeploys(ports.cached(), { limit, ...(before === undefined ? {} : { before }) })
    },
  }),
  route({
    method: 'GET',
    path: '/v1/deploys/{requestId}',
    name: 'getDeploy',
    summary: "One deploy with its run's steps, by its request id or by its run's id.",
    description:
      'Status, hosts with their steps, error, and the steps of the run. With `wait` the server holds the answer until the deploy changes or the time is up, so that a follower needs one call each half minute. The answer about a deploy that is over is never held.',
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
    async run({ path, query, logSubject }, ports) {
      logSubject({ requestId: path.requestId })
      const look = async () => {
        try {
          return await getDeploy(ports.cached(), path.requestId)
        } catch (error) {
          if (!(error instanceof ClawctlError) || error.code !== 'NOT_FOUND') throw error
          // Another execution environment may have started it after this one cached the list.
          ports.clearCache()
          return getDeploy(ports.cached(), path.requestId)
        }
      }
      return waitForChange(look, query, ports.budget)
    },
  }),
  route({
    method: 'POST',
    path: '/v1/deploys/{requestId}/cancel',
    name: 'cancelDeploy',
    summary: 'Cancel a queued deploy, or stop a running one before its next handover.',
    description:
      'Every token may cancel, except a read token; the record names the sender. The answer has the deploy as it was. A second request changes nothing more; a deploy that is over is not changed.',
    parameters: z.object({ requestId: z.string().check(z.regex(REQUEST_ID_PATTERN)) }),
    body: cancelRequestSchema,
    answer: { status: 202, schema: deployAnswerSchema },
    codes: [...COMMON_CODES, 'PAYLOAD_TOO_LARGE', 'NOT_FOUND', ...ASKER_CODES, ...UPSTREAM_CODES],
    examples: examples.cancelDeploy,
    async run({ path, body, bearer, logSubject }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      logSubject({ requestId: path.requestId, caller })
      const current = ports.current()
      const purpose = `cancel ${path.requestId}`
      const { identity } = await identify(askerOf(body, host), { purpose, needed: false }, current)
      const by = nameAsker({ caller, requestedBy: body.requestedBy, identity: formatIdentity(identity) })
      try {
        return { deploy: await cancelDeploy(path.requestId, by, current) }
      } finally {
        ports.clearCache()
      }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/freezes',
    name: 'freeze',
    summary: 'Refuse deploys of an instance, or of all, until the freeze ends.',
    description:
      'Only a person may freeze; once a person is enrolled, only a verified one. A freeze of the same target is replaced. A running deploy goes on. The answer has all freezes.',
    body: freezeRequestSchema,
    answer: { status: 200, schema: freezesAnswerSchema },
    codes: FREEZE_CODES,
    examples: examples.freeze,
    async run({ body: { code, ...request }, bearer, logSubject }, ports) {
      const { caller, host } = callerOf(request.caller, bearer)
      logSubject({ target: request.target, caller })
      const current = bucketOf(ports)
      const purpose = `freeze ${request.target}: ${request.reason}`
      const identity = await identifyPerson(
        askerOf({ ...request, code }, host),
        { purpose, what: 'for a freeze' },
        current,
      )
      const registry = await readRegistry(current.registry)
      const refusal = refuseAsker({ ...request, caller, registry })
      if (refusal) throw refused(refusal)
      const freeze = { ...request, caller: caller ?? undefined, identity: formatIdentity(identity) }
      return { freezes: await freezeFleet(freeze, { ...current, registry }) }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/unfreezes',
    name: 'unfreeze',
    summary: 'End the freeze of an instance, or of all.',
    description:
      'Only a person may end a freeze, as for the freeze. Ends the freeze of exactly this target; the answer has the freezes that remain.',
    body: unfreezeRequestSchema,
    answer: { status: 200, schema: freezesAnswerSchema },
    codes: [...FREEZE_CODES, 'NOT_FOUND'],
    examples: examples.unfreeze,
    async run({ body, bearer, logSubject }, ports) {
      const { caller, host } = callerOf(body.caller, bearer)
      logSubject({ target: body.target, caller })
      const current = bucketOf(ports)
      await identifyPerson(
        askerOf(body, host),
        { purpose: `unfreeze ${body.target}`, what: 'to end a freeze' },
        current,
      )
      const refusal = refuseAsker({ ...body, caller, registry: await readRegistry(current.registry) })
      if (refusal) throw refused(refusal)
      return { freezes: await unfreezeFleet(body, current) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/fleet',
    name: 'fleet',
    summary: 'The desired and the actual fleet.',
    description:
      'Every instance of the registry with its machine, health and AMI, then the orphans in EC2. If the registry, the images or an object of S3 can not be read, the rest is returned and `sources` names what is missing.',
    answer: { status: 200, schema: fleetAnswerSchema },
    codes: [...COMMON_CODES, 'INVALID_REGISTRY', ...UPSTREAM_CODES],
    examples: examples.fleet,
    async run(_input, ports) {
      return { fleet: await fleetStatus(ports.cached()) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/fleet/{id}',
    name: 'host',
    summary: 'One instance: its machines with boot, health and console, the active machine, its last deploys.',
    description:
      'Its machines with the stages of their boot, heartbeat, gateway and console, the active machine, and its last deploys with the observations of a machine that failed.',
    parameters: z.object({ id: z.string().check(z.regex(ID_PATTERN)) }),
    answer: { status: 200, schema: hostAnswerSchema },
    codes: [...COMMON_CODES, 'NOT_FOUND', 'UNKNOWN_TARGET', ...REGISTRY_CODES, ...UPSTREAM_CODES],
    examples: examples.host,
    async run({ path, logSubject }, ports) {
      logSubject({ target: path.id })
      return { host: await showHost(path.id, ports.cached()) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/preflight',
    name: 'preflight',
    summary: 'The checks before a deploy that only the server can make. Nothing is changed.',
    description:
      "Checks of GitHub, EC2, S3, the bundles and the Control API's own secrets, each with its evidence and a fix. One failed check does not stop the others.",
    answer: { status: 200, schema: preflightAnswerSchema },
    codes: COMMON_CODES,
    examples: examples.preflight,
    async run(_input, ports) {
      return { preflight: { checks: await serverPreflight(ports.cached()) } }
    },
  }),
]

/** Freezes are kept in the bucket. @throws ClawctlError NOT_CONFIGURED */
function bucketOf(ports: RoutePorts) {
  const { store, ...current } = ports.current()
  if (store) return { ...current, store }
  throw new ClawctlError('NOT_CONFIGURED', 'The Control API has no bucket, so nothing can be frozen.', {
    hint: 'Set S3_BUCKET.',
  })
}

const askerOf = (body: { requestedBy?: string | undefined; code?: string | undefined }, host: Assurance): Asker => ({
  host,
  requestedBy: body.requestedBy,
  code: body.code,
})

/** The bearer of an instance's own token is that instance. @throws ClawctlError CALLER_MISMATCH */
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
