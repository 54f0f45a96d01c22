import * as z from 'zod/mini'
import { deploySchema } from './deploy.js'

/** `heartbeats/<id>.json`, written by a timer on the host. */
export const heartbeatSchema = z.object({
  instanceId: z.string(),
  amiId: z.string(),
  revision: z.nullable(z.string()),
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
  revision: z.nullable(z.string()),
  createdBy: z.string(),
  createdAt: z.string(),
  /** Keys relative to the prefix. */
  objects: z.array(z.object({ key: z.string(), size: z.number(), sha256: z.string() })),
})
export type BundleMarker = z.infer<typeof bundleMarkerSchema>

/** What follows from the run, or from the rest. */
const NOT_STORED = { waitsFor: true, queuePosition: true, startedAt: true, durationMs: true } as const

/** `deploys/<requestId>.json`: what the run itself says of its hosts, written as it goes. */
export const deployRecordSchema = z.extend(z.omit(deploySchema, NOT_STORED), {
  schema: z.literal(1),
  createdAt: z.string(),
})
export type DeployRecord = z.infer<typeof deployRecordSchema>
