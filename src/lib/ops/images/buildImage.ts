import { architectureOf } from '../../domain/deploy/image.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import {
  baseImage,
  builtPath,
  IMAGE_INFO_NAME,
  type ImageInfo,
  NIX_INFO_PATH,
  type NixImage,
  nixBuildArgs,
  nixMetadataArgs,
  nixToplevelArgs,
  parseNixInfo,
  revisionOf,
  systemOf,
} from '../../domain/images/build.js'
import type { ImageFormat } from '../../domain/images/format.js'
import { sizeText } from '../../domain/images/progress.js'
import { nearest } from '../../domain/nearest.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import type { Clock, JobReport, Progress, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { digestFile } from './digestFile.js'
import { detectFormat } from './imageSource.js'
import type { Digests, ImageFile, ImageFiles } from './ports.js'

export interface Nix {
  /** Runs nix and resolves to its standard output; standard error is passed on. @throws ClawctlError TOOL_MISSING, BUILD_FAILED, CANCELLED */
  run(args: readonly string[]): Promise<string>
}

export interface BuildPorts {
  nix: Nix
  files: ImageFiles
  digests: Digests
  registry: RegistrySource
  /** The folder of the flake, or null without one. */
  flake: string | null
  /** Creates the folder for the link to the image if it is missing. */
  output: {
    /** Removes an earlier image.json, which describes another image. */
    prepare(folder: string): Promise<void>
    /** Writes image.json atomically. */
    commit(folder: string, text: string): Promise<void>
  }
  clock: Clock
  progress: Progress
  report: JobReport
  /** Aborted by the first Ctrl-C. */
  stop: AbortSignal
}

export interface BuildOptions {
  /** Id or host name of the registry entry whose platform the image is for. */
  host: string | undefined
  /** Nix's name of a platform, where it is not that of the host. */
  system: string | undefined
  /** The processor of this machine, as Node names it: the platform if neither of the two is given. */
  arch: string
  out: string
}

export interface BuiltImage extends ImageInfo {
  /** Path of image.json. */
  infoPath: string
  seconds: number
}

const CHANGED = 'The working tree has uncommitted changes, so the image has no revision.'
const NO_LOCK =
  'There is no flake.lock, so the image has the newest inputs and no revision. The workflow flake-lock.yml makes one and opens a pull request.'

/** The command that `image build` would run. @throws ClawctlError NOT_CONFIGURED, UNKNOWN_TARGET, INVALID_REGISTRY */
export async function planBuild(options: BuildOptions, ports: Pick<BuildPorts, 'files' | 'flake' | 'registry'>) {
  const flake = await findFlake(ports)
  const host = options.host === undefined ? null : await findHost(options.host, ports)
  const image = baseImage(options.system ?? systemOf(host === null ? options.arch : architectureOf(host.instanceType)))
  const command = ['nix', ...nixBuildArgs({ flake, attribute: image.attribute, out: options.out })]
  return { flake, image, command }
}

/** Builds a raw image with nix and describes it in image.json, which is written last. */
export async function buildImage(options: BuildOptions, ports: BuildPorts): Promise<BuiltImage> {
  const began = ports.clock.now().getTime()
  const { out } = options
  const { flake, image, command } = await planBuild(options, ports)
  // Nix writes a missing lock into the checkout, which then counts as changed.
  const locked = (await ports.files.text(`${flake}/flake.lock`)) !== null
  const { revision, dirty } = revisionOf(await ports.nix.run(nixMetadataArgs(flake)))
  if (dirty) ports.progress.note(locked ? CHANGED : NO_LOCK)
  await ports.output.prepare(out)
  const built = await ports.progress.task(`Build ${image.attribute}`, () => ports.nix.run(command.slice(1)))
  const store = builtPath(built)
  const infoFile = `${store}/${NIX_INFO_PATH}`
  const nixInfo = parseNixInfo(await ports.files.text(infoFile), infoFile)
  const path = nixInfo.file.startsWith(`${store}/`) ? `result/${nixInfo.file.slice(store.length + 1)}` : nixInfo.file
  const file = await ports.files.open(nixInfo.file)
  try {
    const info: ImageInfo = {
      schema: 1,
      name: image.name,
      path,
      format: await rawFormat(file, image),
      logicalBytes: file.bytes,
      allocatedBytes: file.allocatedBytes,
      sha256: await digestOf(file, ports),
      bootMode: nixInfo.boot_mode,
      system: nixInfo.system,
      revision,
      toplevel: await toplevelOf(flake, image, ports),
    }
    await ports.output.commit(out, `${JSON.stringify(info, null, 2)}\n`)
    await ports.report.output('sha256', info.sha256)
    const seconds = (ports.clock.now().getTime() - began) / 1000
    await ports.report.output('build_seconds', seconds.toFixed(0))
    return { ...info, infoPath: `${out}/${IMAGE_INFO_NAME}`, seconds }
  } catch (error) {
    throw withPartial(asClawctlError(error), { result: `${out}/result` })
  } finally {
    await file.close()
  }
}

/** @throws ClawctlError NOT_CONFIGURED */
async function findFlake({ flake, files }: Pick<BuildPorts, 'flake' | 'files'>): Promise<string> {
  if (flake !== null && (await files.text(`${flake}/flake.nix`)) !== null) return flake
  throw new ClawctlError('NOT_CONFIGURED', 'There is no flake.nix to build an image from.', {
    hint: 'Run the command in a checkout, or set CLAWCTL_CHECKOUT to one.',
  })
}

/** @throws ClawctlError UNKNOWN_TARGET, REGISTRY_NOT_FOUND, INVALID_REGISTRY */
async function findHost(wanted: string, { registry }: Pick<BuildPorts, 'registry'>): Promise<RegistryEntry> {
  const entries = await readRegistry(registry)
  const entry = entries.find(({ id, host }) => id === wanted || host === wanted)
  if (entry) return entry
  const ids = entries.map(({ id }) => id)
  const near = nearest(wanted, ids)
  throw new ClawctlError('UNKNOWN_TARGET', `There is no host ${JSON.stringify(wanted)} in the registry.`, {
    hint: near
      ? `Did you mean ${near}?`
      : `The hosts are ${ids.join(', ') || 'none'}. Without a host, the image is for this machine's platform.`,
  })
}

/** @throws ClawctlError BUILD_FAILED */
async function rawFormat(file: ImageFile, { attribute }: NixImage): Promise<ImageFormat> {
  const seen = await detectFormat(file)
  if ('format' in seen && seen.format === 'raw') return seen.format
  const what = 'format' in seen ? `a ${seen.format.toUpperCase()}` : `a file that is not an image: ${seen.refused}`
  throw new ClawctlError('BUILD_FAILED', `${attribute} built ${what}.`, {
    hint: 'Set image.modules.amazon.amazonImage.format = "raw" in the configuration, and a boot loader.',
  })
}

async function digestOf(file: ImageFile, ports: BuildPorts): Promise<string> {
  const title = `Read ${file.name}, ${sizeText(file.bytes)}`
  return (await ports.progress.task(title, (update) => digestFile(file, ports, update))).sha256
}

/** Null if the flake does not show it: the image is complete without it. */
async function toplevelOf(flake: string, { attribute }: NixImage, ports: BuildPorts): Promise<string | null> {
  try {
    return (await ports.nix.run(nixToplevelArgs({ flake, attribute }))).trim() || null
  } catch (error) {
    if ((error as ClawctlError).code === 'CANCELLED') throw error
    ports.progress.note('The flake does not show the store path of the system in the image.')
    return null
  }
}
