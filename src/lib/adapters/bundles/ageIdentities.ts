import { createHmac, randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { armor, Decrypter } from 'age-encryption'
import { inspectAge } from '../../domain/bundles/age.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Identities, Identity, Opened } from '../../ops/bundles/ports.js'
import { reason, sha256Of, shown } from './secretsFolder.js'

/** An identity file has a key and a comment or two. */
const MOST_BYTES = 64 * 1024
/** What age-encryption can open; ssh keys it can't. */
const NATIVE = new Set(['X25519', 'mlkem768x25519'])
const KEY = /^AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]+$/

/**
 * Identities to decrypt with: one file for all, or `<id>.key` of a directory for each. What they open is compared by a
 * digest under a key that this process alone has, and goes nowhere.
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
  }
}

/** @throws ClawctlError INVALID_SECRETS, never with anything of the content */
async function load(path: string, salt: Buffer): Promise<Identity> {
  const refuse = (problem: string, cause?: unknown) =>
    new ClawctlError('INVALID_SECRETS', `The identity ${shown(path)} ${problem}.`, {
      hint: 'It must hold an age identity as age-keygen writes one: AGE-SECRET-KEY-1…',
      ...(cause === undefined ? {} : { cause }),
    })
  const bytes = await readFile(path).catch((error) => {
    throw refuse(reason(error), error)
  })
  if (bytes.length > MOST_BYTES || !(await stat(path)).isFile()) throw refuse('is no identity file')
  const lines = bytes.toString('utf8').split(/\r?\n/)
  const keys = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
  if (keys.some((line) => line.startsWith('-----BEGIN OPENSSH'))) {
    throw refuse('is an ssh key, which clawctl can neither test with nor upload')
  }
  if (keys.length === 0 || !keys.every((line) => KEY.test(line))) throw refuse('holds no age identity')
  const decrypter = new Decrypter()
  try {
    for (const key of keys) decrypter.addIdentity(key)
  } catch {
    // Not the cause: its words may hold the key.
    throw refuse('holds a damaged age identity')
  }
  return { bytes, sha256: sha256Of(bytes), open: (ciphertext) => openWith(decrypter, ciphertext, salt) }
}

/** A token is the same with the line end that an editor leaves, and without. */
function trimmed(plaintext: Uint8Array): Uint8Array {
  const end = plaintext.findLastIndex((byte) => byte > 0x20) + 1
  return plaintext.subarray(0, end)
}

async function openWith(decrypter: Decrypter, ciphertext: Uint8Array, salt: Buffer): Promise<Opened> {
  const form = inspectAge(ciphertext)
  if (!form.ok) return { outcome: 'failed' }
  if (!form.recipients.some((type) => NATIVE.has(type))) {
    const types = [...new Set(form.recipients)].join(', ')
    return { outcome: 'skipped', why: `it is encrypted for ${types} keys only, and the library knows age's own` }
  }
  try {
    const file = form.encoding === 'armored' ? armor.decode(Buffer.from(ciphertext).toString('latin1')) : ciphertext
    const plaintext = await decrypter.decrypt(file)
    return { outcome: 'opened', digest: createHmac('sha256', salt).update(trimmed(plaintext)).digest('hex') }
  } catch {
    return { outcome: 'failed' }
  }
}
