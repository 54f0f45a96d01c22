import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'
import { parseAs, parseJson } from '../json.js'
import type { RegistryEntry } from '../registry/registry.js'
import { BOOT_MODES, IMAGE_FORMATS } from './format.js'

/** A file in the image's folder; `image build` writes it when the image is complete. */
export const IMAGE_INFO_NAME = 'image.json'

/** `image.json`: the image that was built, and its source. */
export const imageInfoSchema = z.object({
  schema: z.literal(1),
  /** The image's name in keys and AMI names. */
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
  /** The flake's revision; null if the tree was dirty or had none. */
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
  throw new ClawctlError('INVALID_IMAGE', `${origin} is not valid: ${where}${issue?.message ?? 'it is not JSON'}.`, {
    hint: 'Run `clawctl image build` again.',
  })
}

/** Facts for the AMI that the image itself does not contain. */
export interface ImageFacts {
  name: string
  bootMode: ImageInfo['bootMode']
  architecture: 'x86_64' | 'arm64'
  revision: string | null
  toplevel: string | null
}

export function architectureOfSystem(system: string): ImageFacts['architecture'] {
  return /^(?:aarch64|arm64)/.test(system) ? 'arm64' : 'x86_64'
}

/** Nix still calls flakes experimental, and an installer may have left them disabled. */
const FLAKES = ['--extra-experimental-features', 'nix-command flakes']

export interface NixImage {
  /** Attribute path of the image in the flake. */
  attribute: string
  /** The image's name in keys and AMI names. */
  name: string
}

/** The image that becomes any host of its platform. `system` is Nix's name of a platform, such as x86_64-linux. */
export function baseImage(system: string): NixImage {
  return { attribute: `packages.${system}.image`, name: 'clawdinator' }
}

/** Nix's platform of a processor, named as Node or EC2 do: an image for another one needs such a builder. */
export function systemOf(arch: string): string {
  return `${arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux`
}

/** Arguments of nix: build the image, link it as `<out>/result`, and print its store path as JSON. */
export function nixBuildArgs(build: { flake: string; attribute: string; out: string }): string[] {
  // raw: lines for a log, without a progress bar
  const output = ['--log-format', 'raw', '--print-build-logs', '--json']
  return ['build', ...FLAKES, ...output, '--out-link', `${build.out}/result`, `${build.flake}#${build.attribute}`]
}

/** The store path of the build's result. @throws ClawctlError BUILD_FAILED */
export function builtPath(json: string): string {
  const [built] = parseAs(z.array(z.object({ outputs: z.object({ out: z.string() }) })), json) ?? []
  if (built) return built.outputs.out
  throw new ClawctlError('BUILD_FAILED', 'nix build did not print a store path.', {
    hint: 'The attribute must be one derivation with an output `out`.',
  })
}

/** Arguments of nix: print the store path of the system in the image. */
export function nixToplevelArgs(build: { flake: string; attribute: string }): string[] {
  const toplevel = 'passthru.config.system.build.toplevel.outPath'
  return ['eval', ...FLAKES, '--raw', `${build.flake}#${build.attribute}.${toplevel}`]
}

/** Arguments of nix: print the flake's sources as JSON. */
export function nixMetadataArgs(flake: string): string[] {
  return ['flake', 'metadata', ...FLAKES, '--json', flake]
}

/** The commit of the flake's sources, or null if they are not exactly a commit. */
export function revisionOf(metadata: string): { revision: string | null; dirty: boolean } {
  const schema = z.object({ revision: z.optional(z.string()), dirtyRevision: z.optional(z.string()) })
  const { revision = null, dirtyRevision } = parseAs(schema, metadata) ?? {}
  return { revision, dirty: revision === null && dirtyRevision !== undefined }
}

const byteCount = z.union([z.number(), z.pipe(z.string().check(z.regex(/^\d+$/)), z.transform(Number))])
const nixInfoSchema = z.object({
  file: z.string(),
  boot_mode: z.enum(BOOT_MODES),
  system: z.string(),
  logical_bytes: z.optional(byteCount),
})
export type NixImageInfo = z.infer<typeof nixInfoSchema>

/** The description that NixOS's image builders write, below the store path. */
export const NIX_INFO_PATH = 'nix-support/image-info.json'

/** @throws ClawctlError BUILD_FAILED */
export function parseNixInfo(text: string | null, origin: string): NixImageInfo {
  const parsed = nixInfoSchema.safeParse(text === null ? null : parseJson(text))
  if (parsed.success) return parsed.data
  const issue = text === null ? 'it does not exist' : z.prettifyError(parsed.error).split('\n')[0]
  throw new ClawctlError('BUILD_FAILED', `${origin} does not describe an image: ${issue}.`, {
    hint: 'The flake must build an image of NixOS 25.05 or later: config.system.build.images.amazon.',
  })
}

/** Families older than Nitro: they boot by BIOS only. https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html */
const XEN = /^(?:c1|c3|c4|d2|f1|g2|g3|g3s|h1|i2|i3|m1|m2|m3|m4|p2|p3|r3|r4|t1|t2|x1|x1e)\./
/** Graviton types have a g after the generation (t4g, c7gn, im4gn); the exception is the first, a1. */
const GRAVITON = /^(?:a1|[a-z]+\d+[a-z]*g[a-z]*)(?:-[a-z0-9]+)*\./

/** Why an instance type can't boot an image, by the type's name; null if it can. */
export function typeRefusal(type: string, image: Pick<ImageFacts, 'architecture' | 'bootMode'>): string | null {
  const architecture = GRAVITON.test(type) ? 'arm64' : 'x86_64'
  if (architecture !== image.architecture) return `${type} is ${architecture}, the image is ${image.architecture}`
  if (architecture === 'arm64' && image.bootMode === 'legacy-bios') {
    return `${type} boots by UEFI only, the image by legacy-bios`
  }
  if (image.bootMode === 'uefi' && XEN.test(type)) return `${type} boots by BIOS only, the image by uefi`
  return null
}

/** The registry's instances that can't boot the image, with the reason. */
export function unfitInstances(
  facts: Pick<ImageFacts, 'architecture' | 'bootMode'>,
  registry: readonly Pick<RegistryEntry, 'id' | 'instanceType'>[],
): { id: string; reason: string }[] {
  return registry.flatMap(({ id, instanceType }) => {
    const reason = typeRefusal(instanceType, facts)
    return reason === null ? [] : [{ id, reason }]
  })
}
