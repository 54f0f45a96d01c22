import type { OneTimeCodes } from '../../ops/people/people.js'

const ISSUER = 'clawctl'
/** RFC 6238 with the values that every authenticator supports: SHA-1, 6 digits, 30 seconds. */
const PERIOD_S = 30
/** Also accepts one step before and after, because clocks differ and typing takes time. */
const WINDOW = 1
const SECRET_BYTES = 20

/** RFC 6238 by `otpauth`, which compares in constant time. Loaded when a code is made or checked. */
export const oneTimeCodes: OneTimeCodes = {
  async enrol(name) {
    const { Secret, TOTP } = await import('otpauth')
    const secret = new Secret({ size: SECRET_BYTES })
    return { secret: secret.base32, uri: new TOTP({ issuer: ISSUER, label: name, secret }).toString() }
  },
  async stepOf(secret, code, at) {
    const { Secret, TOTP } = await import('otpauth')
    const timestamp = at.getTime()
    const totp = new TOTP({ secret: Secret.fromBase32(secret), period: PERIOD_S })
    const delta = totp.validate({ token: code, timestamp, window: WINDOW })
    return delta === null ? null : Math.floor(timestamp / 1000 / PERIOD_S) + delta
  },
}

/** A QR code for terminals, with two rows in a line; the library is loaded on use. */
export async function qrCode(text: string): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr')
  return renderUnicodeCompact(text)
}
