import { createHmac, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { armor, Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { inspectAge } from '../../domain/bundles/age.js'
import { FINGERPRINT_DIGITS } from '../../domain/bundles/secrets.js'
import { ClawctlError } from '../../domain/errors.js'
import type { AgeKeys, Identities, Identity, Opened } from '../../ops/bundles/ports.js'
import { reason, sha256Of, shown } from './secretsFolder.js'

/** An identity file has a key and a comment or two. */
const MAX_BYTES = 64 * 1024
/** The keys that age-encryption supports; an identity file may hold no others. */
const NATIVE = new Set(['X25519', 'mlkem768x25519'])
const KEY = /^AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]+$/

/**
 * Identities to decrypt with: one file for all, or `<id>.key` in a directory for each. Plaintexts are compared by a
 * keyed digest; the key exists only in this process.
 */
export function ageIdentities(options: { file?: string | undefined; folder?: string | undefined }): Identities {
  const salt = randomBytes(32)
  let shared: Promise<Identity | null> | undefined
  return {
    shared() {
      shared ??= options.file === undefined ? Promise.resolve(null) : load(options.file, salt)
      return shared
    },
    of: async (id) => (options.folder === undefined ? null : load(join(options.folder, `${id}.key`), salt)),
    parse: (bytes, origin) => parse(bytes, origin, salt),
  }
}

export const ageKeys: AgeKeys = {
  async generate() {
    const identity = await generateX25519Identity()
    const recipient = await identityToRecipient(identity)
    return { text: `# public key: ${recipient}\n${identity}\n`, recipient }
  },
  async encrypt(plaintext, recipients) {
    const encrypter = new Encrypter()
    for (const recipient of recipients) {
      try {
        encrypter.addRecipient(recipient)
      } catch (error) {
        throw new ClawctlError('INVALID_SECRETS', `clawctl can't encrypt for the recipient ${shown(recipient)}.`, {
          hint: 'It encrypts only for age recipients (age1…); `age-keygen` creates one for a maintainer.',
          cause: error,
        })
      }
    }
    return encrypter.encrypt(plaintext)
  },
}

/**
 * A pipe is read like a file: `--identity <(pass show key)` leaves no key on the disk.
 * @throws ClawctlError INVALID_SECRETS, never with any of the content
 */
async function load(path: string, salt: Buffer): Promise<Identity> {
  const origin = shown(path)
  // One byte more than allowed is enough to refuse an endless source.
  const bytes = await buffer(createReadStream(path, { end: MAX_BYTES })).catch((error) => {
    throw unfit(origin, reason(error), error)
  })
  return parse(bytes, origin, salt)
}

async function parse(bytes: Uint8Array, origin: string, salt: Buffer): Promise<Identity> {
  if (bytes.length > MAX_BYTES) throw unfit(origin, 'is not an identity file')
  const lines = Buffer.from(bytes).toString('utf8').split(/\r?\n/)
  const keys = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
  if (keys.some((line) => line.startsWith('-----BEGIN OPENSSH'))) {
    throw unfit(origin, 'is an ssh key, which clawctl does not support')
  }
  if (keys.length === 0 || !keys.every((line) => KEY.test(line))) throw unfit(origin, 'does not hold an age identity')
  let decrypters: { fingerprint: string; decrypter: Decrypter }[]
  try {
    decrypters = await Promise.all(
      keys.map(async (key) => {
        const decrypter = new Decrypter()
        decrypter.addIdentity(key)
        return { fingerprint: fingerprintOf(await identityToRecipient(key)), decrypter }
      }),
    )
  } catch {
    // No cause: its message may contain the key.
    throw unfit(origin, 'holds a damaged age identity')
  }
  const open = async (
    ciphertext: Uint8Array,
  ): Promise<{ plaintext: Uint8Array; fingerprint: string } | { why: string }> => {
    const form = inspectAge(ciphertext)
    if (!form.ok) return { why: form.problem }
    if (!form.recipients.some((type) => NATIVE.has(type))) {
      const types = [...new Set(form.recipients)].join(', ')
      return { why: `is encrypted only for ${types} keys, which no age identity can decrypt` }
    }
    for (const { fingerprint, decrypter } of decrypters) {
      try {
        const file = form.encoding === 'armored' ? armor.decode(Buffer.from(ciphertext).toString('latin1')) : ciphertext
        return { plaintext: await decrypter.decrypt(file), fingerprint }
      } catch {
        // Another key may decrypt it.
      }
    }
    return { why: "can't be decrypted" }
  }
  return {
    bytes,
    sha256: sha256Of(bytes),
    fingerprints: decrypters.map(({ fingerprint }) => fingerprint),
    async open(ciphertext): Promise<Opened> {
      const opened = await open(ciphertext)
      if (!('plaintext' in opened)) return { outcome: 'failed', why: opened.why }
      const digest = createHmac('sha256', salt).update(trimmed(opened.plaintext)).digest('hex')
      return { outcome: 'opened', digest, fingerprint: opened.fingerprint }
    },
    async decrypt(ciphertext) {
      const opened = await open(ciphertext)
      return 'plaintext' in opened ? opened.plaintext : null
    },
  }
}

/** The line end that an editor adds does not change a token. */
function trimmed(plaintext: Uint8Array): Uint8Array {
  const end = plaintext.findLastIndex((byte) => byte > 0x20) + 1
  return plaintext.subarray(0, end)
}

/** @param recipient `age1…` */
function fingerprintOf(recipient: string): string {
  return sha256Of(Buffer.from(recipient)).slice(0, FINGERPRINT_DIGITS)
}

function unfit(origin: string, problem: string, cause?: unknown): ClawctlError {
  return new ClawctlError('INVALID_SECRETS', `The identity ${origin} ${problem}.`, {
    hint: 'It must hold an age identity in the format of age-keygen: AGE-SECRET-KEY-1…',
    ...(cause === undefined ? {} : { cause }),
  })
}
