import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { extract } from 'tar-stream'
import { asClawctlError, asFullDisk } from '../../../domain/errors.js'
import type { SeedInspector } from '../../../ops/bundles/ports.js'
import type { Git } from './git.js'

/** What pack.ts writes into `.git`. Other files could lead git to another configuration. */
const PARTS = new Set(['HEAD', 'config', 'objects', 'packed-refs', 'refs', 'shallow'])

/** Unpacks archives of repositories without trusting their content, and checks them with git. */
export function seedInspector(git: Git, scratch: () => string): SeedInspector {
  let count = 0
  return {
    async inspect(file, name, commit) {
      count += 1
      const folder = join(scratch(), `inspect-${count}`)
      try {
        const problem = await unpack(file, name, folder)
        if (problem !== null) return [problem]
        const run = (...args: string[]) => git.run(['-C', join(folder, name), ...args], { failed: 'git' })
        const head = await run('rev-parse', 'HEAD')
        if (head !== commit) return [`is at ${head} instead of ${commit}`]
        await run('fsck', '--full', '--no-dangling', '--no-progress')
        await run('reset', '--hard', '--quiet')
        return []
      } catch (error) {
        const { code, message } = asClawctlError(error)
        if (code === 'TOOL_MISSING' || code === 'NOT_WRITABLE') throw error
        return [`does not unpack to a valid repository: ${message.replace(/\.$/, '')}`]
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

/** The problem of the archive itself, as the end of a sentence, or null. */
async function unpack(file: string, name: string, folder: string): Promise<string | null> {
  const tar = extract()
  const reading = pipeline(createReadStream(file), createGunzip(), tar).catch((error: Error) => error)
  let count = 0
  try {
    for await (const entry of tar) {
      const { type, name: path } = entry.header
      count += 1
      const parts = path.replace(/\/$/, '').split('/')
      const [top, git = '.git', part = 'HEAD'] = parts
      if (top !== name || git !== '.git' || parts.some((one) => ['', '.', '..'].includes(one))) {
        return `holds ${JSON.stringify(path)}, which is not of ${name}/.git`
      }
      if (!PARTS.has(part)) return `holds ${JSON.stringify(path)}, which no packed repository has`
      const target = join(folder, ...parts)
      // The archive's own could name a program, such as a filter that `git reset` would run.
      const isConfig = part === 'config'
      if (type === 'directory') await mkdir(target, { recursive: true })
      if (type === 'directory' || isConfig) entry.resume()
      else if (type === 'file') {
        await mkdir(dirname(target), { recursive: true })
        await pipeline(entry, createWriteStream(target, { flags: 'wx' }))
      } else {
        return `holds ${JSON.stringify(path)}, which is a ${type}`
      }
    }
  } catch (error) {
    // Not a problem of the archive.
    if (asFullDisk(error) !== null) throw error
    return `is not a valid gzip'd tar (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`
  } finally {
    tar.destroy()
    await reading
  }
  return count === 0 ? 'is an empty archive' : null
}
