import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

const RUN = resolve('src/lib/cli/run.ts')
const COMMAND = resolve('src/lib/cli/baseCommand.ts')
/** Small modules of many commands, which have one chunk with COMMAND instead of one each. */
const SMALL = ['src/lib/cli/flags.ts', 'src/lib/domain/deploy/freeze.ts', 'src/lib/domain/deploy/identity.ts']
  .map((file) => resolve(file))
  .concat('ms', '@oclif/core/args')
  .map((name) => `import ${JSON.stringify(name)}\n`)
const STATIC = /^(?:import|export) (?!type\b)[^'"]*?from '(\.[^']+)\.js'/gm
const DYNAMIC = /\bimport\('(\.[^']+)\.js'\)/g

/**
 * esbuild creates a chunk for each set of entries that share a module, and each file adds 0.2 ms to a start. It can't
 * detect that the command line has already loaded an entry's shared modules. With an explicit import, help and
 * commands have one chunk each, and `clawctl fleet status` loads 10 files instead of 55.
 */
export const sharedChunks = {
  name: 'shared-chunks',
  setup(build) {
    const loadedBefore = new Map(['src/help.ts', 'src/commandNotFound.ts', COMMAND].map((file) => [resolve(file), RUN]))
    build.onStart(async () => {
      const files = (await readdir('src', { recursive: true })).filter((file) => file.endsWith('.ts'))
      const sources = await Promise.all(
        files.map(async (file) => [resolve('src', file), await readFile(`src/${file}`, 'utf8')]),
      )
      const withEveryCommand = reachable(new Map(sources), COMMAND)
      const entries = new Set(sources.flatMap(([file, source]) => importsOf(file, source, DYNAMIC)))
      entries.delete(RUN)
      for (const entry of entries) {
        // An import of the command line there would be circular.
        if (withEveryCommand.has(entry))
          throw new Error(`Every command loads ${entry}: import it statically everywhere.`)
        loadedBefore.set(entry, COMMAND)
      }
    })
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const before = loadedBefore.get(path)
      if (before === undefined) return
      const also = path === COMMAND ? SMALL.join('') : ''
      return { contents: `import ${JSON.stringify(before)}\n${also}${await readFile(path, 'utf8')}`, loader: 'ts' }
    })
  },
}

const importsOf = (file, source, kind) => [...source.matchAll(kind)].map(([, to]) => `${join(dirname(file), to)}.ts`)

function reachable(sources, from, found = new Set()) {
  if (found.has(from)) return found
  found.add(from)
  for (const file of importsOf(from, sources.get(from), STATIC)) reachable(sources, file, found)
  return found
}
