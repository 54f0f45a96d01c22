import { ClawctlError } from '../../domain/errors.js'
import { MAX_IMAGE_BYTES } from '../../domain/images/blocks.js'
import { formatOfName, HEAD_BYTES, type ImageFormat, sniffFormat, TAIL_BYTES } from '../../domain/images/format.js'
import {
  architectureOf,
  IMAGE_INFO_NAME,
  type ImageFacts,
  type ImageInfo,
  parseImageInfo,
} from '../../domain/images/info.js'
import { imageNameOf } from '../../domain/images/names.js'
import type { ImageFile, ImageFiles } from './ports.js'

/** Where `image build` leaves its image, below the current folder. */
const DEFAULT_FOLDER = 'dist'

export interface ImageSource {
  file: ImageFile
  format: ImageFormat
  facts: ImageFacts
  /** What image.json beside the file says of it; null where there is none. */
  info: ImageInfo | null
}

/**
 * Opens the named image, or the one that `image build` made last, and looks at what it is.
 * @throws ClawctlError INVALID_IMAGE
 */
export async function openImage(files: ImageFiles, named: string | undefined, note: (text: string) => void) {
  const built = named === undefined ? await builtImage(files) : null
  const path = built?.path ?? (named as string)
  const file = await files.open(path)
  try {
    const info = built?.info ?? (await infoBeside(files, file))
    const format = await checkedFormat(file, note)
    if (info && info.logicalBytes !== file.bytes) {
      throw new ClawctlError(
        'INVALID_IMAGE',
        `${path} has ${file.bytes} bytes, but ${IMAGE_INFO_NAME} beside it says ${info.logicalBytes}.`,
        { hint: 'Build the image again, or move the file to a folder of its own.' },
      )
    }
    return { file, format, facts: factsOf(file, info), info } satisfies ImageSource
  } catch (error) {
    await file.close()
    throw error
  }
}

async function builtImage(files: ImageFiles): Promise<{ path: string; info: ImageInfo }> {
  const info = await infoIn(files, DEFAULT_FOLDER)
  if (info) return { path: resolvePath(DEFAULT_FOLDER, info.path), info }
  throw new ClawctlError('INVALID_IMAGE', `There is no ${DEFAULT_FOLDER}/${IMAGE_INFO_NAME}, and no image was named.`, {
    hint: 'Run `clawctl image build` first, or name the image file.',
  })
}

/** The image.json beside a named file counts where it speaks of that file, or of the one that a link leads to. */
async function infoBeside(files: ImageFiles, file: ImageFile): Promise<ImageInfo | null> {
  const info = await infoIn(files, folderOf(file.path))
  return info !== null && [baseName(file.path), file.name].includes(baseName(info.path)) ? info : null
}

/** image.json of a folder, or null where there is none. @throws ClawctlError INVALID_IMAGE where it is not valid */
export async function infoIn(files: ImageFiles, folder: string = DEFAULT_FOLDER): Promise<ImageInfo | null> {
  const origin = resolvePath(folder, IMAGE_INFO_NAME)
  const text = await files.text(origin)
  return text === null ? null : parseImageInfo(text, origin)
}

/** The content decides. A name that promises a container whose marks are missing means that the file was cut off. */
async function checkedFormat(file: ImageFile, note: (text: string) => void): Promise<ImageFormat> {
  const head = new Uint8Array(Math.min(HEAD_BYTES, file.bytes))
  const tail = new Uint8Array(Math.min(TAIL_BYTES, file.bytes))
  await file.read(0, head)
  await file.read(file.bytes - tail.length, tail)
  const seen = sniffFormat({ bytes: file.bytes, head, tail })
  if ('refused' in seen) throw invalid(`${file.path} can't be imported: ${seen.refused}.`, seen.hint)
  const named = formatOfName(file.name)
  if (named && named !== seen.format && named !== 'raw') {
    throw invalid(
      `${file.path} is called a ${named.toUpperCase()} and has no mark of one: it is cut off, or has the wrong name.`,
      `Build or copy it again; if it is a raw image, call it .raw.`,
    )
  }
  if (named && named !== seen.format) note(`${file.name} is a ${seen.format.toUpperCase()}, whatever its name says`)
  if ((seen.diskBytes ?? 0) > MAX_IMAGE_BYTES) {
    throw invalid(`${file.path} is larger than an EBS snapshot may be (64 TiB).`, 'Build a smaller image.')
  }
  return seen.format
}

function factsOf(file: ImageFile, info: ImageInfo | null): ImageFacts {
  return {
    name: info?.name ?? imageNameOf(file.name),
    // What NixOS's amazon image is with ec2.efi = false.
    bootMode: info?.bootMode ?? 'legacy-bios',
    architecture: architectureOf(info?.system ?? ''),
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
