import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import fc from 'fast-check'
import type { Instance } from '../../sandbox/aws/world.js'
import { REGISTRY_PATH } from '../../src/lib/domain/paths.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { BIN, LATEST_AMI, OLDER_AMI, type Outcome, type TestSandbox } from './cli.js'

const IDS = ['a', 'b', 'c']
/** A host that does not yield is stopped after 90 s, and each deploy may meet three. */
const COMMAND_MS = 420_000

/** Long enough for a busy machine, where a host boots in less than a second. */
const HEALTH_TIMEOUT = '12s'

/** Moments of a command, and how many of each the deploy of one or two hosts has. */
const MOMENTS = {
  /** To any service. */
  request: 150,
  /** Starts or stops, in standby or active. */
  gateway: 6,
  /** Active machines written. */
  role: 5,
  /** Records written. */
  record: 25,
  /** State or its lock written. */
  state: 6,
  launch: 2,
  terminate: 2,
  stop: 1,
} as const
type Moment = keyof typeof MOMENTS

type Act =
  | { kind: 'kill' }
  | { kind: 'cancel' }
  | { kind: 'fleet-cancel' }
  /** By a person in EC2: the nth of the fleet's machines then. */
  | { kind: 'lose'; nth: number }
  | { kind: 'stop'; nth: number }
  | { kind: 'fault'; fault: string }

export interface Strike {
  at: { moment: Moment; nth: number }
  act: Act
}

export interface Command {
  as: 'laptop' | 'ci'
  words: string[]
  /** Before the command: an id enters or leaves the registry, or gets another instance type. */
  edit: { id: string; to: 'in' | 'out' | 't3.xlarge' } | null
  /** While the command runs, and not after it. */
  faults: string[]
  strikes: Strike[]
}

export interface Scene {
  registry: string[]
  running: string[]
  /** From SIGINT to SIGTERM, and from there to SIGKILL: GitHub's own, the sandbox's, and hardly any. */
  grace: [number, number]
  commands: Command[]
  /** The last deploy has a newer image, or the latest by its id. */
  ends: 'newer' | 'latest'
}

const id = fc.constantFrom(...IDS)
/** Null, but for one time in so many. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>, times: number) =>
  fc.oneof({ weight: 1, arbitrary }, { weight: times - 1, arbitrary: fc.constant(null) })
const httpFault = fc
  .tuple(
    fc.constantFrom('ec2', 's3', 'github', 'api'),
    fc.constantFrom('throttle', 'error', 'reset'),
    fc.oneof(fc.constant(0), fc.nat(120)),
    fc.constantFrom('1', '2', '2', '2', '5', 'always'),
  )
  .map(([service, kind, after, strikes]) => `${service}:${kind}@${after}=${strikes}`)
const hostFault = fc
  .tuple(
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom('unhealthy', 'crash', 'bad-token', 'bad-switch') },
      { weight: 3, arbitrary: fc.constantFrom('dead', 'impaired', 'mute', 'bad-bundle') },
      { weight: process.env.FENCES ? 6 : 0, arbitrary: fc.constant('no-yield') },
    ),
    fc.option(id),
  )
  .map(([kind, of]) => (of === null && kind !== 'no-yield' ? `host:${kind}` : `host:${kind}=${of ?? 'a'}`))
const runnerFault = fc
  .constantFrom('health', 'role', 'policy', 'profile', 'apply', 'terminate')
  .map((moment) => `runner:dies=${moment}`)

const moment = fc.oneof(
  ...(Object.keys(MOMENTS) as Moment[]).map((one) => ({
    weight: one === 'role' || one === 'gateway' ? 4 : 2,
    arbitrary: fc.record({ moment: fc.constant(one), nth: fc.integer({ min: 1, max: MOMENTS[one] }) }),
  })),
)
const act = fc.oneof<fc.MaybeWeightedArbitrary<Act>[]>(
  { weight: 3, arbitrary: fc.constant({ kind: 'kill' }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'cancel' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'fleet-cancel' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('lose', 'stop'), nth: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), fault: fc.oneof(httpFault, hostFault) }) },
)
const strike: fc.Arbitrary<Strike> = fc.record({ at: moment, act })

const words = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        fc.oneof(id, fc.constant('all')),
        fc.constantFrom<string[]>([], [], [], ['--ami', OLDER_AMI], ['--ami', LATEST_AMI]),
        fc.constantFrom<string[]>([], [], [], ['--strategy', 'replace']),
      )
      .map(([target, ami, strategy]) => ['deploy', target, ...ami, ...strategy]),
  },
  { weight: 1, arbitrary: fc.oneof(id, fc.constant('all')).map((target) => ['rollback', target]) },
  { weight: 1, arbitrary: fc.constant<string[]>(['recover']) },
)

const command: fc.Arbitrary<Command> = fc.record({
  as: fc.constantFrom('laptop', 'laptop', 'ci'),
  words,
  edit: rarely(fc.record({ id, to: fc.constantFrom('in', 'out', 't3.xlarge' as const) }), 5),
  faults: fc
    .tuple(rarely(hostFault, 3), rarely(httpFault, 4), rarely(runnerFault, 6))
    .map((all) => all.filter((one) => one !== null)),
  strikes: fc.oneof(
    { weight: 1, arbitrary: fc.constant<Strike[]>([]) },
    { weight: 4, arbitrary: fc.tuple<Strike[]>(strike) },
    { weight: 2, arbitrary: fc.tuple<Strike[]>(strike, strike) },
  ),
})

export const scene: fc.Arbitrary<Scene> = fc
  .record({
    registry: fc.subarray(IDS, { minLength: 1 }),
    running: fc.oneof({ weight: 1, arbitrary: fc.subarray(IDS) }, { weight: 3, arbitrary: fc.constant(IDS) }),
    grace: fc.constantFrom<[number, number]>([7500, 2500], [1000, 1000], [100, 100]),
    commands: fc.oneof(...[1, 2, 3].map((count) => fc.array(command, { minLength: count, maxLength: count }))),
    ends: fc.constantFrom('newer', 'latest'),
  })
  .map(({ registry, running, commands, ...rest }) => {
    const known = (one: string) => one.length !== 1 || registry.includes(one)
    const named = (words: string[]) => words.map((word) => (known(word) ? word : (registry[0] ?? word)))
    const aimed = commands.map((one) => (one.edit?.to === 'in' ? one : { ...one, words: named(one.words) }))
    // Nothing to recover yet, and nothing to roll back to.
    if (aimed[0]?.words[0] !== 'deploy')
      aimed[0] = { ...(aimed[0] as Command), words: ['deploy', registry[0] as string] }
    return { ...rest, registry, running: running.filter(known), commands: aimed }
  })

/** Every registry that a scene can have, so that each id has a bundle. */
export function registryText(entries: ReadonlyMap<string, string>): string {
  const of = (one: string, instanceType: string) => {
    return { host: one, instanceType, bootstrapPrefix: `bootstrap/${one}`, discordTokenSecret: `token-${one}` }
  }
  return JSON.stringify(Object.fromEntries([...entries].map(([one, type]) => [one, of(one, type)])), null, 2)
}

export const EVERY_ID: ReadonlyMap<string, string> = new Map(IDS.map((one) => [one, 't3.large']))

/** What happened while a command ran. */
export interface Ran {
  command: Command
  outcome: Outcome
  /** Of the ids whose machines a person lost or stopped in EC2 meanwhile. */
  taken: Set<string>
  /** Whether the command or its run was killed, by a fault or by GitHub's SIGKILL. */
  killed: boolean
  cancelled: boolean
  /** Services that were down until its end. */
  outage: boolean
  log: string
}

export class Stage {
  readonly sandbox: TestSandbox
  readonly #registryFile: string
  readonly entries: Map<string, string>
  readonly #listeners = new Set<(moment: Moment) => void>()

  constructor(sandbox: TestSandbox, registryFile: string, registry: readonly string[], grace: Scene['grace']) {
    this.sandbox = sandbox
    this.#registryFile = registryFile
    this.entries = new Map(registry.map((one) => [one, 't3.large']))
    const { world, inner } = sandbox
    Object.assign(inner.github.options.vars ?? {}, { HEALTH_TIMEOUT })
    Object.assign(inner.github.options, { limits: { sigintMs: grace[0], sigtermMs: grace[1] } })
    // A moment is when it happens, not when a poll sees it.
    const seen = <T>(list: T[], see: (item: T) => void) => {
      const push = list.push.bind(list)
      list.push = (...items: T[]) => {
        const length = push(...items)
        items.forEach(see)
        return length
      }
    }
    seen(inner.requests as { method: string; path: string; status: unknown }[], ({ method, path, status }) => {
      this.#emit('request')
      if (method !== 'PUT' || status !== 200) return
      if (path.includes('/active/')) this.#emit('role')
      if (path.includes('/deploys/')) this.#emit('record')
      if (path.includes('.tfstate')) this.#emit('state')
    })
    seen(world.gateways as unknown[], () => this.#emit('gateway'))
    world.onLaunch(() => this.#emit('launch'))
    world.onTerminate(() => this.#emit('terminate'))
    world.onStop(() => this.#emit('stop'))
  }

  #emit(what: Moment): void {
    for (const listener of this.#listeners) listener(what)
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

  /** The machine of an id whose gateway acts now, or null. Two are an error of their own. */
  acting(one: string): string | null {
    let now: string | null = null
    for (const { id: of, acts, event, instanceId } of this.sandbox.world.gateways) {
      if (of !== one || !acts) continue
      now = event === 'start' ? instanceId : now === instanceId ? null : now
    }
    return now
  }

  async run(command: Command): Promise<Ran> {
    const { sandbox } = this
    await this.edit(command.edit)
    const { faults, github } = sandbox.inner
    const removers = command.faults.map((fault) => faults.add(parseFault(fault)))
    const [verb = '', ...rest] = command.words
    const as = verb === 'recover' ? 'ci' : command.as
    const isDeploy = verb !== 'recover'
    const args = [
      ...['fleet', verb, ...rest, '--json'],
      ...(isDeploy ? ['--requested-by', 'Jo'] : []),
      ...(isDeploy && as === 'laptop' ? ['--wait'] : []),
    ]
    const env = {
      ...(await sandbox.environment(as)),
      ...(as === 'ci' ? { CLAWCTL_HEALTH_TIMEOUT: HEALTH_TIMEOUT } : {}),
    }
    const ran = { taken: new Set<string>(), killed: false, cancelled: false, outage: false }
    const lines: string[] = []
    const runs = github.runs.length

    const child = execa(process.execPath, [BIN, ...args], {
      ...{ env, extendEnv: false, reject: false, timeout: COMMAND_MS, detached: true, cleanup: true },
      ...{ stdin: 'ignore', stripFinalNewline: false },
    })
    const signal = (name: NodeJS.Signals, group = false) => {
      try {
        if (child.pid) process.kill(group ? -child.pid : child.pid, name)
      } catch {
        // It has ended.
      }
    }
    const timers: NodeJS.Timeout[] = []
    const act = (what: Act): void => {
      lines.push(
        `${JSON.stringify(what)} after ${lines.length ? '' : 'nothing, '}${sandbox.inner.requests.length} requests`,
      )
      const run = github.runs.find(({ status }) => status !== 'completed')
      if (what.kind === 'fault') removers.push(faults.add(parseFault(what.fault)))
      else if (what.kind === 'kill') {
        ran.killed = true
        if (as === 'ci') signal('SIGKILL', true)
        else if (run) github.killRunner(run.id)
        else ran.killed = false
      } else if (what.kind === 'cancel') {
        const began = Date.now()
        if (as === 'ci') {
          ran.cancelled = true
          signal('SIGINT')
          timers.push(
            setTimeout(() => signal('SIGTERM'), 7500),
            setTimeout(() => signal('SIGKILL', true), 10_000),
          )
          timers.push(
            setTimeout(() => {
              ran.killed = true
            }, 10_000),
          )
        } else if (run) {
          ran.cancelled = true
          github.cancelRun(run.id)
          const { limits } = github.options
          const graceMs = (limits?.sigintMs ?? 0) + (limits?.sigtermMs ?? 0)
          void (async () => {
            while (run.status !== 'completed') await sleep(5)
            if (Date.now() - began >= graceMs) ran.killed = true
          })()
        }
      } else if (what.kind === 'fleet-cancel') {
        void sandbox.clawctl('laptop', ['fleet', 'status', '--json']).then(async (status) => {
          const requestId = status.code === 0 ? status.json().fleet.deploying?.requestId : undefined
          if (requestId)
            await sandbox.clawctl('laptop', ['fleet', 'cancel', requestId, '--requested-by', 'Jo', '--json'])
        })
        ran.cancelled = true
      } else {
        const machines = this.machines().filter(({ state }) => what.kind === 'lose' || state === 'running')
        const machine = machines[what.nth % Math.max(machines.length, 1)]
        if (!machine) return
        ran.taken.add(machine.tags.get('clawdinator:id') ?? '')
        if (what.kind === 'lose') sandbox.world.terminate(machine.id)
        else sandbox.world.stop(machine.id)
      }
    }
    const counts = new Map<Moment, number>()
    const listener = (what: Moment) => {
      const count = (counts.get(what) ?? 0) + 1
      counts.set(what, count)
      for (const { at, act: what1 } of command.strikes) {
        if (at.moment !== what || at.nth !== count) continue
        // The world finishes what it is doing first.
        if (what1.kind === 'kill' || what1.kind === 'cancel') act(what1)
        else setImmediate(() => act(what1))
      }
    }
    this.#listeners.add(listener)
    const ended = await child
    this.#listeners.delete(listener)
    for (const timer of timers) clearTimeout(timer)
    await github.idle()
    await new Promise(setImmediate)
    if (ended.timedOut) throw new Error(`${args.join(' ')} did not end: ${ended.stderr}`)
    ran.outage = [
      ...command.faults,
      ...command.strikes.map(({ act: one }) => (one.kind === 'fault' ? one.fault : '')),
    ].some((fault) => fault.endsWith('=always') || fault.endsWith('=5'))
    if (command.faults.some((fault) => fault.startsWith('runner:')) && faults.held === null) {
      ran.killed ||= github.runs.slice(0, github.runs.length - runs).some(({ jobs }) => jobs.some(hasLostRunner))
    }
    for (const remove of removers) remove()
    const outcome: Outcome = {
      code: ended.exitCode ?? -1,
      stdout: ended.stdout,
      stderr: ended.stderr,
      json: () => JSON.parse(ended.stdout),
    }
    const runLog = github.runs
      .slice(0, github.runs.length - runs)
      .flatMap(({ jobs }) => jobs.flatMap(({ log }) => log.map(({ text }) => text)))
    return { ...ran, command, outcome, log: [...lines, ended.stdout, ended.stderr, ...runLog].join('\n') }
  }
}

const hasLostRunner = ({ annotations }: { annotations: { message: string }[] }) =>
  annotations.some(({ message }) => /lost communication/.test(message))
