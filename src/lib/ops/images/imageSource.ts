import { ClawctlError } from '../../domain/errors.js'
import { MAX_IMAGE_BYTES } from '../../domain/images/blocks.js'
import {
  architectureOfSystem,
  IMAGE_INFO_NAME,
  type ImageFacts,
  type ImageInfo,
  parseImageInfo,
  unfitInstances,
} from '../../domain/images/build.js'
import {
  type Boots,
  bootRefusal,
  type FormatVerdict,
  formatOfName,
  HEAD_BYTES,
  type ImageFormat,
  type Sniffed,
  sniffFormat,
  TAIL_BYTES,
} from '../../domain/images/format.js'
import { imageNameOf } from '../../domain/images/names.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Progress } from '../ports.js'
import type { ImageFile, ImageFiles } from './ports.js'

/** Default output folder of `image build`, below the current folder. */
const DEFAULT_FOLDER = 'dist'

export interface ImageSource {
  file: ImageFile
  format: ImageFormat
  facts: ImageFacts
  /** The image.json beside the file, or null. */
  info: ImageInfo | null
}

/** `force`: a file that does not look bootable is treated as a raw image, with a note. */
export interface SourceOptions {
  force: boolean
  progress: Pick<Progress, 'note'>
}

/**
 * Opens the given image, or the last one of `image build`, and detects its format.
 * @throws ClawctlError INVALID_IMAGE
 */
export async function openImage(files: ImageFiles, named: string | undefined, options: SourceOptions) {
  const built = named === undefined ? await builtImage(files) : null
  const path = built?.path ?? (named as string)
  const file = await files.open(path)
  try {
    const info = built?.info ?? (await infoBeside(files, file))
    const { format, boots } = await checkedFormat(file, options)
    if (info && info.logicalBytes !== file.bytes) {
      throw new ClawctlError(
        'INVALID_IMAGE',
        `${path} has ${file.bytes} bytes, but ${IMAGE_INFO_NAME} beside it has ${info.logicalBytes}.`,
        { hint: 'Build the image again, or move the file to a folder of its own.' },
      )
    }
    const facts = factsOf(file, info, boots)
    const refused = bootRefusal(boots, facts.bootMode)
    if (refused !== null) {
      insist(
        options,
        `${path} can't boot: ${refused}.`,
        `Build it for ${facts.bootMode}, or correct ${IMAGE_INFO_NAME}.`,
      )
    }
    return { file, format, facts, info } satisfies ImageSource
  } catch (error) {
    await file.close()
    throw error
  }
}

async function builtImage(files: ImageFiles): Promise<{ path: string; info: ImageInfo }> {
  const info = await infoIn(files, DEFAULT_FOLDER)
  if (info) return { path: resolvePath(DEFAULT_FOLDER, info.path), info }
  throw new ClawctlError('INVALID_IMAGE', `There is no ${DEFAULT_FOLDER}/${IMAGE_INFO_NAME}, and no image was given.`, {
    hint: 'Run `clawctl image build` first, or pass the image file.',
  })
}

/** The image.json beside a given file counts if it describes that file, or the target of its link. */
async function infoBeside(files: ImageFiles, file: ImageFile): Promise<ImageInfo | null> {
  const info = await infoIn(files, folderOf(file.path))
  return info !== null && [baseName(file.path), file.name].includes(baseName(info.path)) ? info : null
}

/** image.json of a folder, or null. @throws ClawctlError INVALID_IMAGE if it is not valid */
export async function infoIn(files: ImageFiles, folder: string = DEFAULT_FOLDER): Promise<ImageInfo | null> {
  const origin = resolvePath(folder, IMAGE_INFO_NAME)
  const text = await files.text(origin)
  return text === null ? null : parseImageInfo(text, origin)
}

/** The content decides. If the name is that of a container format but the content is not, the file was cut off. */
async function checkedFormat(
  file: ImageFile,
  options: SourceOptions,
): Promise<Pick<FormatVerdict, 'format' | 'boots'>> {
  const seen = await detectFormat(file)
  if ('refused' in seen) {
    if (file.bytes === 0) throw invalid(`${file.path} is empty.`, seen.hint)
    insist(options, `${file.path} can't be imported: ${seen.refused}.`, seen.hint)
    return { format: 'raw', boots: null }
  }
  const named = formatOfName(file.name)
  if (named && named !== seen.format && named !== 'raw') {
    throw invalid(
      `${file.path} has the extension of a ${named.toUpperCase()} but another content: it is cut off, or has the wrong name.`,
      `Build or copy it again; if it is a raw image, rename it to .raw.`,
    )
  }
  if (named && named !== seen.format)
    options.progress.note(`${file.name} is a ${seen.format.toUpperCase()}, unlike its extension`)
  if ((seen.diskBytes ?? 0) > MAX_IMAGE_BYTES) {
    throw invalid(`${file.path} exceeds the size limit of an EBS snapshot (64 TiB).`, 'Build a smaller image.')
  }
  return seen
}

/** Reads what `sniffFormat` needs. @throws ClawctlError INVALID_IMAGE if the file can't be read */
export async function detectFormat(file: ImageFile): Promise<Sniffed> {
  const head = new Uint8Array(Math.min(HEAD_BYTES, file.bytes))
  const tail = new Uint8Array(Math.min(TAIL_BYTES, file.bytes))
  await file.read(0, head)
  await file.read(file.bytes - tail.length, tail)
  return sniffFormat({ bytes: file.bytes, head, tail })
}

/**
 * Refuses an image that no instance of the registry can boot. If only some can't, it prints a note.
 * @throws ClawctlError INVALID_IMAGE
 */
export function checkInstances(facts: ImageFacts, registry: Registry | undefined, options: SourceOptions): void {
  if (registry === undefined) {
    options.progress.note(
      'There is no registry here, so architecture and boot mode were not checked against its instance types.',
    )
    return
  }
  const unfit = unfitInstances(facts, registry)
  if (unfit.length === 0) return
  const reasons = unfit.map(({ id, reason }) => `${id}: ${reason}`).join('; ')
  if (unfit.length < registry.length) options.progress.note(`${facts.name} can't boot on every instance: ${reasons}.`)
  else {
    const hint = 'Build the image for the instance types of nix/instances.json, or change the types.'
    insist(options, `No instance of the registry can boot ${facts.name}: ${reasons}.`, hint)
  }
}

/** @throws ClawctlError INVALID_IMAGE, or with --force only prints a note */
function insist({ force, progress }: SourceOptions, message: string, hint: string): void {
  if (!force) throw invalid(message, hint.includes('--force') ? hint : `${hint} --force uses it as it is.`)
  progress.note(`${message} It is used anyway (--force).`)
}

function factsOf(file: ImageFile, info: ImageInfo | null, boots: Boots | null): ImageFacts {
  return {
    name: info?.name ?? imageNameOf(file.name),
    // Without image.json, the boot mode follows from the content. If both firmwares can boot it: like NixOS's amazon image with ec2.efi = false.
    bootMode: info?.bootMode ?? (boots?.uefi && !boots.bios ? 'uefi' : 'legacy-bios'),
    architecture: architectureOfSystem(info?.system ?? ''),
    revision: info?.revision ?? null,
    toplevel: info?.toplevel ?? null,
  }
}

export function invalid(message: string, hint: string): ClawctlError {
  return new ClawctlError('INVALID_IMAGE', message, { hint })
}

const baseName = (path: string) => path.slice(path.lastIndexOf('/') + 1)
const folderOf = (path: string) => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) || '/' : '.')
const resolvePath = (folder: string, path: string) =>
  path.startsWith('/') ? path : folder === '.' ? path : `${folder.replace(/\/$/, '')}/${path}`
