import { readFile, readlink, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { shellQuote } from '../../sandbox/environment.js'
import { ROOT } from './plane.js'

/** The built program, which packages and processes run. */
export const BIN = join(ROOT, 'bin/run.js')
const TOFU = join(ROOT, 'dist/sandbox/tofu.js')
/** A command that takes longer hangs. */
export const COMMAND_TIMEOUT_MS = 110_000

export interface Ended {
  /** -1 where something else ended it. */
  code: number
  stdout: string
  stderr: string
}

const url = (path: string) => pathToFileURL(path).href
/** What a thread is to run; `main` is the module with the function that the entry calls. */
const PROGRAMS = {
  clawctl: { program: BIN, entry: url(BIN), main: url(join(ROOT, 'dist/main.js')) },
  tofu: { program: TOFU, entry: url(TOFU) },
}
type Program = keyof typeof PROGRAMS

/** Threads that wait for a run. The last one is taken first: it has loaded the most. */
const idle: Record<Program, Worker[]> = { clawctl: [], tofu: [] }

interface Run {
  args: readonly string[]
  env: Record<string, string | undefined>
  cwd?: string | undefined
}

interface Said {
  stream?: 'stdout' | 'stderr'
  chunk?: Uint8Array
  code?: number
  goesOn?: boolean
}

/** Runs a built program in a thread; `heard` gets what it prints. */
function begin(name: Program, run: Run, heard: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void) {
  // Without mocha's own arguments for Node: what runs is built.
  const worker =
    idle[name].pop() ??
    new Worker(new URL('./commandThread.mjs', import.meta.url), {
      execArgv: [],
      env: {},
      workerData: PROGRAMS[name],
    })
  worker.ref()
  let alive = true
  let isSignalled = false
  const ended = new Promise<number>((resolve) => {
    let code = -1
    worker.on('message', (said: Said) => {
      if (said.stream && said.chunk) return heard(said.stream, said.chunk)
      code = said.code ?? -1
      if (said.goesOn) resolve(code)
    })
    worker.on('error', (error: Error) => {
      code = 1
      heard('stderr', Buffer.from(`${error.stack ?? error}\n`))
    })
    worker.on('exit', () => {
      alive = false
      resolve(code)
    })
  }).finally(() => {
    for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
    worker.unref()
    // What a signal has stopped stays stopped in the modules of that thread.
    if (isSignalled) void worker.terminate()
    else if (alive) idle[name].push(worker)
  })
  const env = Object.fromEntries(Object.entries(run.env).filter(([, value]) => value !== undefined))
  worker.postMessage({ ...run, env })
  return {
    ended,
    signal: (signal: string) => {
      isSignalled = true
      worker.postMessage({ signal })
    },
    kill: () => void worker.terminate(),
  }
}

/**
 * `clawctl …` as built, in a thread of this process. It costs about 5 ms of CPU once the thread is warm, a process of
 * its own 130 ms. Concurrent commands have a thread each.
 */
export async function inThread(run: Run): Promise<Ended> {
  const chunks: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] }
  const begun = begin('clawctl', run, (stream, chunk) => chunks[stream].push(chunk))
  const timer = setTimeout(begun.kill, COMMAND_TIMEOUT_MS)
  const code = await begun.ended
  clearTimeout(timer)
  const [stdout, stderr] = [chunks.stdout, chunks.stderr].map((all) => Buffer.concat(all).toString())
  return { code, stdout: stdout ?? '', stderr: stderr ?? '' }
}

/**
 * A program for a PATH that runs in a thread of this process. It is a process with the group, signals and streams of any
 * other, at a twentieth of the CPU: bash, which connects its streams to the thread's, passes signals on, and whose end is
 * the thread's. `real` is a condition of bash for which it starts the program itself. Linux only, because of /proc.
 */
export async function writeLauncher(path: string, name: Program, real: string): Promise<void> {
  const { port } = (await launched()).address() as AddressInfo
  const text = `#!/bin/bash
if ${real}; then exec ${shellQuote(process.execPath)} ${shellQuote(PROGRAMS[name].program)} "$@"; fi
for fd in 3 4 5; do
  eval "exec $fd<>/dev/tcp/127.0.0.1/${port}" || exit 1
  echo "$$ $fd ${name}" >&$fd
done
trap 'echo SIGINT >&3' INT
trap 'echo SIGTERM >&3' TERM
(trap '' INT TERM; exec cat <&4 3>&- 4>&- 5>&-) &
(trap '' INT TERM; exec cat <&5 >&2 3>&- 4>&- 5>&-) &
until read -r code <&3; do (($? > 128)) || exit 137; done
trap '' INT TERM
wait
exit "$code"
`
  await writeFile(path, text, { mode: 0o755 })
}

let server: Promise<Server> | undefined

/** The server that launchers connect to: with one socket for signals and the exit code, and one for each stream. */
function launched(): Promise<Server> {
  server ??= new Promise((resolve) => {
    const sockets = new Map<string, Map<string, Socket>>()
    const listening = createServer((socket) => {
      socket.unref()
      socket.on('error', () => {})
      socket.once('data', (data) => {
        const [pid = '', fd = '', name = ''] = data.toString().trimEnd().split(' ')
        const own = sockets.get(pid) ?? new Map<string, Socket>()
        sockets.set(pid, own.set(fd, socket))
        const [control, out, err] = ['3', '4', '5'].map((one) => own.get(one))
        if (!control || !out || !err) return
        sockets.delete(pid)
        void serve(pid, name as Program, control, out, err)
      })
    })
    listening.listen(0, '127.0.0.1', () => resolve(listening.unref()))
  })
  return server
}

async function serve(pid: string, name: Program, control: Socket, out: Socket, err: Socket): Promise<void> {
  const [cmdline, environ, cwd] = await Promise.all([
    readFile(`/proc/${pid}/cmdline`, 'utf8'),
    readFile(`/proc/${pid}/environ`, 'utf8'),
    readlink(`/proc/${pid}/cwd`),
  ]).catch(() => ['', '', '']) // It was killed.
  if (cwd === '') {
    control.destroy()
    return
  }
  const env = Object.fromEntries(
    (environ ?? '').split('\0').flatMap((one) => {
      const at = one.indexOf('=')
      return at > 0 ? [[one.slice(0, at), one.slice(at + 1)]] : []
    }),
  )
  // bash, the launcher, its arguments, and nothing behind the last separator.
  const args = (cmdline ?? '').split('\0').slice(2, -1)
  const run = begin(name, { args, env, cwd }, (stream, chunk) => (stream === 'stdout' ? out : err).write(chunk))
  control.on('data', (data) => {
    for (const signal of data.toString().trim().split('\n')) run.signal(signal)
  })
  control.once('close', run.kill)
  const code = await run.ended
  control.off('close', run.kill)
  out.end()
  err.end()
  control.end(`${code}\n`)
}
