import { spawn } from 'node:child_process'
import type { Extent } from '../../domain/images/blocks.js'

/**
 * Node has no lseek(SEEK_DATA), which every Linux file system answers in milliseconds. Perl is part of Debian, of NixOS
 * and of GitHub's runners; Python is nearly as common. Both get the open file as their stdin and print "start end" a line;
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

/** Where the open file holds data. Without a program that can tell, or on a file system that can't, the whole file and null. */
export async function dataExtents(fd: number, bytes: number): Promise<{ by: string | null; extents: Extent[] }> {
  for (const { name, argv, platforms } of PROGRAMS) {
    if (!platforms.includes(process.platform)) continue
    const output = await outputOf(name, argv, fd)
    const extents = output === null ? null : parseExtents(output, bytes)
    if (extents) return { by: name, extents }
  }
  return { by: null, extents: bytes > 0 ? [{ start: 0, end: bytes }] : [] }
}

/** Null where the program is not there or does not end well. */
function outputOf(program: string, argv: readonly string[], fd: number): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(program, argv, { stdio: [fd, 'pipe', 'ignore'], timeout: TIMEOUT_MS })
    const chunks: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.once('error', () => resolve(null))
    child.once('close', (code) => resolve(code === 0 ? Buffer.concat(chunks).toString() : null))
  })
}

/** Null for what is no ascending list of ranges inside the file. */
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
