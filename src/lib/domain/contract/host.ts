import * as z from 'zod/mini'
import { DEPLOY_STATUSES, HOST_OUTCOMES, hostEvidenceSchema } from './deploy.js'
import { hostStageSchema } from './stage.js'
import { heartbeatSchema } from './stored.js'

const { stages, failure, gateway, selfUpdate } = heartbeatSchema.shape

/** One machine of an instance, as EC2, its own heartbeat and its console show it. */
export const hostMachineSchema = z.object({
  instanceId: z.string(),
  /** Slot of the fleet stack; null for a machine from before slots existed. */
  slot: z.nullable(z.enum(['a', 'b'])),
  /** `serving`: the active machine. `other`: neither active nor part of a handover. */
  role: z.enum(['serving', 'candidate', 'predecessor', 'other']),
  state: z.string(),
  instanceType: z.string(),
  publicIp: z.nullable(z.string()),
  launchedAt: z.string(),
  /** The deploy that launched it. */
  requestId: z.nullable(z.string()),
  ami: z.object({
    id: z.string(),
    name: z.nullable(z.string()),
    createdAt: z.nullable(z.string()),
    failedIn: z.nullable(z.string()),
  }),
  health: z.enum(['healthy', 'unhealthy', 'unknown']),
  reason: z.string(),
  heartbeatAt: z.nullable(z.string()),
  stage: z.nullable(hostStageSchema),
  stages,
  failure,
  gateway,
  revision: z.nullable(z.string()),
  imageRevision: z.nullable(z.string()),
  bundleGeneration: z.nullable(z.number()),
  selfUpdate,
  /** The last lines of its serial console. */
  console: z.array(z.string()),
})
export type HostMachine = z.infer<typeof hostMachineSchema>

export const hostViewSchema = z.object({
  id: z.string(),
  /** Whether it is in the registry. */
  registered: z.boolean(),
  /** The active machine; null if no object names it. */
  active: z.nullable(z.object({ instanceId: z.string(), deploy: z.nullable(z.string()), at: z.string() })),
  /** The active machine first. */
  machines: z.array(hostMachineSchema),
  /** Newest first; null if they could not be read. */
  deploys: z.nullable(
    z.array(
      z.object({
        requestId: z.string(),
        status: z.enum(DEPLOY_STATUSES),
        outcome: z.enum(HOST_OUTCOMES),
        ami: z.nullable(z.string()),
        createdAt: z.nullable(z.string()),
        reason: z.nullable(z.string()),
        /** Diagnostics of the machine that failed. */
        evidence: z.nullable(hostEvidenceSchema),
      }),
    ),
  ),
})
export type HostView = z.infer<typeof hostViewSchema>

export const hostAnswerSchema = z.object({ ok: z.literal(true), host: hostViewSchema })
