import type { BundleObject } from '../contract/index.js'
import { SECRET_NAME_PATTERN } from './secrets.js'

/**
 * Keys of a bundle's objects, relative to its prefix: `FOLDER/NAME.GENERATION.DIGEST.ENDING`. The generation is that of
 * the manifest for which the object was written. An object of the current generation or an older one that the current
 * manifest does not name will not be named by a later one either (docs/adr/0015).
 */
export type ObjectKind = BundleObject['kind']

const FORMS = {
  secret: { folder: 'secrets', ending: 'age' },
  identity: { folder: 'secrets', ending: 'key' },
  repo: { folder: 'repos', ending: 'tar.gz' },
} as const satisfies Record<ObjectKind, { folder: string; ending: string }>

/** The repository whose flake a host switches to: required for every boot. */
export const REQUIRED_REPOS: readonly string[] = ['clawdinators']

/** 16 digits keep keys readable; a reader compares the content with the whole digest in the manifest anyway. */
const DIGEST_DIGITS = 16

export function objectFile(kind: ObjectKind, name: string): string {
  const { folder, ending } = FORMS[kind]
  return `${folder}/${name}.${ending}`
}

export function objectKey(kind: ObjectKind, name: string, generation: number, sha256: string): string {
  const { folder, ending } = FORMS[kind]
  return `${folder}/${name}.${generation}.${sha256.slice(0, DIGEST_DIGITS)}.${ending}`
}

/** The parts of a key; null if it does not have this form. */
export function parseObjectKey(key: string): { name: string; generation: number } | null {
  const match = /^(?:secrets|repos)\/(.+)\.(\d{1,15})\.[0-9a-f]{16}\.(?:age|key|tar\.gz)$/.exec(key)
  return match ? { name: match[1] ?? '', generation: Number(match[2]) } : null
}

/** The name of the secret in a key below `secrets/`, generated or a plain file name; null for other keys. */
export function secretNameOf(key: string): string | null {
  if (!key.startsWith('secrets/')) return null
  const name = parseObjectKey(key)?.name ?? key.slice('secrets/'.length).replace(/\.age$/, '')
  return SECRET_NAME_PATTERN.test(name) ? name : null
}
