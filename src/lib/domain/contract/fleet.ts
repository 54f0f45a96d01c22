import * as z from 'zod/mini'
import { sourceSchema } from './failure.js'
import { freezeSchema } from './freeze.js'
import { hostStageSchema } from './stage.js'

export const FLEET_STATES = ['running', 'pending', 'stopping', 'stopped', 'missing', 'orphan'] as const
export const fleetInstanceSchema = z.object({
  id: z.string(),
  state: z.enum(FLEET_STATES),
  instanceId: z.nullable(z.string()),
  ami: z.nullable(z.string()),
  /** `latest`: the newest without a failed deploy. */
  amiStatus: z.enum(['latest', 'stale', 'failed', 'unknown']),
  instanceType: z.nullable(z.string()),
  publicIp: z.nullable(z.string()),
  launchedAt: z.nullable(z.string()),
  health: z.enum(['healthy', 'unhealthy', 'unknown']),
  /** The reason for `health`, one clause; null if there is nothing to judge. */
  reason: z.optional(z.nullable(z.string())),
  /** The boot stage, from the heartbeat; null without one. */
  stage: z.optional(z.nullable(hostStageSchema)),
  revision: z.nullable(z.string()),
  /** The second machine of the instance: a candidate, or the old machine until it is removed. */
  beside: z.optional(
    z.nullable(
      z.object({
        role: z.enum(['candidate', 'predecessor']),
        instanceId: z.string(),
        ami: z.string(),
        health: z.enum(['healthy', 'unhealthy', 'unknown']),
        reason: z.string(),
        stage: z.nullable(hostStageSchema),
      }),
    ),
  ),
})
export type FleetInstance = z.infer<typeof fleetInstanceSchema>

export const imageSchema = z.object({ id: z.string(), name: z.string(), createdAt: z.string() })
export type Image = z.infer<typeof imageSchema>

export const fleetSchema = z.object({
  /** The newest image without a failed deploy. */
  latestAmi: z.nullable(imageSchema),
  /** The newest image of all if it failed, with the deploy in which it failed. */
  failedAmi: z.optional(z.nullable(z.extend(imageSchema, { requestId: z.string() }))),
  /** The running deploy, by its own record. */
  deploying: z.optional(z.nullable(z.object({ requestId: z.string(), target: z.string() }))),
  instances: z.array(fleetInstanceSchema),
  /**
   * The sources that could be read. Without `registry` the instances are those of EC2, by their tags; without `heartbeats`
   * health is unknown; without `active` the active machine is unknown; without `images` no AMI is the latest; without
   * `freezes` deploys are refused.
   */
  sources: z.optional(
    z.object({
      registry: sourceSchema,
      images: sourceSchema,
      heartbeats: sourceSchema,
      active: sourceSchema,
      deploys: sourceSchema,
      /** Absent in the answer of an older server. */
      freezes: z.optional(sourceSchema),
    }),
  ),
  /** The freezes that apply. */
  freezes: z.optional(z.array(freezeSchema)),
})
export type Fleet = z.infer<typeof fleetSchema>

export const fleetAnswerSchema = z.object({ ok: z.literal(true), fleet: fleetSchema })

/** What a picture of the fleet lacks without each of its sources. */
export const UNREAD_SOURCES: Record<keyof Required<NonNullable<Fleet['sources']>>, string> = {
  registry: 'The registry is unavailable: the instances are those of EC2.',
  heartbeats: 'The heartbeats could not be read: health is unknown.',
  active: 'The active machines could not be read.',
  images: 'The images could not be listed.',
  deploys: 'The running deploy could not be read.',
  freezes: 'The freezes could not be read: no deploy is accepted until they can be.',
}
