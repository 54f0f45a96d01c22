import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'
import { CODE_PATTERN, ID_PATTERN, NOT_A_NUMBER_PATTERN, REQUEST_ID_PATTERN, REQUESTED_BY_PATTERN } from './patterns.js'

/** How a host is replaced: a candidate takes over, or the old machine is stopped first. */
export const STRATEGIES = ['handover', 'replace'] as const

/** Which configuration a new machine switches to: of the commit that its image was made of, or the newest in its bundle. */
export const CONFIG_REVISIONS = ['image', 'newest'] as const
/**
 * Whether a token or a one-time code verified caller and requester, or the request only claims them. Orders have it as
 * this text; domain/deploy/identity.ts parses it.
 */
export const IDENTITIES = [
  'unknown, shared token',
  'host verified',
  'host claimed',
  'person verified',
  'person claimed',
  'host verified, person verified',
  'host verified, person claimed',
  'host claimed, person verified',
  'host claimed, person claimed',
] as const
export type IdentityText = (typeof IDENTITIES)[number]

export const instanceIdSchema = z
  .string('must be text')
  .check(z.regex(ID_PATTERN, 'must be an instance id such as clawdinator-1'))

/** Caller and requester: part of every request that changes something. */
export const askerShape = {
  caller: z.optional(instanceIdSchema),
  requestedBy: z.optional(
    z
      .string('must be text')
      .check(z.trim(), z.regex(REQUESTED_BY_PATTERN, 'must be a name: one line of at most 64 characters')),
  ),
  /** The one-time code of the person that requestedBy names; it is checked and not kept. */
  code: z.optional(z.string('must be text').check(z.regex(CODE_PATTERN, 'must have 6 digits'))),
}

/**
 * The body of `POST /v1/deploys`. Values that were not given are absent. This file has every form of an order, with its
 * parser.
 */
export const orderSchema = z.strictObject({
  target: z.string('must be text').check(z.maxLength(128, 'is too long')),
  amiOverride: z.optional(z.string('must be text').check(z.maxLength(64, 'is too long'))),
  ...askerShape,
  requestId: z.optional(
    z
      .string('must be text')
      .check(
        z.regex(REQUEST_ID_PATTERN, 'must have 8 to 64 letters, digits and hyphens'),
        z.regex(NOT_A_NUMBER_PATTERN, "must not be a number: those are the runs' own ids"),
      ),
  ),
  /** Destroy the target, which has left the registry, instead of deploying it. */
  retire: z.optional(z.boolean('must be true or false')),
  /** Absent: the repository's default. */
  strategy: z.optional(z.enum(STRATEGIES, `must be ${STRATEGIES.join(' or ')}`)),
  /** Absent: the image's. */
  configRevision: z.optional(z.enum(CONFIG_REVISIONS, `must be ${CONFIG_REVISIONS.join(' or ')}`)),
})
export type OrderRequest = z.infer<typeof orderSchema>
/** An order as the code passes it on: with the verified identity, without the one-time code. */
export type Order = Omit<OrderRequest, 'code'> & { requestId: string; identity?: IdentityText }

type Fields = { [Field in keyof Order]?: Order[Field] | null | undefined }

/** Leaves out values that are null, empty or false, and fields that an order does not have. */
function orderWith(fields: Fields & Pick<Order, 'target' | 'requestId'>): Order {
  const given = FIELDS.flatMap((name) => (fields[name] ? [[name, fields[name]]] : []))
  return { ...Object.fromEntries(given), target: fields.target, requestId: fields.requestId }
}

/** For each field, the deploy workflow's input, and the variable with which its step passes the value to the command. */
export const ORDER_INPUTS = {
  target: { input: 'target', variable: 'TARGET' },
  amiOverride: { input: 'ami_override', variable: 'CLAWCTL_AMI' },
  requestId: { input: 'request_id', variable: 'CLAWCTL_REQUEST_ID' },
  requestedBy: { input: 'requested_by', variable: 'CLAWCTL_REQUESTED_BY' },
  caller: { input: 'caller', variable: 'CLAWDINATOR_INSTANCE_NAME' },
  retire: { input: 'retire', variable: 'CLAWCTL_RETIRE' },
  strategy: { input: 'strategy', variable: 'CLAWCTL_STRATEGY' },
  configRevision: { input: 'config_revision', variable: 'CLAWCTL_CONFIG_REVISION' },
  identity: { input: 'identity', variable: 'CLAWCTL_IDENTITY' },
} as const satisfies { [Field in keyof Required<Order>]: { input: string; variable: string } }
const FIELDS = Object.keys(ORDER_INPUTS) as (keyof Order)[]

/** The inputs of the workflow's dispatch, which are text. */
export function inputsOf(order: Order): Record<string, string> {
  const given = FIELDS.flatMap((name) => (order[name] ? [[ORDER_INPUTS[name].input, String(order[name])]] : []))
  return Object.fromEntries(given)
}

/**
 * GitHub's API does not return a run's inputs, so the run-name contains them; `.github/workflows/fleet-deploy.yml`
 * writes the same form with `format()`, and a test compares both. Free text of a person comes last.
 */
const TITLE =
  /^fleet (?<verb>deploy|retire) (?<target>\S+)(?: on (?<amiOverride>\S+))?(?: using (?<strategy>handover|replace))?(?: with (?<configRevision>image|newest))? \[(?<requestId>[^\]\s]+)\](?: \((?<identity>[a-z ,]+)\))?(?: via (?<caller>\S+))?(?: by (?<requestedBy>.+))?$/u

export function formatRunTitle(order: Order): string {
  const part = (word: string, value: string | undefined) => (value ? ` ${word} ${value}` : '')
  const what = `${order.retire ? 'retire' : 'deploy'} ${order.target}`
  const how = part('on', order.amiOverride) + part('using', order.strategy) + part('with', order.configRevision)
  const known = order.identity ? ` (${order.identity})` : ''
  return `fleet ${what}${how} [${order.requestId}]${known}${part('via', order.caller)}${part('by', order.requestedBy)}`
}

/** Null for a run that this workflow did not name (an older one, for example). */
export function parseRunTitle(title: string): Order | null {
  const { verb, ...fields } = TITLE.exec(title)?.groups ?? {}
  if (verb === undefined) return null
  const identity = IDENTITIES.find((known) => known === fields.identity)
  return orderWith({ ...(fields as unknown as Order), retire: verb === 'retire', identity })
}

/** An order in a deploy's record and in every answer: the newer fields are present only if they were given. */
export const storedOrderShape = {
  requestId: z.string(),
  target: z.string(),
  amiOverride: z.nullable(z.string()),
  caller: z.nullable(z.string()),
  requestedBy: z.nullable(z.string()),
  /** Present and true if the target is destroyed instead of deployed. */
  retire: z.optional(z.boolean()),
  strategy: z.optional(z.enum(STRATEGIES)),
  configRevision: z.optional(z.enum(CONFIG_REVISIONS)),
  /** The identity of caller and requester; absent if it was not verified. */
  identity: z.optional(z.enum(IDENTITIES)),
  /** The instance that a deploy of all skips, because it sent the request. */
  leavesOut: z.optional(z.string()),
}
const storedOrderSchema = z.object(storedOrderShape)
export type StoredOrder = z.infer<typeof storedOrderSchema>

export function storeOrder(order: Order): StoredOrder {
  const { requestId, target, amiOverride = null, caller = null, requestedBy = null, ...given } = orderWith(order)
  const leavesOut = target === 'all' && caller !== null ? { leavesOut: caller } : {}
  return { requestId, target, amiOverride, caller, requestedBy, ...given, ...leavesOut }
}

/** @param stored a deploy or its record */
export const orderOf = (stored: StoredOrder): Order => orderWith(stored)

/** The options of `fleet deploy` that are part of the order. */
export interface OrderFlags {
  ami?: string | undefined
  'requested-by'?: string | undefined
  'request-id'?: string | undefined
  retire?: boolean
  strategy?: Order['strategy']
  'config-revision'?: Order['configRevision']
}

/**
 * @param around the caller, if any, and an id for a request without one
 * @throws ClawctlError INVALID_REQUEST
 */
export function orderOfFlags(
  target: string,
  flags: OrderFlags,
  around: { caller: string | null; requestId: string; identity?: IdentityText | undefined },
): Order {
  const requestedBy = flags['requested-by']?.trim()
  if (requestedBy && !REQUESTED_BY_PATTERN.test(requestedBy)) {
    const message = 'The name of the requester must be one line of at most 64 characters.'
    throw new ClawctlError('INVALID_REQUEST', message, { hint: 'Shorten the value of --requested-by.' })
  }
  const requestId = flags['request-id'] || around.requestId
  if (!REQUEST_ID_PATTERN.test(requestId)) {
    throw new ClawctlError('INVALID_REQUEST', 'A request id must have 8 to 64 letters, digits and hyphens.', {
      hint: 'Leave --request-id out to generate one.',
    })
  }
  const { ami: amiOverride, retire, strategy, 'config-revision': configRevision } = flags
  return orderWith({ ...around, target, requestId, requestedBy, amiOverride, retire, strategy, configRevision })
}
