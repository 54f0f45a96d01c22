import * as z from 'zod/mini'
import { ClawctlError } from '../errors.js'
import { parseJson } from '../json.js'
import type { RegistryEntry } from '../registry/registry.js'
import { BOOT_MODES } from './info.js'

/** Flakes are still an experiment in nix's own words; an installer may have left them off. */
const FLAKES = ['--extra-experimental-features', 'nix-command flakes']

/** What is built: the base image, or the image of one host. */
export interface NixImage {
  /** Attribute path of the image in the flake. */
  attribute: string
  /** What the image is called in keys and AMI names. */
  name: string
}

/** `system` is Nix's name of a platform, such as x86_64-linux. */
export function baseImage(system: string): NixImage {
  return { attribute: `packages.${system}.image`, name: 'clawdinator' }
}

/** The flake has its hosts by their host names. */
export function hostImage({ host }: Pick<RegistryEntry, 'host'>): NixImage {
  return { attribute: `nixosConfigurations.${host}.config.system.build.images.amazon`, name: host }
}

/** Of the machine's own processor: an image for the other one needs a builder of that kind. */
export function systemOf(arch: string): string {
  return `${arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux`
}

/** Arguments of nix: build the image, link it as `<out>/result`, and tell its store path as JSON. */
export function nixBuildArgs(build: { flake: string; attribute: string; out: string }): string[] {
  // raw: lines for a log, no bar that is drawn anew
  const output = ['--log-format', 'raw', '--print-build-logs', '--json']
  return ['build', ...FLAKES, ...output, '--out-link', `${build.out}/result`, `${build.flake}#${build.attribute}`]
}

/** The store path of what was built. @throws ClawctlError BUILD_FAILED */
export function builtPath(json: string): string {
  const parsed = z.array(z.object({ outputs: z.object({ out: z.string() }) })).safeParse(parseJson(json))
  const [built] = parsed.success ? parsed.data : []
  if (built) return built.outputs.out
  throw new ClawctlError('BUILD_FAILED', 'nix build did not tell what it built.', {
    hint: 'The attribute must be one derivation with an output `out`.',
  })
}

/** Arguments of nix: print the store path of the system in the image. */
export function nixToplevelArgs(build: { flake: string; attribute: string }): string[] {
  const toplevel = 'passthru.config.system.build.toplevel.outPath'
  return ['eval', ...FLAKES, '--raw', `${build.flake}#${build.attribute}.${toplevel}`]
}

/** Arguments of nix: print what the flake's sources are. */
export function nixMetadataArgs(flake: string): string[] {
  return ['flake', 'metadata', ...FLAKES, '--json', flake]
}

/** The commit that the flake's sources are, or null where they are not exactly one. */
export function revisionOf(metadata: string): { revision: string | null; dirty: boolean } {
  const parsed = z
    .object({ revision: z.optional(z.string()), dirtyRevision: z.optional(z.string()) })
    .safeParse(parseJson(metadata))
  const { revision = null, dirtyRevision } = parsed.success ? parsed.data : {}
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

/** Where NixOS's image builders say what they built, below the store path. */
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
