import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'

const MAX_BODY_BYTES = 16 * 1024
const MAX_BASE64_CHARS = Math.ceil(MAX_BODY_BYTES / 3) * 4
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/

/** A field of the wrong type counts as absent: a malformed body must not discard the headers. */
const lenient = <T extends z.ZodMiniType>(schema: T) => z.catch(z.optional(schema), undefined)

/** The part of Function URL payload 2.0 that is read here. */
const eventSchema = lenient(
  z.object({
    rawPath: lenient(z.string()),
    rawQueryString: lenient(z.string()),
    headers: lenient(z.record(z.string(), z.unknown())),
    requestContext: lenient(
      z.object({
        http: lenient(z.object({ method: lenient(z.string()), sourceIp: lenient(z.string()) })),
        requestId: lenient(z.string()),
      }),
    ),
    body: lenient(z.string()),
    isBase64Encoded: lenient(z.boolean()),
  }),
)

export interface ApiRequest {
  method: string
  path: string
  readonly query: URLSearchParams
  /** Undefined also for a header that was sent twice. */
  header(name: string): string | undefined
  /** The body as JSON. @throws ClawctlError PAYLOAD_TOO_LARGE, INVALID_REQUEST */
  json(): unknown
  /** AWS's id of the request, for the log. */
  awsRequestId: string | null
  /** The address that AWS saw, for the log; behind a proxy, the proxy's. */
  sourceIp: string | null
}

export function parseEvent(event: unknown): ApiRequest {
  const data = eventSchema.parse(event) ?? {}
  return {
    method: data.requestContext?.http?.method?.slice(0, 16).toUpperCase() ?? '',
    path: data.rawPath ?? '/',
    // Parsed on access: nothing of an unauthorized request is parsed.
    get query() {
      return new URLSearchParams(data.rawQueryString ?? '')
    },
    header: (name) => {
      const [value, ...more] = Object.entries(data.headers ?? {}).filter(([key]) => key.toLowerCase() === name)
      return more.length === 0 && typeof value?.[1] === 'string' ? value[1] : undefined
    },
    json: () => parseBody(data.body ?? '', data.isBase64Encoded === true),
    awsRequestId: data.requestContext?.requestId?.slice(0, 64) ?? null,
    sourceIp: data.requestContext?.http?.sourceIp?.slice(0, 64) ?? null,
  }
}

function parseBody(body: string, base64: boolean): unknown {
  // Refused before it is decoded: every byte is at least one character.
  if (body.length > (base64 ? MAX_BASE64_CHARS : MAX_BODY_BYTES)) throw tooLarge()
  if (base64 && !BASE64.test(body)) throw invalid('The body is marked as base64, but is not base64.')
  // UTF-8 can't encode a lone surrogate; Buffer would replace it by another character.
  if (!base64 && /\p{Cs}/u.test(body)) throw invalid('The body is not JSON in UTF-8.')
  const bytes = Buffer.from(body, base64 ? 'base64' : 'utf8')
  if (bytes.length > MAX_BODY_BYTES) throw tooLarge()
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw invalid('The body is not JSON in UTF-8.')
  }
}

const tooLarge = () => new ClawctlError('PAYLOAD_TOO_LARGE', `The body has more than ${MAX_BODY_BYTES} bytes.`)
const invalid = (message: string) => new ClawctlError('INVALID_REQUEST', message, { hint: 'Send {"target": "…"}.' })
