import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Pack, pack as packTar } from 'tar-stream'
import { asFullDisk } from '../../../domain/errors.js'
import type { PackedSeed } from '../../../ops/bundles/ports.js'
import type { Git } from './git.js'

/** A bare clone that holds one commit of one branch. */
export interface Clone {
  name: string
  dir: string
  branch: string
  commit: string
  /** For the packed repository's `origin`; without credentials. */
  url: string | null
}

interface Entry {
  name: string
  /** Text, or a file to be read; none for a folder. */
  content?: string | { path: string; size: number }
}

/**
 * One gzip'd tar of `NAME/.git`: a shallow repository at the commit, completed by `git reset --hard`. The same commit gives
 * the same bytes: the pack has no deltas (git's search for them depends on threads and on the clone), objects are in the
 * order of their names, and the other files are fixed text.
 */
export async function packClone(git: Git, clone: Clone, folder: string): Promise<PackedSeed> {
  const packs = join(folder, 'pack')
  await mkdir(packs, { recursive: true })
  const failed = `${clone.name} could not be packed`
  const inClone = [`--git-dir=${clone.dir}`]
  const listed = await git.run([...inClone, 'rev-list', '--objects', '--no-object-names', clone.commit], { failed })
  const objects = [...new Set(listed.split('\n'))].sort().join('\n')
  await git.run([...inClone, ...PACK_ARGS, join(packs, 'pack')], { failed, input: `${objects}\n` })
  const shallow = await readFile(join(clone.dir, 'shallow'), 'utf8').catch(() => null)
  const file = join(folder, `${clone.name}.tar.gz`)
  const entries = await repositoryEntries(clone, packs, shallow)
  return { commit: clone.commit, file, ...(await writeArchive(clone.name, entries, file)) }
}

const PACK_ARGS = [
  ...['-c', 'pack.writeReverseIndex=false', '-c', 'pack.indexVersion=2', '-c', 'pack.packSizeLimit=0'],
  ...['pack-objects', '-q', '--threads=1', '--window=0', '--no-reuse-delta', '--no-reuse-object', '--compression=6'],
]

async function repositoryEntries(clone: Clone, packs: string, shallow: string | null): Promise<Entry[]> {
  const { branch, commit, url } = clone
  const files = (await readdir(packs)).filter((name) => /\.(?:pack|idx)$/.test(name)).sort()
  const packed = await Promise.all(
    files.map(async (name): Promise<Entry> => {
      const path = join(packs, name)
      return { name: `.git/objects/pack/${name}`, content: { path, size: (await stat(path)).size } }
    }),
  )
  const refs = [`refs/heads/${branch}`, ...(url === null ? [] : [`refs/remotes/origin/${branch}`])]
  return [
    { name: '' },
    { name: '.git/' },
    { name: '.git/HEAD', content: `ref: refs/heads/${branch}\n` },
    { name: '.git/config', content: configText(branch, url) },
    { name: '.git/objects/' },
    { name: '.git/objects/pack/' },
    ...packed,
    {
      name: '.git/packed-refs',
      content: `# pack-refs with: peeled fully-peeled sorted \n${refs.map((ref) => `${commit} ${ref}\n`).join('')}`,
    },
    { name: '.git/refs/' },
    ...(shallow === null ? [] : [{ name: '.git/shallow', content: shallow }]),
  ]
}

function configText(branch: string, url: string | null): string {
  const core = ['[core]', 'repositoryformatversion = 0', 'filemode = true', 'bare = false', 'logallrefupdates = true']
  const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`
  const remote = [
    '[remote "origin"]',
    `url = ${quoted(url ?? '')}`,
    `fetch = +refs/heads/${branch}:refs/remotes/origin/${branch}`,
    `[branch ${quoted(branch)}]`,
    'remote = origin',
    `merge = refs/heads/${branch}`,
  ]
  return [...core, ...(url === null ? [] : remote)]
    .map((line) => `${line.startsWith('[') ? '' : '\t'}${line}\n`)
    .join('')
}

/** Headers without time, place and user. The content is compressed already, so gzip does not compress it again. */
async function writeArchive(
  name: string,
  entries: readonly Entry[],
  file: string,
): Promise<{ size: number; sha256: string }> {
  const tar = packTar()
  const hash = createHash('sha256')
  let size = 0
  const seen = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      // Byte 9 of a gzip header is the operating system: 255 is "unknown".
      if (size === 0 && chunk.length > 9) chunk[9] = 255
      size += chunk.length
      hash.update(chunk)
      done(null, chunk)
    },
  })
  const writing = pipeline(tar, createGzip({ level: 0 }), seen, createWriteStream(file))
  // Its error reaches `writing`. If the archive can't be written, the error of that is the cause, not the early end here.
  void addEntries(tar, name, entries).catch((error: Error) => tar.destroy(error))
  await writing.catch((error) => {
    throw asFullDisk(error, `${name} could not be packed`) ?? error
  })
  return { size, sha256: hash.digest('hex') }
}

async function addEntries(tar: Pack, folder: string, entries: readonly Entry[]): Promise<void> {
  const fixed = { mtime: new Date(0), uid: 0, gid: 0, uname: '', gname: '' }
  for (const { name, content } of entries) {
    const header = { ...fixed, name: `${folder}/${name}` }
    if (content === undefined) {
      tar.entry({ ...header, type: 'directory', mode: 0o755 })
    } else if (typeof content === 'string') {
      tar.entry({ ...header, mode: 0o644 }, content)
    } else {
      await pipeline(createReadStream(content.path), tar.entry({ ...header, mode: 0o444, size: content.size }))
    }
  }
  tar.finalize()
}
