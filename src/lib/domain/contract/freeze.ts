import * as z from 'zod/mini'
import { askerShape, IDENTITIES } from './order.js'
import { ID_PATTERN, ONE_LINE_PATTERN } from './patterns.js'

/** Limited, so that a forgotten freeze ends. */
export const MAX_FREEZE_S = 30 * 24 * 3600

const target = z.string('must be text').check(z.regex(ID_PATTERN, 'must be "all" or an instance id'))

/** Body of `POST /v1/freezes`. */
export const freezeRequestSchema = z.strictObject({
  target,
  reason: z
    .string('must be text')
    .check(
      z.trim(),
      z.minLength(1, 'is empty'),
      z.maxLength(200, 'is too long'),
      z.regex(ONE_LINE_PATTERN, 'must be one line without control characters'),
    ),
  /** Absent: until a person ends it. */
  forSeconds: z.optional(
    z.int('must be a whole number').check(z.minimum(60, 'is too short'), z.maximum(MAX_FREEZE_S, 'is too long')),
  ),
  ...askerShape,
})
export type FreezeRequest = z.infer<typeof freezeRequestSchema>

/** Body of `POST /v1/unfreezes`. */
export const unfreezeRequestSchema = z.strictObject({ target, ...askerShape })
export type UnfreezeRequest = z.infer<typeof unfreezeRequestSchema>

/** Body of `POST /v1/deploys/{requestId}/cancel`. */
export const cancelRequestSchema = z.strictObject(askerShape)
export type CancelRequest = z.infer<typeof cancelRequestSchema>

export const freezeSchema = z.object({
  target: z.string(),
  reason: z.string(),
  caller: z.nullable(z.string()),
  requestedBy: z.nullable(z.string()),
  identity: z.enum(IDENTITIES),
  at: z.string(),
  /** Null: until a person ends it. */
  until: z.nullable(z.string()),
})
export type Freeze = z.infer<typeof freezeSchema>

export const freezesAnswerSchema = z.object({ ok: z.literal(true), freezes: z.array(freezeSchema) })
