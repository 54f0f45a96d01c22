import { parentPort, workerData } from 'node:worker_threads'

/**
 * A thread that runs a built program again and again with the modules that it has loaded: `clawctl`, or the sandbox's
 * `tofu`. Each run has its own variables, arguments, working directory, streams and exit code. A signal is one that this
 * process's listeners get; a kill is the end of the thread.
 */
for (const name of ['stdout', 'stderr']) {
  process[name].write = (chunk, encoding, callback) => {
    parentPort.postMessage({ stream: name, chunk: typeof chunk === 'string' ? Buffer.from(chunk) : chunk })
    const done = typeof encoding === 'function' ? encoding : callback
    if (done) process.nextTick(done)
    return true
  }
}

// `process.exit` ends the thread, as it ends a process.
const atExit = (code) => parentPort.postMessage({ code, goesOn: false })
process.on('exit', atExit)

const ownFolder = process.cwd()
let folder = ownFolder
process.cwd = () => folder

let runs = 0
/** An entry runs when it is imported, so that each run imports it anew; its chunks stay loaded. */
const runEntry = () => import(`${workerData.entry}?${++runs}`)
const { main } = workerData.main ? await import(workerData.main) : {}
const run = main ? () => main(workerData.entry, (file) => import(file)) : runEntry

/** Resources that keep this thread running, including the port that it listens to. */
const idle = process.getActiveResourcesInfo().length + 1

parentPort.on('message', async ({ args, env, cwd, signal }) => {
  if (signal) {
    process.emit(signal, signal)
    return
  }
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.argv = [process.execPath, workerData.program, ...args]
  process.exitCode = undefined
  folder = cwd ?? ownFolder
  await run()
  // A process runs as long as it has something to wait for.
  while (process.getActiveResourcesInfo().length > idle) await new Promise((resolve) => setTimeout(resolve, 2).unref())
  const code = process.exitCode ?? 0
  for (const listener of process.listeners('exit').filter((one) => one !== atExit)) {
    process.off('exit', listener)
    listener(code)
  }
  // Those of one run: all of an entry that is imported anew, else not those of modules, which add them once.
  for (const event of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    for (const one of process.rawListeners(event)) if (!main || 'listener' in one) process.off(event, one)
  }
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
  parentPort.postMessage({ code, goesOn: true })
})
