import * as z from 'zod/mini'

export const CHECK_STATUSES = ['pass', 'fail', 'skip'] as const

export type CheckStatus = (typeof CHECK_STATUSES)[number]

/** One check before a deploy. */
export const checkSchema = z.object({
  /** Stable and short, for scripts: `github-token`, `latest-ami`. */
  id: z.string(),
  title: z.string(),
  status: z.enum(CHECK_STATUSES),
  /** What was found, or why the check was skipped; never a secret. */
  evidence: z.string(),
  /** What to do or type next; null if there is nothing to do. */
  fix: z.nullable(z.string()),
})
export type Check = z.infer<typeof checkSchema>

export const preflightAnswerSchema = z.object({
  ok: z.literal(true),
  preflight: z.object({ checks: z.array(checkSchema) }),
})
