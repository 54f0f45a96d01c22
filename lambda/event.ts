import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'

/** A larger body is nobody's deploy request. */
const MAX_BODY_BYTES = 16 * 1024

/** Function URL payload 2.0, as far as it is read here. Everything is optional: what is absent is treated as empty. */
const eventSchema = z.object({
  rawPath: z.optional(z.string()),
  rawQueryString: z.optional(z.string()),
  headers: z.optional(z.record(z.string(), z.unknown())),
  requestContext: z.optional(
    z.object({ http: z.optional(z.object({ method: z.optional(z.string()) })), requestId: z.optional(z.string()) }),
  ),
  body: z.nullish(z.string()),
  isBase64Encoded: z.optional(z.boolean()),
})

export interface ApiRequest {
  method: string
  path: string
  query: URLSearchParams
  header(name: string): string | undefined
  /** The body as JSON. @throws ClawctlError PAYLOAD_TOO_LARGE, INVALID_REQUEST */
  json(): unknown
  /** AWS's id of the request, for the log. */
  awsRequestId: string | null
}

export function parseEvent(event: unknown): ApiRequest {
  const parsed = eventSchema.safeParse(event)
  const data = parsed.success ? parsed.data : {}
  const headers = new Map(Object.entries(data.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]))
  return {
    method: data.requestContext?.http?.method?.toUpperCase() ?? '',
    path: data.rawPath ?? '/',
    query: new URLSearchParams(data.rawQueryString ?? ''),
    header: (name) => {
      const value = headers.get(name)
      return typeof value === 'string' ? value : undefined
    },
    json: () => parseBody(data.body ?? '', data.isBase64Encoded === true),
    awsRequestId: data.requestContext?.requestId ?? null,
  }
}

function parseBody(body: string, base64: boolean): unknown {
  const bytes = Buffer.from(body, base64 ? 'base64' : 'utf8')
  if (bytes.length > MAX_BODY_BYTES) {
    throw new ClawctlError('PAYLOAD_TOO_LARGE', `The body has more than ${MAX_BODY_BYTES} bytes.`)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new ClawctlError('INVALID_REQUEST', 'The body is not JSON in UTF-8.', { hint: 'Send {"target": "…"}.' })
  }
}
