import * as z from 'zod/mini'

/** The stages of a boot, in order; `yielded`: another machine is active for its id. */
export const HOST_STAGES = [
  'booted',
  'bundle',
  'secrets',
  'repositories',
  'switch',
  'standby',
  'active',
  'yielded',
] as const
export const hostStageSchema = z.enum(HOST_STAGES)
export type HostStage = z.infer<typeof hostStageSchema>

export const reachedStageSchema = z.object({ stage: hostStageSchema, at: z.string() })

export const hostFailureSchema = z.object({
  stage: hostStageSchema,
  /** systemd unit. */
  unit: z.nullish(z.string()),
  lines: z.catch(z.array(z.string()), []),
  at: z.string(),
})
