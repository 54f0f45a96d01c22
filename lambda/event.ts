import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'

/** A larger body is nobody's deploy request. */
const MAX_BODY_BYTES = 16 * 1024

/** What has another type than it should is treated as absent, one field at a time: an odd body does not lose the headers. */
const lenient = <T extends z.ZodMiniType>(schema: T) => z.catch(z.optional(schema), undefined)

/** Function URL payload 2.0, as far as it is read here. */
const eventSchema = lenient(
  z.object({
    rawPath: lenient(z.string()),
    rawQueryString: lenient(z.string()),
    headers: lenient(z.record(z.string(), z.unknown())),
    requestContext: lenient(
      z.object({ http: lenient(z.object({ method: lenient(z.string()) })), requestId: lenient(z.string()) }),
    ),
    body: lenient(z.string()),
    isBase64Encoded: lenient(z.boolean()),
  }),
)

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
  const data = eventSchema.parse(event) ?? {}
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
