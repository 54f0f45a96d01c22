import { parentPort, workerData } from 'node:worker_threads'

/**
 * A thread that runs commands of the built program, one after the other, with the modules that it has loaded. Each command
 * has its own variables, arguments, streams and exit code. Folder and signals are those of the tests' process; tests of
 * them need a process.
 */
const written = { stdout: [], stderr: [] }
for (const name of ['stdout', 'stderr']) {
  process[name].write = (chunk, encoding, callback) => {
    written[name].push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    const done = typeof encoding === 'function' ? encoding : callback
    if (done) process.nextTick(done)
    return true
  }
}

function answer(code, goesOn) {
  const [stdout, stderr] = [written.stdout, written.stderr].map((chunks) => Buffer.concat(chunks.splice(0)).toString())
  parentPort.postMessage({ code, stdout, stderr, goesOn })
}

// `process.exit` ends the thread, as it ends a process.
const atExit = (code) => answer(code, false)
process.on('exit', atExit)

const { main } = await import(workerData.main)
/** Resources that keep this thread running, including the port that it listens to. */
const idle = process.getActiveResourcesInfo().length + 1

parentPort.on('message', async ({ args, env }) => {
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.argv = [process.execPath, workerData.program, ...args]
  process.exitCode = undefined
  await main(workerData.entry, (file) => import(file))
  // A process runs as long as it has something to wait for.
  while (process.getActiveResourcesInfo().length > idle) await new Promise((resolve) => setTimeout(resolve, 2).unref())
  const code = process.exitCode ?? 0
  for (const event of ['exit', 'SIGHUP', 'SIGINT', 'SIGTERM']) {
    for (const listener of process.listeners(event).filter((one) => one !== atExit)) {
      process.off(event, listener)
      if (event === 'exit') listener(code)
    }
  }
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
  answer(code, true)
})
