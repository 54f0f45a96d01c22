import * as z from 'zod/mini'
import { CODE_NAMES } from './errors.js'

/**
 * The data that crosses an edge: Control API, CLI output, S3 records, workflow inputs.
 * Everything from outside is `unknown` until one of these has parsed it.
 */

export const ID_PATTERN = /^[a-z][a-z0-9-]{0,62}$/
/** EC2's own forms: 8 digits (before 2016) and 17. */
export const AMI_PATTERN = /^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$/
export const REQUEST_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9-]{7,63}$/
/** A person's name as chats show it: one line, no control characters, at most 64 UTF-16 units. */
export const REQUESTED_BY_PATTERN = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u

const nullable = <T extends z.core.SomeType>(schema: T) => z.nullable(schema)

export const instanceIdSchema = z.string().check(z.regex(ID_PATTERN))

export const errorSchema = z.object({
  code: z.enum(CODE_NAMES),
  message: z.string(),
  hint: z.optional(z.string()),
})
export const failureSchema = z.object({ ok: z.literal(false), error: errorSchema })

export const deployRequestSchema = z.strictObject({
  target: z.string().check(z.maxLength(128)),
  amiOverride: z.optional(z.string().check(z.maxLength(64))),
  caller: z.optional(instanceIdSchema),
  requestedBy: z.optional(z.string().check(z.regex(REQUESTED_BY_PATTERN))),
  requestId: z.optional(z.string().check(z.regex(REQUEST_ID_PATTERN))),
})
export type DeployRequest = z.infer<typeof deployRequestSchema>

export const DEPLOY_STATUSES = [
  'queued',
  'running',
  'planned',
  'succeeded',
  'failed',
  'rolled-back',
  'cancelled',
  'timed-out',
] as const
export type DeployStatus = (typeof DEPLOY_STATUSES)[number]

export const HOST_OUTCOMES = [
  'pending',
  'deploying',
  'planned',
  'created',
  'replaced',
  'failed',
  'rolled-back',
  'skipped',
] as const

export const deployHostSchema = z.object({
  id: z.string(),
  outcome: z.enum(HOST_OUTCOMES),
  ami: nullable(z.string()),
  previousAmi: nullable(z.string()),
  instanceId: nullable(z.string()),
})
export type DeployHost = z.infer<typeof deployHostSchema>

export const deploySchema = z.object({
  requestId: z.string(),
  target: z.string(),
  /** The AMI that is being deployed: the override, or what the run resolved; null while nobody knows. */
  ami: nullable(z.string()),
  amiOverride: nullable(z.string()),
  caller: nullable(z.string()),
  requestedBy: nullable(z.string()),
  status: z.enum(DEPLOY_STATUSES),
  /** The deploy that holds the one slot while this one is queued. */
  waitsFor: nullable(z.object({ requestId: z.string(), target: z.string(), runId: z.number() })),
  runId: nullable(z.number()),
  runUrl: nullable(z.string()),
  createdAt: nullable(z.string()),
  startedAt: nullable(z.string()),
  finishedAt: nullable(z.string()),
  hosts: z.array(deployHostSchema),
  error: nullable(errorSchema),
})
export type Deploy = z.infer<typeof deploySchema>

export const stepSchema = z.object({
  job: z.string(),
  name: z.string(),
  status: z.enum(['queued', 'in_progress', 'completed']),
  conclusion: nullable(z.string()),
})
export type Step = z.infer<typeof stepSchema>

export const deployDetailSchema = z.extend(deploySchema, { steps: z.array(stepSchema) })
export type DeployDetail = z.infer<typeof deployDetailSchema>

export const FLEET_STATES = ['running', 'pending', 'stopping', 'stopped', 'missing', 'orphan'] as const
export const fleetInstanceSchema = z.object({
  id: z.string(),
  state: z.enum(FLEET_STATES),
  instanceId: nullable(z.string()),
  ami: nullable(z.string()),
  amiStatus: z.enum(['latest', 'stale', 'unknown']),
  instanceType: nullable(z.string()),
  publicIp: nullable(z.string()),
  launchedAt: nullable(z.string()),
  health: z.enum(['healthy', 'unhealthy', 'unknown']),
  revision: nullable(z.string()),
})
export type FleetInstance = z.infer<typeof fleetInstanceSchema>

export const imageSchema = z.object({ id: z.string(), name: z.string(), createdAt: z.string() })
export type Image = z.infer<typeof imageSchema>

export const fleetSchema = z.object({
  latestAmi: nullable(imageSchema),
  instances: z.array(fleetInstanceSchema),
})
export type Fleet = z.infer<typeof fleetSchema>

export const deployAnswerSchema = z.object({ ok: z.literal(true), deploy: deploySchema })
export const deployDetailAnswerSchema = z.object({ ok: z.literal(true), deploy: deployDetailSchema })
export const deploysAnswerSchema = z.object({ ok: z.literal(true), deploys: z.array(deploySchema) })
export const fleetAnswerSchema = z.object({ ok: z.literal(true), fleet: fleetSchema })

/** `heartbeats/<id>.json`, written by a timer on the host. */
export const heartbeatSchema = z.object({
  instanceId: z.string(),
  amiId: z.string(),
  revision: nullable(z.string()),
  /** systemd's ActiveState of the gateway. */
  service: z.string(),
  at: z.string(),
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/** `bootstrap/<id>/config.json`, written last: without it there is no bundle. */
export const bundleMarkerSchema = z.object({
  schema: z.literal(1),
  instance: z.object({
    id: z.string(),
    host: z.string(),
    instanceType: z.string(),
    bootstrapPrefix: z.string(),
    discordTokenSecret: z.string(),
  }),
  revision: nullable(z.string()),
  createdBy: z.string(),
  createdAt: z.string(),
  /** Keys relative to the prefix. */
  objects: z.array(z.object({ key: z.string(), size: z.number(), sha256: z.string() })),
})
export type BundleMarker = z.infer<typeof bundleMarkerSchema>

/** `deploys/<requestId>.json`: what the run itself says of its hosts, written as it goes. */
export const deployRecordSchema = z.object({
  schema: z.literal(1),
  requestId: z.string(),
  target: z.string(),
  ami: nullable(z.string()),
  amiOverride: nullable(z.string()),
  caller: nullable(z.string()),
  requestedBy: nullable(z.string()),
  status: z.enum(DEPLOY_STATUSES),
  runId: nullable(z.number()),
  runUrl: nullable(z.string()),
  createdAt: z.string(),
  finishedAt: nullable(z.string()),
  hosts: z.array(deployHostSchema),
  error: nullable(errorSchema),
})
export type DeployRecord = z.infer<typeof deployRecordSchema>
