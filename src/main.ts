import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Runs the command line. `--version` alone is answered without loading oclif: scripts and completions ask it
 * most, and a third of the time.
 */
export async function main(entry: string): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // `clawctl fleet history | head` closes the pipe early, which is not a failure.
    if (error.code === 'EPIPE') process.exit()
    process.stderr.write(`Error: the output could not be written (${error.code}).\n`)
    process.exit(1)
  })
  const argv = process.argv.slice(2)
  const root = dirname(dirname(fileURLToPath(entry)))
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-v')) {
    const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, string>
    process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
    return
  }
  const { runCli } = await import('./lib/cli/run.js')
  await runCli(argv, root)
}
