import * as z from 'zod/mini'
import { errorSchema, sourceSchema } from './failure.js'
import { storedOrderShape } from './order.js'
import { hostFailureSchema, reachedStageSchema } from './stage.js'

export const DEPLOY_STATUSES = [
  'queued',
  'running',
  'planned',
  'succeeded',
  'failed',
  'kept',
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
  'retired',
  'failed',
  'kept',
  'rolled-back',
  'skipped',
] as const

/** The steps of one host's deploy, in their order; `resume` and `rollback` are rarely needed. */
export const HOST_STEPS = [
  'resume',
  'plan',
  'candidate',
  'standby',
  'handover',
  'active',
  'cleanup',
  'rollback',
] as const

/** Diagnostics of a failed machine, taken before it was removed. */
export const hostEvidenceSchema = z.object({
  instanceId: z.string(),
  ami: z.string(),
  stages: z.array(reachedStageSchema),
  failure: z.nullable(hostFailureSchema),
  /** The last lines of its serial console. */
  console: z.array(z.string()),
})
export type HostEvidence = z.infer<typeof hostEvidenceSchema>

export const deployHostSchema = z.object({
  id: z.string(),
  /** `kept`: the candidate failed, and the old machine was not touched. `rolled-back`: it serves again after a handover. */
  outcome: z.enum(HOST_OUTCOMES),
  ami: z.nullable(z.string()),
  previousAmi: z.nullable(z.string()),
  instanceId: z.nullable(z.string()),
  /** The current step, with its newest clause; null before and after the deploy. */
  step: z.optional(
    z.nullable(z.object({ name: z.enum(HOST_STEPS), since: z.string(), clause: z.nullable(z.string()) })),
  ),
  /** Why it failed; null if it succeeded. */
  reason: z.optional(z.nullable(z.string())),
  evidence: z.optional(z.nullable(hostEvidenceSchema)),
  startedAt: z.optional(z.nullable(z.string())),
  finishedAt: z.optional(z.nullable(z.string())),
})
export type DeployHost = z.infer<typeof deployHostSchema>

export const deploySchema = z.object({
  ...storedOrderShape,
  /** The AMI that is deployed: the override, or the one that the run chose; null until then. */
  ami: z.nullable(z.string()),
  status: z.enum(DEPLOY_STATUSES),
  /** The deploy that holds the one slot while this one is queued. */
  waitsFor: z.nullable(z.object({ requestId: z.string(), target: z.string(), runId: z.number() })),
  /** The place among the queued deploys, from 1; null if it is not queued. */
  queuePosition: z._default(z.nullable(z.number()), null),
  runId: z.nullable(z.number()),
  runUrl: z.nullable(z.string()),
  createdAt: z.nullable(z.string()),
  startedAt: z.nullable(z.string()),
  finishedAt: z.nullable(z.string()),
  /** From the start of the run to its end; null until it has ended. */
  durationMs: z._default(z.nullable(z.number()), null),
  hosts: z.array(deployHostSchema),
  error: z.nullable(errorSchema),
})
export type Deploy = z.infer<typeof deploySchema>

export const stepSchema = z.object({
  job: z.string(),
  name: z.string(),
  status: z.enum(['queued', 'in_progress', 'completed']),
  conclusion: z.nullable(z.string()),
})
export type Step = z.infer<typeof stepSchema>

export const deployDetailSchema = z.extend(deploySchema, { steps: z.array(stepSchema) })
export type DeployDetail = z.infer<typeof deployDetailSchema>

export const deployAnswerSchema = z.object({ ok: z.literal(true), deploy: deploySchema })
/** Without `runs` an answer comes from the deploys' records, without `records` from GitHub's runs. */
export const deploySourcesSchema = z.object({ runs: sourceSchema, records: sourceSchema })
export type DeploySources = z.infer<typeof deploySourcesSchema>

export const deployDetailAnswerSchema = z.object({
  ok: z.literal(true),
  deploy: deployDetailSchema,
  sources: z.optional(deploySourcesSchema),
  /** Changes when the answer changes. Sent as `seen` with the next request. */
  version: z.optional(z.string()),
})
export const deploysAnswerSchema = z.object({
  ok: z.literal(true),
  deploys: z.array(deploySchema),
  /** `before` of the next page; null on the last. */
  next: z.optional(z.nullable(z.string())),
  sources: z.optional(deploySourcesSchema),
})
