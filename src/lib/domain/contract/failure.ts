import * as z from 'zod/mini'
import { CODE_NAMES } from '../errors.js'

export const errorSchema = z.object({
  /** A code that this version does not know keeps its message and hint. */
  code: z.catch(z.enum(CODE_NAMES), 'UPSTREAM'),
  message: z.string(),
  hint: z.optional(z.string()),
})
/** Whether a source of an answer could be read; the other sources give the rest of the answer. */
export const sourceSchema = z.enum(['read', 'unavailable'])
export type Source = z.infer<typeof sourceSchema>

export const failureSchema = z.object({
  ok: z.literal(false),
  error: errorSchema,
  /** Of the requested deploy, if there was one. */
  requestId: z.optional(z.string()),
})
