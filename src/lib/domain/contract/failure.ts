import * as z from 'zod/mini'
import { CODE_NAMES } from '../errors.js'

export const errorSchema = z.object({
  code: z.enum(CODE_NAMES),
  message: z.string(),
  hint: z.optional(z.string()),
})
export const failureSchema = z.object({ ok: z.literal(false), error: errorSchema })
