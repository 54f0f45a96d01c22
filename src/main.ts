import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Runs the command line. `--version` alone is answered without loading oclif, in a third of the time.
 * @param entry the URL of bin/run.js
 * @param load imports the module of a URL
 */
export async function main(entry: string, load: (url: string) => Promise<unknown>): Promise<void> {
  process.stdout.on('error', onOutputError)
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
  const loadCommand = async (path: readonly string[]) => {
    const command = await load(pathToFileURL(join(root, ...path)).href)
    // oclif's Command adds a listener that throws if the disk is full.
    process.stdout.removeAllListeners('error').on('error', onOutputError)
    return command
  }
  await runCli(argv, { root, read, load: loadCommand })
}

/**
 * The command goes on to its end, because it may be in the middle of a change. `clawctl fleet history | head` closes the
 * pipe early, which is not a failure; output that is lost otherwise is one.
 */
function onOutputError({ code }: NodeJS.ErrnoException): void {
  if (code === 'EPIPE') return
  process.stderr.write(`Error (NOT_WRITABLE): The output can't be written (${code}). The command goes on to its end.\n`)
  process.once('exit', (exitCode) => {
    process.exitCode = exitCode || 1
  })
}
