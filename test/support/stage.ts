import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Instance } from '../../sandbox/aws/world.js'
import { REGISTRY_PATH } from '../../src/lib/domain/paths.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { BIN, type Outcome, type TestSandbox } from './cli.js'
import { type Act, type Command, type Moment, registryText, type Scene } from './scenes.js'

/** A host that does not yield is stopped after 90 s, and a deploy may meet three. */
const COMMAND_MS = 420_000
/** Long enough for a busy machine, where a host boots in less than a second. */
const HEALTH_TIMEOUT = '12s'
/** GitHub's, from SIGINT to SIGTERM and from there to SIGKILL. */
const SIGTERM_MS = 7_500
const SIGKILL_MS = 10_000

/** What happened while a command ran. */
export interface Ran {
  command: Command
  outcome: Outcome
  /** Ids whose machines a person terminated or stopped in EC2. */
  taken: Set<string>
  /** The process, or the runner, was killed, and nothing ran after it. */
  killed: boolean
  /** A service failed for longer than it is retried. */
  outage: boolean
  log: string
}

/** A command that runs, and what was done to it. */
interface Running extends Pick<Ran, 'taken' | 'killed'> {
  as: Command['as']
  signal(name: NodeJS.Signals): void
  removers: (() => void)[]
  timers: NodeJS.Timeout[]
  pending: Promise<unknown>[]
  log: string[]
}

/** A sandbox in which scenes are played. */
export class Stage {
  readonly sandbox: TestSandbox
  /** Instance types by id: the registry. */
  readonly entries: Map<string, string>
  readonly #registryFile: string
  #onMoment: (moment: Moment) => void = () => {}

  constructor(sandbox: TestSandbox, registryFile: string, registry: readonly string[], grace: Scene['grace']) {
    this.sandbox = sandbox
    this.#registryFile = registryFile
    this.entries = new Map(registry.map((id) => [id, 't3.large']))
    const { world, inner } = sandbox
    Object.assign(inner.github.options.vars ?? {}, { HEALTH_TIMEOUT })
    Object.assign(inner.github.options, { limits: { sigintMs: grace[0], sigtermMs: grace[1] } })
    watch(inner.requests, ({ method, path, status }) => {
      this.#onMoment('request')
      if (method !== 'PUT' || status !== 200) return
      if (path.includes('/active/')) this.#onMoment('role')
      if (path.includes('/deploys/')) this.#onMoment('record')
      if (path.includes('.tfstate')) this.#onMoment('state')
    })
    watch(world.gateways, () => this.#onMoment('gateway'))
    world.onLaunch(() => this.#onMoment('launch'))
    world.onTerminate(() => this.#onMoment('terminate'))
    world.onStop(() => this.#onMoment('stop'))
  }

  /** Writes the registry, on the branch and in the clone of the direct plane. */
  async edit(edit: Command['edit']): Promise<void> {
    if (edit?.to === 'out') this.entries.delete(edit.id)
    else if (edit) this.entries.set(edit.id, edit.to === 'in' ? (this.entries.get(edit.id) ?? 't3.large') : edit.to)
    const { CLAWCTL_CHECKOUT = '' } = await this.sandbox.environment('ci')
    for (const file of [this.#registryFile, join(CLAWCTL_CHECKOUT, REGISTRY_PATH)]) {
      await writeFile(file, registryText(this.entries))
    }
  }

  /** The fleet's machines that EC2 has not terminated. */
  machines(): Instance[] {
    return [...this.sandbox.world.instances.values()].filter(
      ({ state }) => state !== 'terminated' && state !== 'shutting-down',
    )
  }

  /** The machine of an id whose gateway acts now, or null. */
  acting(id: string): string | null {
    let now: string | null = null
    for (const event of this.sandbox.world.gateways) {
      if (event.id !== id || !event.acts) continue
      now = event.event === 'start' ? event.instanceId : now === event.instanceId ? null : now
    }
    return now
  }

  /** Runs a command to its end, and that of its run. */
  async run(command: Command): Promise<Ran> {
    await this.edit(command.edit)
    const { faults, github } = this.sandbox.inner
    const [verb = '', ...rest] = command.words
    const as = verb === 'recover' ? 'ci' : command.as
    const wait = as === 'laptop' ? ['--wait'] : []
    const args = ['fleet', verb, ...rest, '--json', ...(verb === 'recover' ? [] : ['--requested-by', 'Jo', ...wait])]
    const health = as === 'ci' ? { CLAWCTL_HEALTH_TIMEOUT: HEALTH_TIMEOUT } : {}
    const earlier = github.runs.length
    const child = execa(process.execPath, [BIN, ...args], {
      ...{ env: { ...(await this.sandbox.environment(as)), ...health }, extendEnv: false, reject: false },
      // In a group of its own, to be killed with OpenTofu.
      ...{ timeout: COMMAND_MS, detached: true, cleanup: true, stdin: 'ignore', stripFinalNewline: false },
    })
    const signal = (name: NodeJS.Signals) => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(name === 'SIGKILL' ? -child.pid : child.pid, name)
    }
    const running: Running = {
      ...{ as, signal, taken: new Set(), killed: false, removers: [], timers: [], pending: [], log: [] },
    }
    for (const fault of command.faults) running.removers.push(faults.add(parseFault(fault)))
    const counts = new Map<Moment, number>()
    this.#onMoment = (moment) => {
      const count = (counts.get(moment) ?? 0) + 1
      counts.set(moment, count)
      for (const { at, act } of command.strikes) {
        if (at.moment !== moment || at.nth !== count) continue
        running.log.push(`${JSON.stringify(act)} with request ${this.sandbox.inner.requests.length}`)
        // The world first ends what it is doing.
        if (act.kind === 'kill' || act.kind === 'cancel') this.#strike(act, running)
        else setImmediate(() => this.#strike(act, running))
      }
    }
    const ended = await child
    this.#onMoment = () => {}
    for (const timer of running.timers) clearTimeout(timer)
    await Promise.all([github.idle(), ...running.pending])
    await new Promise(setImmediate)
    for (const remove of running.removers) remove()
    if (ended.timedOut) throw new Error(`${args.join(' ')} did not end: ${ended.stderr}`)

    const jobs = github.runs.slice(0, github.runs.length - earlier).flatMap((one) => one.jobs)
    const isLost = jobs.some(({ annotations }) =>
      annotations.some(({ message }) => message.includes('lost communication')),
    )
    const lines = jobs.flatMap((job) => job.log.map(({ text }) => text))
    const { exitCode = -1, stdout, stderr } = ended
    const strikes = command.strikes.map(({ act }) => (act.kind === 'fault' ? act.fault : ''))
    return {
      ...{ command, taken: running.taken, killed: running.killed || isLost },
      outage: [...command.faults, ...strikes].some((fault) => /=(?:5|always)$/.test(fault)),
      outcome: { code: exitCode, stdout, stderr, json: () => JSON.parse(stdout) },
      log: [...running.log, stdout, stderr, ...lines].join('\n'),
    }
  }

  #strike(act: Act, running: Running): void {
    const { inner, world } = this.sandbox
    const run = inner.github.runs.find(({ status }) => status !== 'completed')
    if (act.kind === 'fault') running.removers.push(inner.faults.add(parseFault(act.fault)))
    else if (act.kind === 'kill') {
      if (run) inner.github.killRunner(run.id)
      else if (running.as === 'ci') this.#kill(running)
    } else if (act.kind === 'cancel') {
      if (run) inner.github.cancelRun(run.id)
      else if (running.as === 'ci') {
        running.signal('SIGINT')
        running.timers.push(
          setTimeout(() => running.signal('SIGTERM'), SIGTERM_MS),
          setTimeout(() => this.#kill(running), SIGKILL_MS),
        )
      }
    } else if (act.kind === 'fleet-cancel') running.pending.push(this.#cancel())
    else {
      const machines = this.machines().filter(({ state }) => act.kind === 'lose' || state === 'running')
      const machine = machines[act.nth % machines.length]
      if (!machine) return
      running.taken.add(machine.tags.get('clawdinator:id') ?? '')
      if (act.kind === 'lose') world.terminate(machine.id)
      else world.stop(machine.id)
    }
  }

  #kill(running: Running): void {
    running.killed = true
    running.signal('SIGKILL')
  }

  /** `fleet cancel` of the deploy that runs, if there is one. */
  async #cancel(): Promise<void> {
    const status = await this.sandbox.clawctl('laptop', ['fleet', 'status', '--json'])
    const { requestId } = (status.code === 0 && status.json().fleet.deploying) || {}
    if (requestId)
      await this.sandbox.clawctl('laptop', ['fleet', 'cancel', requestId, '--requested-by', 'Jo', '--json'])
  }
}

/** A moment is when it happens, not when a later look sees it. */
function watch<T>(list: readonly T[], see: (item: T) => void): void {
  const array = list as T[]
  const push = array.push.bind(array)
  array.push = (...items) => {
    const length = push(...items)
    items.forEach(see)
    return length
  }
}
