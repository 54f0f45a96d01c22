import { runTofu } from './run.js'

// Before any client is made: the SDK's warning about Node 20 would be in the output that clawctl reads.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

const stop = new AbortController()

function interrupt(): void {
  if (stop.signal.aborted) {
    process.stderr.write('\nTwo interrupts received. Exiting immediately. Note that data loss may have occurred.\n')
    process.exit(1)
  }
  process.stdout.write(
    '\nInterrupt received.\nPlease wait for OpenTofu to exit or data loss may occur.\nGracefully shutting down...\n\n',
  )
  stop.abort()
}

process.on('SIGINT', interrupt)
process.on('SIGTERM', interrupt)

// The reader of the output may be gone; the running apply must still finish and store its state.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

process.exitCode = await runTofu(process.argv.slice(2), {
  cwd: process.cwd(),
  env: process.env,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  signal: stop.signal,
})
