import type { Attempt } from '../../ops/images/ports.js'
import { asAwsFailure, DAMAGED_BODY, NO_CREDENTIALS, THROTTLED } from './errors.js'
import type { PutAnswer } from './signedPut.js'

/** The outcome of one PUT. @throws ClawctlError if a retry can't help */
export async function attempt(what: string, put: () => Promise<PutAnswer>): Promise<Attempt<PutAnswer>> {
  let answer: PutAnswer
  try {
    answer = await put()
  } catch (error) {
    if (NO_CREDENTIALS.has((error as Error).name)) throw asAwsFailure(what, error)
    return { ok: false, kind: 'passing', error: error as Error }
  }
  const { status } = answer
  if (status >= 200 && status < 300) return { ok: true, value: answer }
  const refusal = refusalOf(answer)
  if (THROTTLED.has(refusal.name) || status === 429 || (status === 503 && !refusal.named)) {
    return { ok: false, kind: 'throttled', error: refusal }
  }
  if (status >= 500 || answer.clockCorrected || DAMAGED_BODY.test(refusal.name) || isBadChecksum(refusal)) {
    return { ok: false, kind: 'passing', error: refusal }
  }
  throw asAwsFailure(what, refusal)
}

/** EBS calls it a ValidationException with a reason of its own. */
function isBadChecksum({ message }: Error): boolean {
  return /checksum/i.test(message) && /match|invalid|INVALID_BLOCK/i.test(message)
}

/** A service's error as the SDK would throw it: S3 sends XML, EBS sends JSON with a header. */
function refusalOf({ status, headers, text }: PutAnswer) {
  const tag = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1]
  const field = (name: string) => new RegExp(`"${name}"\\s*:\\s*"([^"]*)"`, 'i').exec(text)?.[1]
  const named = headers['x-amzn-errortype']?.split(/[:#]/)[0] ?? tag('Code') ?? field('__type')?.split('#').pop()
  const message = tag('Message') ?? field('message') ?? `HTTP ${status}`
  const reason = field('Reason')
  const error = new Error(reason ? `${message} (${reason})` : message)
  error.name = named ?? String(status)
  return Object.assign(error, {
    named: named !== undefined,
    $metadata: { httpStatusCode: status },
    $response: { headers },
  })
}
