import { createHash, timingSafeEqual } from 'node:crypto'
import { ClawctlError } from '../src/lib/domain/errors.js'

const digest = (text: string) => createHash('sha256').update(text).digest()

/**
 * Compares digests, so that neither a token's length nor a common beginning shows in the time.
 * @throws ClawctlError UNAUTHORIZED, the same whether a token is missing, wrong, or none is configured
 */
export function authenticate(authorization: string | undefined, tokens: readonly (string | undefined)[]): void {
  const presented = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization ?? '')?.[1] ?? ''
  const given = digest(presented)
  let known = false
  for (const token of tokens) {
    if (token && timingSafeEqual(given, digest(token))) known = true
  }
  if (known && presented !== '') return
  throw new ClawctlError('UNAUTHORIZED', 'The bearer token is missing or wrong.', {
    hint: 'Check the control token: a file or variable on a laptop, /run/agenix/clawdinator-control-token on a host.',
  })
}
