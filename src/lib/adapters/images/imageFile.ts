import { createHash } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { type FileHandle, open, readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { execa } from 'execa'
import { ClawctlError } from '../../domain/errors.js'
import type { Extent } from '../../domain/images/blocks.js'
import type { Digests, ImageFile, ImageFiles } from '../../ops/images/ports.js'
import { digestBlocks, readWhole } from './blockDigests.js'

/** Stat fields that change with a file's content. */
const IDENTITY = ['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const
/** Two writes may have the same time: file systems' clocks tick in up to two seconds (FAT). */
const SETTLED_MS = 2_500
/** The limit for image.json. */
const MAX_TEXT_BYTES = 1024 * 1024

export const imageFiles: ImageFiles = {
  async open(path) {
    const handle = await openForReading(path)
    try {
      const stat = await handle.stat({ bigint: true })
      if (stat.isDirectory()) throw refusal(path, 'is a directory', 'Pass the image file itself.')
      if (!stat.isFile()) throw refusal(path, 'is not a regular file', 'Copy it into a file first.')
      return imageFile(path, basename(await realpath(path)), handle, stat)
    } catch (error) {
      await handle.close()
      throw error
    }
  },
  async text(path) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR') return null
      throw refusal(path, `can't be read (${error.code})`, 'Check its permissions.')
    })
    return text !== null && text.length > MAX_TEXT_BYTES ? '' : text
  },
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw refusal(path, 'does not exist', '`clawctl image build` creates an image.')
    }
    throw refusal(path, `can't be opened (${code})`, 'Check its permissions.')
  }
}

function imageFile(path: string, name: string, handle: FileHandle, opened: BigIntStats): ImageFile {
  const bytes = Number(opened.size)
  const changed = () =>
    refusal(path, 'changed while it was read', 'Wait until it is complete, then run the command again.')
  const refusing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException
      if (name === 'AbortError') throw new ClawctlError('CANCELLED', 'It was interrupted.')
      if (code === 'SHORT') throw changed()
      throw refusal(path, `can't be read (${code})`, 'Check its disk.')
    }
  }
  return {
    path,
    name,
    bytes,
    allocatedBytes: Number(opened.blocks) * 512,
    identity:
      Date.now() - Number(opened.ctimeMs) > SETTLED_MS ? IDENTITY.map((field) => opened[field]).join(' ') : null,
    extents: () => dataExtents(handle.fd, bytes),
    read: (offset, into) => refusing(() => readWhole(handle, into, offset)),
    digestBlocks: (indexes, options) => refusing(() => digestBlocks({ handle, bytes }, indexes, options)),
    async assertUnchanged() {
      const now = await handle.stat({ bigint: true })
      if (IDENTITY.some((field) => now[field] !== opened[field])) throw changed()
    },
    close: () => handle.close(),
  }
}

function refusal(path: string, why: string, hint: string): ClawctlError {
  return new ClawctlError('INVALID_IMAGE', `${path} ${why}.`, { hint })
}

/**
 * Node has no lseek(SEEK_DATA), which every Linux file system answers in milliseconds. Perl is part of Debian, of NixOS
 * and of GitHub's runners; Python is nearly as common. Both get the open file as stdin and print one "start end" per line;
 * ENXIO means that there is no more data.
 */
const PROGRAMS: readonly { name: string; argv: readonly string[]; platforms: readonly NodeJS.Platform[] }[] = [
  {
    name: 'perl',
    platforms: ['linux'],
    argv: [
      '-MErrno=ENXIO',
      '-e',
      'my $o=0;while(1){my $d=sysseek(STDIN,$o,3);if(!defined $d){exit($!==ENXIO?0:1)}$o=sysseek(STDIN,$d,4);defined $o or exit 1;printf "%d %d\\n",$d,$o}',
    ],
  },
  {
    name: 'python3',
    platforms: ['linux', 'darwin', 'freebsd'],
    argv: [
      '-I',
      '-S',
      '-c',
      `import os,errno,sys
o=0
while 1:
    try: d=os.lseek(0,o,os.SEEK_DATA)
    except OSError as e: sys.exit(0 if e.errno==errno.ENXIO else 1)
    o=os.lseek(0,d,os.SEEK_HOLE)
    print(d,o)`,
    ],
  },
]

const TIMEOUT_MS = 30_000

/** The extents with data of the open file. Without such a program, or on a file system without holes: the whole file and null. */
async function dataExtents(fd: number, bytes: number): Promise<{ by: string | null; extents: Extent[] }> {
  for (const { name, argv, platforms } of PROGRAMS) {
    if (!platforms.includes(process.platform)) continue
    const output = await outputOf(name, argv, fd)
    const extents = output === null ? null : parseExtents(output, bytes)
    if (extents) return { by: name, extents }
  }
  return { by: null, extents: bytes > 0 ? [{ start: 0, end: bytes }] : [] }
}

/** Null if the program does not exist or fails. */
async function outputOf(program: string, argv: readonly string[], fd: number): Promise<string | null> {
  // Any descriptor works; execa's types allow only those up to 9.
  const options = { stdin: fd as 9, stderr: 'ignore', timeout: TIMEOUT_MS, reject: false } as const
  const { exitCode, stdout } = await execa(program, argv, options)
  return exitCode === 0 ? stdout : null
}

/** Null if the output is not an ascending list of ranges inside the file. */
function parseExtents(text: string, bytes: number): Extent[] | null {
  const extents: Extent[] = []
  let last = 0
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [start = Number.NaN, end = Number.NaN] = line.split(' ').map(Number)
    if (!(start >= last && end > start && end <= bytes)) return null
    extents.push({ start, end })
    last = end
  }
  return extents
}

export const digests: Digests = {
  of: (bytes) => createHash('sha256').update(bytes).digest(),
  running(algorithm = 'sha256') {
    const hash = createHash(algorithm)
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') }
  },
}
