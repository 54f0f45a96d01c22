import * as z from 'zod/mini'

export const FLEET_STATES = ['running', 'pending', 'stopping', 'stopped', 'missing', 'orphan'] as const
export const fleetInstanceSchema = z.object({
  id: z.string(),
  state: z.enum(FLEET_STATES),
  instanceId: z.nullable(z.string()),
  ami: z.nullable(z.string()),
  amiStatus: z.enum(['latest', 'stale', 'unknown']),
  instanceType: z.nullable(z.string()),
  publicIp: z.nullable(z.string()),
  launchedAt: z.nullable(z.string()),
  health: z.enum(['healthy', 'unhealthy', 'unknown']),
  revision: z.nullable(z.string()),
})
export type FleetInstance = z.infer<typeof fleetInstanceSchema>

export const imageSchema = z.object({ id: z.string(), name: z.string(), createdAt: z.string() })
export type Image = z.infer<typeof imageSchema>

export const fleetSchema = z.object({
  latestAmi: z.nullable(imageSchema),
  instances: z.array(fleetInstanceSchema),
})
export type Fleet = z.infer<typeof fleetSchema>

export const fleetAnswerSchema = z.object({ ok: z.literal(true), fleet: fleetSchema })
