import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { IDENTITIES_FOLDER, RECIPIENTS_FOLDER, SECRET_NAME_PATTERN } from '../../domain/bundles/secrets.js'
import { ClawctlError } from '../../domain/errors.js'
import type { SecretFile, SecretsFolder, SecretsListing } from '../../ops/bundles/ports.js'

/** Secrets are keys and tokens, so a larger file is not one. */
const MAX_BYTES = 1024 * 1024
const ENDING = '.age'
const NO_NAME =
  'is not a valid name of a secret: use letters, digits, ".", "_" and "-", and begin with a letter or digit'

/** A directory of `<name>.age` files, such as the nix-secrets repository. Hidden entries are ignored. */
export function secretsFolder(folder: string): SecretsFolder {
  return {
    path: folder,
    async read() {
      const root = await openFolder(folder)
      const files: SecretFile[] = []
      const strays: string[] = []
      const problems: SecretsListing['problems'] = []
      const names = (await readdir(root, { encoding: 'buffer' })).sort(Buffer.compare)
      for (const raw of names) {
        const name = raw.toString('utf8')
        if (name.startsWith('.') || name === IDENTITIES_FOLDER || name === RECIPIENTS_FOLDER) continue
        if (!name.endsWith(ENDING)) {
          strays.push(shown(name))
        } else if (!Buffer.from(name).equals(raw) || !SECRET_NAME_PATTERN.test(name.slice(0, -ENDING.length))) {
          problems.push({ file: shown(name), problem: NO_NAME })
        } else {
          const read = await readInside(root, name)
          if ('problem' in read) problems.push({ file: name, problem: read.problem })
          else files.push({ name: name.slice(0, -ENDING.length), ...read })
        }
      }
      const identities = new Map<string, SecretFile>()
      for (const [name, read] of await filesOf(root, IDENTITIES_FOLDER, ENDING)) {
        if ('problem' in read) problems.push({ file: `${IDENTITIES_FOLDER}/${name}${ENDING}`, ...read })
        else identities.set(name, { name, ...read })
      }
      const recipients = new Map<string, string[]>()
      for (const [name, read] of await filesOf(root, RECIPIENTS_FOLDER, '.txt')) {
        if ('problem' in read) problems.push({ file: `${RECIPIENTS_FOLDER}/${name}.txt`, ...read })
        else recipients.set(name, linesOf(read.bytes))
      }
      return { files, strays, problems, identities, recipients }
    },
    async write(files) {
      const root = await openFolder(folder)
      const staged: { from: string; to: string }[] = []
      try {
        for (const [path, bytes] of files) {
          const to = join(root, path)
          const from = join(dirname(to), `.${basename(to)}.new`)
          await mkdir(dirname(to), { recursive: true })
          await writeDurably(from, bytes)
          staged.push({ from, to })
        }
      } catch (error) {
        await Promise.all(staged.map(({ from }) => rm(from, { force: true })))
        const { code } = error as NodeJS.ErrnoException
        throw new ClawctlError('NOT_WRITABLE', `The secrets directory ${shown(folder)} can't be written (${code}).`, {
          hint: 'Nothing in it was changed. Check its permissions and the free space, then run the command again.',
          cause: error,
        })
      }
      for (const { from, to } of staged) await rename(from, to)
    },
  }
}

/** @throws ClawctlError INVALID_SECRETS */
async function openFolder(folder: string): Promise<string> {
  try {
    const root = await realpath(resolve(folder))
    if ((await stat(root)).isDirectory()) {
      await readdir(root)
      return root
    }
    throw Object.assign(new Error(), { code: 'ENOTDIR' })
  } catch (error) {
    throw new ClawctlError('INVALID_SECRETS', `The secrets directory ${shown(folder)} ${reason(error)}.`, {
      hint: 'Pass the checkout of nix-secrets with --secrets-dir, or set CLAWCTL_SECRETS_DIR.',
      cause: error,
    })
  }
}

/** Files of a subfolder with this ending, by their names without it; none if there is no such folder. */
async function filesOf(root: string, folder: string, ending: string) {
  const names = await readdir(join(root, folder)).catch(() => [])
  const fitting = names.filter((name) => !name.startsWith('.') && name.endsWith(ending)).sort()
  const read = async (name: string) =>
    [name.slice(0, -ending.length), await readInside(root, join(folder, name))] as const
  return Promise.all(fitting.map(read))
}

function linesOf(bytes: Uint8Array): string[] {
  const lines = Buffer.from(bytes).toString('utf8').split(/\r?\n/)
  return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
}

/** On the disk before the rename: a power cut leaves the old file or the new one, never an empty one. */
async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The file's bytes, or why they can't be read. Links are followed only inside the directory. */
async function readInside(
  root: string,
  name: string,
): Promise<{ bytes: Buffer; sha256: string } | { problem: string }> {
  const path = join(root, name)
  try {
    const real = await realpath(path)
    const inside = relative(root, real)
    if (inside.startsWith('..') || resolve(root, inside) === root || inside.startsWith(sep)) {
      return { problem: 'is a link that leads out of the secrets directory' }
    }
    const bytes = await readFileOf(real)
    return 'problem' in bytes ? bytes : { bytes: bytes.bytes, sha256: sha256Of(bytes.bytes) }
  } catch (error) {
    const isLink = await lstat(path).then(
      (found) => found.isSymbolicLink(),
      () => false,
    )
    if (isLink && (error as NodeJS.ErrnoException).code === 'ENOENT') return { problem: 'is a broken link' }
    return { problem: reason(error) }
  }
}

/** Opens once and then checks the type, without waiting on a pipe. */
async function readFileOf(path: string): Promise<{ bytes: Buffer } | { problem: string }> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  try {
    const found = await file.stat()
    if (found.isDirectory()) return { problem: 'is a directory' }
    if (!found.isFile()) return { problem: 'is not a regular file' }
    if (found.size > MAX_BYTES) return { problem: `has ${found.size} bytes, too many for a secret` }
    return { bytes: await file.readFile() }
  } finally {
    await file.close()
  }
}

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const REASONS: Record<string, string> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'is not a directory',
  EACCES: "can't be read: permission denied",
  EPERM: "can't be read: permission denied",
  ELOOP: 'is a link to itself',
}

/** As the end of a sentence about the file. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? (error as Error).name
  return REASONS[code] ?? `can't be read (${code})`
}

/** Unusual names are escaped: they can't control a terminal, and look-alikes are visible. */
export function shown(name: string): string {
  const plain = JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name)
  return plain.replace(/[^\x20-\x7e]/g, (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`)
}
