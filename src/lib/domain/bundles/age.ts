/**
 * The outer form of an age file, read without a key: https://age-encryption.org/v1. A file of this form may still fail to
 * decrypt; any other file is not ciphertext.
 */
export type AgeForm =
  | { ok: true; encoding: 'binary' | 'armored'; recipients: readonly string[] }
  | { ok: false; problem: string }

const VERSION = 'age-encryption.org/v1'
const BEGIN = '-----BEGIN AGE ENCRYPTED FILE-----'
const END = '-----END AGE ENCRYPTED FILE-----'
const NONCE = 16
const TAG = 16
const CHUNK = 64 * 1024 + TAG
/** Larger than the header of hundreds of recipients: the limit when searching the end of a line. */
const MAX_HEADER_BYTES = 64 * 1024

const bad = (problem: string): AgeForm => ({ ok: false, problem })

/**
 * @returns the recipients' types (`X25519`, `ssh-ed25519` …), or the problem as the end of a sentence about the file
 */
export function inspectAge(bytes: Uint8Array): AgeForm {
  if (bytes.length === 0) return bad('is empty')
  const start = latin1(bytes.subarray(0, 256))
  // No leading blanks: the library accepts them, but the program that hosts decrypt with does not.
  if (start.startsWith('-----BEGIN')) return inspectArmored(bytes)
  if (start.startsWith(`${VERSION}\r\n`)) return bad('was damaged: its line ends were changed to CRLF')
  if (!start.startsWith(`${VERSION}\n`)) {
    if (start === `${VERSION}\n`.slice(0, start.length)) return bad('is cut off in its header')
    return bad(start.startsWith('age-encryption.org/') ? 'is of another version of age' : 'is not age ciphertext')
  }
  return inspectBinary(bytes, 'binary')
}

function inspectArmored(bytes: Uint8Array): AgeForm {
  const lines = latin1(bytes).trimEnd().replaceAll('\r\n', '\n').split('\n')
  if (lines.shift() !== BEGIN) return bad('is not age ciphertext')
  if (lines.pop() !== END) return bad('is cut off: the last line of its armor is missing')
  const wellFormed = lines.every((line, index) => {
    const last = index === lines.length - 1
    return (
      /^[A-Za-z0-9+/]+={0,2}$/.test(line) && (last ? line.length <= 64 && line.length % 4 === 0 : line.length === 64)
    )
  })
  const decoded = wellFormed && lines.length > 0 ? decodeBase64(lines.join('')) : null
  if (!decoded) return bad('has damaged armor')
  if (!latin1(decoded.subarray(0, 32)).startsWith(`${VERSION}\n`)) return bad('has armor without an age file in it')
  return inspectBinary(decoded, 'armored')
}

function inspectBinary(bytes: Uint8Array, encoding: 'binary' | 'armored'): AgeForm {
  const header = readHeader(bytes)
  if ('problem' in header) return bad(header.problem)
  if (header.recipients.length === 0) return bad('names no recipient')
  if (header.recipients.includes('scrypt')) return bad('is encrypted with a passphrase, which no host has')
  const payload = bytes.length - header.length - NONCE
  if (payload < TAG) return bad('is cut off in its content')
  if (payload === TAG) return bad('encrypts nothing: its plaintext is empty')
  const last = payload % CHUNK
  if (last > 0 && last <= TAG) return bad('is cut off in its content')
  return { ok: true, encoding, recipients: header.recipients }
}

/** Version line, stanzas, MAC line. */
function readHeader(bytes: Uint8Array): { recipients: string[]; length: number } | { problem: string } {
  const cut = { problem: 'is cut off in its header' }
  let at = 0
  const line = (): string | null => {
    const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a, at)
    if (end < 0) return null
    const text = latin1(bytes.subarray(at, end))
    at = end + 1
    return text
  }
  line()
  const recipients: string[] = []
  for (;;) {
    const next = line()
    if (next === null) return cut
    if (next.endsWith('\r')) return { problem: 'was damaged: its line ends were changed to CRLF' }
    if (next.startsWith('---')) {
      if (!/^--- [A-Za-z0-9+/]{43}$/.test(next)) return { problem: 'has a damaged header: its MAC is invalid' }
      return { recipients, length: at }
    }
    const type = /^-> ([\x21-\x7e]+)(?: [\x21-\x7e]+)*$/.exec(next)?.[1]
    if (type === undefined) return { problem: 'has a damaged header' }
    for (;;) {
      const body = line()
      if (body === null) return cut
      if (!/^[A-Za-z0-9+/]{0,64}$/.test(body) || body.length % 4 === 1) return { problem: 'has a damaged header' }
      if (body.length < 64) break
    }
    // age adds meaningless stanzas on purpose ("grease"), so that readers accept unknown ones.
    if (!type.endsWith('-grease')) recipients.push(type)
  }
}

const latin1 = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

function decodeBase64(text: string): Uint8Array | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return null
  }
}
