import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

const RUN = resolve('src/lib/cli/run.ts')
const COMMAND = resolve('src/lib/cli/baseCommand.ts')
const STATIC = /^(?:import|export) (?!type\b)[^'"]*?from '(\.[^']+)\.js'/gm
const DYNAMIC = /\bimport\('(\.[^']+)\.js'\)/g

/**
 * esbuild makes a chunk of each set of entries that share a module, and each file costs a start 0.2 ms. It does not know
 * that what an entry shares with the command line itself is loaded before it. With an import that says so, the command
 * line is two chunks, for help and for commands, and `clawctl fleet status` reads 15 files instead of 55.
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
        // Its import of the command line would be a circle.
        if (withEveryCommand.has(entry))
          throw new Error(`Every command loads ${entry}: import it statically everywhere.`)
        loadedBefore.set(entry, COMMAND)
      }
    })
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const before = loadedBefore.get(path)
      if (before === undefined) return
      return { contents: `import ${JSON.stringify(before)}\n${await readFile(path, 'utf8')}`, loader: 'ts' }
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
