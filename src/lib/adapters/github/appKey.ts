import { createPrivateKey, type KeyObject } from 'node:crypto'
import { ClawctlError } from '../../domain/errors.js'

const PEM = /-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----([A-Za-z0-9+/=\s]+)-----END \1-----/

/**
 * A GitHub App's private key, from a variable: PEM in PKCS#1 or PKCS#8, with line breaks, with literal `\n` instead,
 * with blanks, in quotes, or in base64.
 * @param from the variable or file, for the message; the key itself is in no message
 * @returns PEM in PKCS#8
 * @throws ClawctlError NOT_CONFIGURED
 */
export function parsePrivateKey(text: string, from: string): string {
  const malformed = (what: string) =>
    new ClawctlError('NOT_CONFIGURED', `${from} ${what}.`, {
      hint: 'Set it to the content of the .pem file from GitHub, as it is or in base64.',
    })
  const plain = text.replaceAll('\\n', '\n').replaceAll('\\r', '')
  const match = PEM.exec(plain) ?? PEM.exec(Buffer.from(plain, 'base64').toString('latin1'))
  if (/ENCRYPTED/.test(match?.[1] ?? plain)) throw malformed("holds a key with a passphrase, which can't be used")
  if (!match) throw malformed('does not hold a private key in PEM format')
  const [, label = '', body = ''] = match
  const lines = body.replace(/\s+/g, '').match(/.{1,64}/g) ?? []
  let key: KeyObject
  try {
    key = createPrivateKey([`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n'))
  } catch {
    throw malformed("holds a private key that can't be read: it is cut off or damaged")
  }
  if (key.asymmetricKeyType !== 'rsa') throw malformed('holds a key that is not an RSA key')
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
