import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Runs the command line. `--version` alone is answered without loading oclif, in a third of the time.
 * @param entry the URL of bin/run.js
 * @param load imports the module of a URL
 */
export async function main(entry: string, load: (url: string) => Promise<unknown>): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // `clawctl fleet history | head` closes the pipe early, which is not a failure.
    if (error.code === 'EPIPE') process.exit()
    process.stderr.write(`Error: the output could not be written (${error.code}).\n`)
    process.exit(1)
  })
  // Only progress is written to stderr: a deploy must not end because the `tee` that reads it has ended.
  process.stderr.on('error', () => {})
  const argv = process.argv.slice(2)
  const root = dirname(dirname(fileURLToPath(entry)))
  const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'))
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-v')) {
    const { name, version } = read('package.json') as Record<string, string>
    process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
    return
  }
  const { runCli } = await import('./lib/cli/run.js')
  await runCli(argv, { root, read, load: (path) => load(pathToFileURL(join(root, ...path)).href) })
}
