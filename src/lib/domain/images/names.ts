import type { ImageFacts } from './build.js'
import { IMAGE_FORMATS, type ImageFormat } from './format.js'

export const IMAGE_PREFIX = 'images/'
export const MANIFEST_PREFIX = 'images/manifests/'

/** An object of zeros that S3 copies into images, so that holes are not sent. */
export const zerosKey = (bytes: number) => `${IMAGE_PREFIX}zeros/${bytes}`

/** Hex digits of a digest in names: 48 bits are enough for a fleet's images. Tags hold the whole digest. */
const SHORT = 12
export const shortDigest = (digest: string) => digest.slice(0, SHORT)

/** The image name of a file without an image.json. */
export function imageNameOf(file: string): string {
  const name = file
    .replace(/\.(?:raw|img|vhd|vpc|vmdk)$/i, '')
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[.-]+|[.-]+$/g, '')
    .slice(0, 63)
  return name || 'image'
}

export function imageKey(name: string, digest: string, format: ImageFormat): string {
  return `${IMAGE_PREFIX}${name}-${shortDigest(digest)}.${format}`
}

/** Null if the key is not that of an uploaded image. */
export function parseImageKey(key: string): { name: string; digest12: string; format: ImageFormat } | null {
  const match = new RegExp(`^${IMAGE_PREFIX}([^/]+)-([0-9a-f]{${SHORT}})\\.(${IMAGE_FORMATS.join('|')})$`).exec(key)
  if (!match) return null
  const [, name = '', digest12 = '', format] = match
  return { name, digest12, format: format as ImageFormat }
}

/** The block manifest of an image, by the digest of its blocks. */
export const blockManifestKey = (digest: string) => `${MANIFEST_PREFIX}${digest}.blocks`

/** EC2 allows 128 characters; names are unique in an account and region, which makes registering idempotent. */
export const amiName = (name: string, digest: string) => `${name}-${shortDigest(digest)}`

/** Tag of an AMI that is ready to deploy. Written last. */
export const READY_TAG = 'clawdinator'
export const DIGEST_TAG = 'digest'
export const SOURCE_TAG = 'sourceKey'
/** Tag of a snapshot that is being written, with the image's digest. It is not removed afterwards. */
export const UNFINISHED_TAG = 'clawctl:writes'

/** Tags of an AMI and its snapshot, except the one that is written last. */
export function imageTags(facts: ImageFacts, digest: string, source: string | null): Record<string, string> {
  return {
    Name: amiName(facts.name, digest),
    app: 'clawdinator',
    [DIGEST_TAG]: digest,
    ...(facts.revision ? { revision: facts.revision } : {}),
    ...(facts.toplevel ? { toplevel: facts.toplevel } : {}),
    ...(source ? { [SOURCE_TAG]: source } : {}),
  }
}

/** The boot line: the base image prints it on the serial console when it is up. nix/image.nix has the same. */
export const BOOT_LINE = 'clawdinator-image: booted'
