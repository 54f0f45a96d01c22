import { announcementBody, webhookKind } from '../../domain/deploy/announcement.js'
import type { Announce } from '../../ops/deploy/ports.js'
import { HttpFailure, httpRequest } from '../httpClient.js'
import { parseRetryAfter, withRetry } from '../retry.js'

/** Three attempts of 5 s: an unavailable chat delays a deploy by at most half a minute. */
const RETRIES = { attempts: 3, attemptMs: 5_000 }

class Refused extends Error {
  readonly status: number
  readonly retryAfterMs: number
  constructor(status: number, retryAfter: string | undefined) {
    super(`HTTP ${status}`)
    this.status = status
    this.retryAfterMs = parseRetryAfter(retryAfter)
  }
}

/**
 * Posts the outcome of a deploy to webhooks: Discord's, Telegram's, or any that accepts JSON. Their addresses are secrets,
 * so a problem names only the webhook's position and host.
 * @param urls separated by blanks or lines
 * @param interruption ends the pauses and the retries; a deploy that was interrupted before is announced like any other
 */
export function createWebhooks(urls: string, userAgent: string, interruption?: AbortSignal): Announce {
  return async (deploy) => {
    const signal = interruption?.aborted ? undefined : interruption
    const posts = urls
      .split(/\s+/)
      .filter(Boolean)
      .map(async (url, index) => {
        const name = `webhook ${index + 1}`
        const kind = webhookKind(url)
        if (kind === null) return `${name} is not an https address`
        try {
          await withRetry(() => post(url, announcementBody(kind, deploy), userAgent, signal), {
            attempts: RETRIES.attempts,
            retryable: (error) => !(error instanceof Refused) || error.status === 429 || error.status >= 500,
            pauseMs: (error) => (error instanceof Refused ? error.retryAfterMs : 0),
            signal,
          })
          return null
        } catch (error) {
          const known = error instanceof Refused || error instanceof HttpFailure
          const why = signal?.aborted ? 'it was interrupted' : known ? error.message : 'it could not be reached'
          return `${name} (${new URL(url).host}): ${why}`
        }
      })
    return (await Promise.all(posts)).filter((problem) => problem !== null)
  }
}

async function post(url: string, body: object, userAgent: string, signal: AbortSignal | undefined): Promise<void> {
  const { status, headers } = await httpRequest({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', 'user-agent': userAgent },
    body: JSON.stringify(body),
    timeoutMs: RETRIES.attemptMs,
    signal,
  })
  if (status < 200 || status >= 300) throw new Refused(status, headers['retry-after'])
}
