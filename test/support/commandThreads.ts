import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { ROOT } from './plane.js'

/** The built program, which packages and processes run. */
export const BIN = join(ROOT, 'bin/run.js')
/** A command that takes longer hangs. */
export const COMMAND_TIMEOUT_MS = 110_000

export interface Ended {
  /** -1 where something else ended it. */
  code: number
  stdout: string
  stderr: string
}

/** Threads that wait for a command. The last one is taken first: it has loaded the most. */
const idle: Worker[] = []

function start(): Worker {
  const workerData = {
    program: BIN,
    entry: pathToFileURL(BIN).href,
    main: pathToFileURL(join(ROOT, 'dist/main.js')).href,
  }
  // Without mocha's own arguments for Node: what runs is built.
  return new Worker(new URL('./commandThread.mjs', import.meta.url), { execArgv: [], env: {}, workerData })
}

/**
 * `clawctl …` as built, in a thread of this process. It costs about 5 ms of CPU once the thread is warm, a process of
 * its own 130 ms. Concurrent commands have a thread each.
 */
export async function inThread(args: readonly string[], env: Record<string, string | undefined>): Promise<Ended> {
  const worker = idle.pop() ?? start()
  worker.ref()
  const timer = setTimeout(() => void worker.terminate(), COMMAND_TIMEOUT_MS)
  let alive = true
  const ended = await new Promise<Ended>((resolve) => {
    let last: Ended = { code: -1, stdout: '', stderr: '' }
    worker.on('message', ({ goesOn, ...outcome }: Ended & { goesOn: boolean }) => {
      last = outcome
      if (goesOn) resolve(outcome)
    })
    worker.on('error', (error: Error) => {
      last = { ...last, code: 1, stderr: `${last.stderr}${error.stack ?? error}\n` }
    })
    worker.on('exit', () => {
      alive = false
      resolve(last)
    })
    const variables = Object.entries(env).filter(([, value]) => value !== undefined)
    worker.postMessage({ args, env: Object.fromEntries(variables) })
  })
  clearTimeout(timer)
  for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
  worker.unref()
  if (alive) idle.push(worker)
  return ended
}
