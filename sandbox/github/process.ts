import { readdir, readFile, readlink } from 'node:fs/promises'
import { StringDecoder } from 'node:string_decoder'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'

/** Time limits for stopping a step. */
export interface StopPolicy {
  /** From SIGINT to SIGTERM; 7500 on GitHub. */
  sigintMs: number
  /** From SIGTERM to SIGKILL; 2500 on GitHub. */
  sigtermMs: number
  /** How long output is still read from processes that outlive the step's shell; 5000 on GitHub. */
  outputMs: number
  /**
   * Which processes get the signals. GitHub's runner only signals the step's shell (ProcessInvoker.cs: `kill(_proc.Id, …)`),
   * so a program for which bash waits never gets them unless the step `exec`s it; it is killed when the job ends.
   */
  signals: 'shell' | 'group'
}

/** The environment variable that identifies a job's processes, as with GitHub's runner. */
export const TRACKING_VARIABLE = 'RUNNER_TRACKING_ID'

export interface ProcessRequest {
  file: string
  args: string[]
  cwd: string
  env: Record<string, string>
  onLine(line: string): void
  /** Stops it with SIGINT first. */
  stop: AbortSignal
  /** Kills it and its whole group immediately. */
  lost: AbortSignal
  policy: StopPolicy
}

/** The processes of a job, including those that outlive their step. */
export class ProcessGroups {
  readonly #groups = new Set<number>()

  /** Runs one program in its own process group; resolves with its exit code, or null if a signal ended it. */
  async run(request: ProcessRequest): Promise<number | null> {
    const { policy, stop, lost } = request
    const child = execa(request.file, request.args, {
      cwd: request.cwd,
      env: request.env,
      extendEnv: false,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      buffer: false,
      reject: false,
      cleanup: false,
    })
    const { pid } = child
    if (pid === undefined) throw (await child).cause
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
    for (const stream of [child.stdout, child.stderr]) readLines(stream, request.onLine)
    this.#groups.add(pid)

    const over = new AbortController()
    const kill = () => signal(-pid, 'SIGKILL')
    const halt = async () => {
      const target = policy.signals === 'group' ? -pid : pid
      signal(target, 'SIGINT')
      if (await elapsed(policy.sigintMs, over.signal)) signal(target, 'SIGTERM')
      else return
      if (await elapsed(policy.sigtermMs, over.signal)) kill()
    }
    if (lost.aborted) kill()
    else if (stop.aborted) void halt()
    lost.addEventListener('abort', kill)
    stop.addEventListener('abort', halt)
    try {
      const code = await exited
      over.abort()
      const waited = new AbortController()
      await Promise.race([closed, elapsed(policy.outputMs, waited.signal)])
      waited.abort()
      child.stdout.destroy()
      child.stderr.destroy()
      if (!alive(-pid)) this.#groups.delete(pid)
      return code
    } finally {
      lost.removeEventListener('abort', kill)
      stop.removeEventListener('abort', halt)
    }
  }

  /** Kills the remaining processes of the job: its groups, and (on Linux) every process with its tracking id. */
  async cleanUp(trackingId: string): Promise<number[]> {
    const killed = new Set<number>()
    // Repeated until no process is found, because one may fork meanwhile. An unreaped zombie keeps its group.
    for (let round = 0; round < 50; round += 1) {
      for (const group of this.#groups) {
        if (signal(-group, 'SIGKILL')) killed.add(group)
        else this.#groups.delete(group)
      }
      const { orphans, starting } = await tracked(trackingId)
      for (const pid of orphans) if (signal(pid, 'SIGKILL')) killed.add(pid)
      const ended = orphans.length === 0 && !starting && (this.#groups.size === 0 || round > 0)
      if (ended && !(await Promise.all([...killed].map(isRunning))).some(Boolean)) break
      await sleep(10)
    }
    this.#groups.clear()
    return [...killed]
  }
}

/**
 * Processes with the tracking id, and whether one can't be read yet: during `exec` a process has no environment, on a busy
 * machine for many milliseconds.
 */
async function tracked(trackingId: string): Promise<{ orphans: number[]; starting: boolean }> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number)
  let starting = false
  const marked = await Promise.all(
    pids.map(async (pid) => {
      const environ = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => null)
      if (environ === '' && (await readlink(`/proc/${pid}/exe`).catch(() => null))) starting = true
      return pid !== process.pid && environ?.split('\0').includes(`${TRACKING_VARIABLE}=${trackingId}`) ? pid : null
    }),
  )
  return { orphans: marked.filter((pid) => pid !== null), starting }
}

/** A process that was killed keeps its connections for a moment after its environment is gone. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
  return stat !== null && !/\) [ZX] [^)]*$/.test(stat)
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}

function alive(pid: number): boolean {
  return signal(pid, 0)
}

async function elapsed(ms: number, abort: AbortSignal): Promise<boolean> {
  return await sleep(ms, true, { signal: abort }).catch(() => false)
}

function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split(/\r?\n/)
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
  stream.once('close', () => {
    rest += decoder.end()
    if (rest !== '') onLine(rest)
  })
}
