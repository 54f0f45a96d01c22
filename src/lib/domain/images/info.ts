import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'
import { parseJson } from '../json.js'
import { IMAGE_FORMATS } from './format.js'

/** Beside the image, written by `image build` when the image is whole. */
export const IMAGE_INFO_NAME = 'image.json'

export const BOOT_MODES = ['legacy-bios', 'uefi', 'uefi-preferred'] as const

/** `image.json`: what was built, of what. */
export const imageInfoSchema = z.object({
  schema: z.literal(1),
  /** What the image is called in keys and AMI names. */
  name: z.string().check(z.regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'must be lowercase letters, digits, dots and hyphens')),
  /** Absolute, or relative to the folder of image.json. */
  path: z.string().check(z.minLength(1)),
  format: z.enum(IMAGE_FORMATS),
  logicalBytes: z.number(),
  allocatedBytes: z.number(),
  /** Of the whole file, lowercase hexadecimal. */
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')),
  bootMode: z.enum(BOOT_MODES),
  /** Nix's name of the platform, such as x86_64-linux. */
  system: z.string(),
  /** The flake's revision; null where the tree was dirty or had none. */
  revision: z.nullable(z.string()),
  /** Store path of the system in the image. */
  toplevel: z.nullable(z.string()),
})
export type ImageInfo = z.infer<typeof imageInfoSchema>

/** @throws ClawctlError INVALID_IMAGE naming the field */
export function parseImageInfo(text: string, origin: string): ImageInfo {
  const parsed = imageInfoSchema.safeParse(parseJson(text))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : ''
  throw new ClawctlError('INVALID_IMAGE', `${origin} is not valid: ${where}${issue?.message ?? 'it is no JSON'}.`, {
    hint: 'Let `clawctl image build` write it again.',
  })
}

/** What an AMI needs to know of the image and can't see in it. */
export interface ImageFacts {
  name: string
  bootMode: ImageInfo['bootMode']
  architecture: 'x86_64' | 'arm64'
  revision: string | null
  toplevel: string | null
}

export function architectureOf(system: string): ImageFacts['architecture'] {
  return /^(?:aarch64|arm64)/.test(system) ? 'arm64' : 'x86_64'
}
