import { activeKey, heartbeatKey } from '../src/lib/domain/bundles/manifest.js'
import { type HostStage, instanceIdSchema } from '../src/lib/domain/contract/index.js'
import { parseActive } from '../src/lib/domain/deploy/active.js'
import { ID_TAG } from '../src/lib/domain/deploy/slots.js'
import { BOOT_LINE } from '../src/lib/domain/images/names.js'
import type { Instance, World } from './aws/world.js'
import type { Faults } from './faults.js'
import { heartbeatOf, type Machine, machineOf, readBundle, UNITS } from './hostMachine.js'

export interface HostsOptions {
  world: World
  faults: Faults
  /** From launch until the checks pass and the host reads its bundle; it is running after half of it. */
  bootMs?: number
  /** Between two heartbeats of a host without news: a minute on a real one. */
  beatMs?: number
  /** Between two reads of the active machine: in standby, and when active. 3 s and 60 s on a real host. */
  standbyMs?: number
  activeMs?: number
  /** The pause before a failed stage is retried. */
  retryMs?: number
  /** A wait before a booted host starts its gateway, for faults that must happen before its first heartbeat. */
  beforeUp?: () => Promise<void>
  /** Notes about the hosts, one sentence each, for a person who watches the sandbox. */
  onNote?: (note: string) => void
}

const SHUTDOWN_MS = 100
/** Machines that ran before the sandbox have an old launch time. */
const ADOPTED_MS = 10 * 60_000
/**
 * The machines of the instances: they boot, install their bundle, start a gateway and send heartbeats like the NixOS hosts,
 * with their user data and the permissions of their role. A machine without the user data of a host only boots.
 */
export class Hosts {
  readonly #world: World
  readonly #faults: Faults
  readonly #options: Required<Omit<HostsOptions, 'world' | 'faults' | 'beforeUp' | 'onNote'>>
  readonly #beforeUp: (() => Promise<void>) | undefined
  readonly #note: (note: string) => void
  readonly #timers = new Map<string, Set<NodeJS.Timeout>>()
  readonly #machines = new Map<string, Machine>()
  #unregister: (() => void)[] = []
  #pids = 700

  constructor({ world, faults, beforeUp, onNote, ...given }: HostsOptions) {
    this.#world = world
    this.#faults = faults
    this.#options = { bootMs: 300, beatMs: 500, standbyMs: 60, activeMs: 500, retryMs: 500, ...given }
    this.#beforeUp = beforeUp
    this.#note = onNote ?? (() => {})
  }

  /** Handles launches, stops and terminations from now on, and those that have started already. */
  start(): void {
    if (this.#unregister.length > 0) return
    this.#unregister = [
      this.#world.onLaunch((instance) => this.#launched(instance)),
      this.#world.onStop((instance) => this.#end(instance, 'stopped')),
      this.#world.onTerminate((instance) => this.#end(instance, 'terminated')),
    ]
    for (const instance of this.#world.instances.values()) {
      this.#launched(instance)
      if (instance.state === 'shutting-down') this.#end(instance, 'terminated')
    }
  }

  /** Stops every timer: no state changes and no heartbeats afterwards. */
  stop(): void {
    for (const unregister of this.#unregister) unregister()
    this.#unregister = []
    for (const id of [...this.#timers.keys()]) this.#clear(id)
  }

  /** A host that has been running since before the sandbox: it is active immediately, without boot or faults. */
  adopt(instanceId: string): void {
    const instance = this.#world.instances.get(instanceId)
    if (instance?.state !== 'running') throw new Error(`${instanceId} is not a running instance`)
    this.#clear(instanceId)
    const machine = this.#machineOf(instance)
    if (!machine) throw new Error(`${instanceId} does not have the user data of a host`)
    for (const stage of ['booted', 'bundle', 'secrets', 'repositories', 'switch'] as const) this.#reach(machine, stage)
    machine.generation = this.#bundle(machine).generation
    this.#act(machine)
    machine.gateway.since = new Date(this.#world.now().getTime() - ADOPTED_MS).toISOString()
    this.#report(machine)
    this.#keepBeating(machine)
  }

  /** Writes one heartbeat now, if the instance is a running host. Returns whether it did. */
  beat(instanceId: string): boolean {
    const machine = this.#machines.get(instanceId)
    return machine !== undefined && this.#report(machine)
  }

  #launched(instance: Instance): void {
    if (instance.state !== 'pending') return
    this.#after(instance, this.#options.bootMs / 2, () => {
      if (instance.state !== 'pending') return
      instance.state = 'running'
      instance.console += '[    0.000000] Linux version 6.12 (nixbld@localhost)\n'
      this.#after(instance, this.#options.bootMs / 2, () => this.#booted(instance))
    })
  }

  #booted(instance: Instance): void {
    if (instance.state !== 'running') return
    const machine = this.#machineOf(instance)
    const id = machine?.id ?? instanceIdSchema.safeParse(instance.tags.get(ID_TAG)).data ?? null
    const impaired = this.#faults.machine('impaired', id)
    instance.checks = impaired ? 'impaired' : 'ok'
    if (this.#faults.machine('mute', id)) instance.console = ''
    else if (!impaired) instance.console += `[    4.200000] ${BOOT_LINE}\n`
    if (impaired) return
    if (!machine) {
      if (id) this.#note(`${id} (${instance.id}) booted without the user data of a host: it does nothing`)
      return
    }
    const fault = this.#faultOf(machine)
    if (fault === 'dead' || fault === 'unhealthy') {
      this.#note(`${id} (${instance.id}) booted ${instance.imageId} and stays silent (fault host:${fault})`)
      return
    }
    this.#reach(machine, 'booted')
    this.#report(machine)
    this.#keepBeating(machine)
    this.#install(machine)
  }

  #faultOf({ id, instance }: Machine) {
    return this.#faults.host(id, instance.imageId === this.#world.latestImage()?.id)
  }

  #machineOf(instance: Instance): Machine | null {
    const machine = machineOf(this.#world, instance)
    if (machine) this.#machines.set(instance.id, machine)
    return machine
  }

  /** Bundle, secrets, repositories and switch, each retried until it succeeds. */
  #install(machine: Machine): void {
    const { instance, id } = machine
    const { problem, generation } = this.#bundle(machine)
    machine.generation = generation
    this.#reach(machine, 'bundle')
    if (problem) {
      this.#fail(machine, 'bundle', problem, `${id} (${instance.id}) booted, but ${problem}: its gateway cannot start`)
      this.#after(instance, this.#options.retryMs, () => this.#install(machine))
      return
    }
    for (const stage of ['secrets', 'repositories', 'switch'] as const) this.#reach(machine, stage)
    if (this.#faultOf(machine) === 'bad-switch') {
      const why = 'error: the configuration does not build (fault host:bad-switch)'
      this.#fail(machine, 'switch', why, `${id} (${instance.id}) cannot switch to its configuration`)
      return
    }
    machine.failure = null
    void this.#comeUp(machine)
  }

  async #comeUp(machine: Machine): Promise<void> {
    if (this.#beforeUp) await this.#beforeUp()
    const { id, instance } = machine
    if (instance.state !== 'running') return
    machine.gateway.crashes = this.#faultOf(machine) === 'crash'
    machine.rejected = this.#faultOf(machine) === 'bad-token'
    const seen = this.#holder(machine)
    if (seen === 'this' || seen === 'none') this.#act(machine)
    else this.#standBy(machine)
    const how = machine.gateway.crashes ? 'its gateway failed (fault host:crash)' : 'is up'
    const waits = seen === 'other' || seen === 'unknown' ? ', in standby' : ''
    this.#note(`${id} (${instance.id}) booted ${instance.imageId} and ${how}${waits}`)
  }

  #standBy(machine: Machine): void {
    this.#startGateway(machine, 'standby')
    this.#waitForRole(machine)
  }

  /** After another machine was named, a missing object does not make this one active. */
  #waitForRole(machine: Machine): void {
    this.#after(machine.instance, this.#options.standbyMs, () => {
      const seen = this.#holder(machine)
      if (seen === 'this' || (seen === 'none' && !machine.sawOther)) this.#act(machine)
      else this.#waitForRole(machine)
    })
  }

  #act(machine: Machine): void {
    this.#startGateway(machine, 'active')
    const ask = () => {
      const yields = this.#holder(machine) === 'other' && !this.#faults.keeps(machine.id)
      if (!yields) this.#after(machine.instance, this.#options.activeMs, ask)
      else {
        this.#stopGateway(machine)
        this.#reach(machine, 'yielded')
        this.#report(machine)
        this.#note(`${machine.id} (${machine.instance.id}) yielded to the other machine`)
        this.#waitForRole(machine)
      }
    }
    this.#after(machine.instance, this.#options.activeMs, ask)
  }

  /** The active machine, if this machine can read it. */
  #holder(machine: Machine): 'this' | 'other' | 'none' | 'unknown' {
    const { access, bucket, id, instance } = machine
    const read = access.get(bucket, activeKey(id))
    if (read.status === 404) return 'none'
    const active = read.status === 200 ? parseActive(read.body.toString()) : null
    if (!active) return 'unknown'
    if (active.instanceId === instance.id) return 'this'
    machine.sawOther = true
    return 'other'
  }

  #startGateway(machine: Machine, stage: 'standby' | 'active'): void {
    const { gateway } = machine
    this.#stopGateway(machine)
    this.#pids += 1
    Object.assign(gateway, { running: stage, pid: this.#pids, since: this.#now() })
    this.#log(machine, 'start', stage)
    this.#reach(machine, stage)
    if (gateway.crashes) {
      gateway.restarts += 1
      this.#fail(machine, stage, 'gateway exited with status 1 (fault host:crash)')
    } else {
      machine.failure = null
      this.#report(machine)
    }
  }

  #stopGateway(machine: Machine): void {
    if (machine.gateway.running === 'no') return
    this.#log(machine, 'stop', machine.gateway.running)
    Object.assign(machine.gateway, { running: 'no', pid: 0, since: null })
  }

  #log({ id, instance }: Machine, event: 'start' | 'stop', stage: 'standby' | 'active'): void {
    this.#world.gateways.push({ at: this.#world.now(), id, instanceId: instance.id, event, acts: stage === 'active' })
  }

  #bundle(machine: Machine): ReturnType<typeof readBundle> {
    const damaged = this.#faults.badBundle(machine.id)
    return damaged
      ? { problem: 'the bundle is damaged (fault host:bad-bundle)', generation: null }
      : readBundle(machine)
  }

  #now(): string {
    return this.#world.now().toISOString()
  }

  #reach(machine: Machine, stage: HostStage): void {
    if (machine.stages.at(-1)?.stage !== stage) machine.stages.push({ stage, at: this.#now() })
  }

  /** Sends a heartbeat immediately if the stage is new. */
  #fail(machine: Machine, stage: HostStage, line: string, note?: string): void {
    const news = machine.failure?.lines[0] !== line
    machine.failure = { stage, unit: UNITS[stage] ?? null, lines: [line], at: this.#now() }
    if (!news) return
    if (note) this.#note(note)
    this.#report(machine)
  }

  #report(machine: Machine): boolean {
    const { instance, id, access, bucket, gateway } = machine
    if (instance.state !== 'running') return false
    if (gateway.crashes && gateway.running !== 'no') {
      this.#pids += 1
      Object.assign(gateway, { pid: this.#pids, restarts: gateway.restarts + 1, since: this.#now() })
    }
    const heartbeat = heartbeatOf(machine, this.#revisionOf(instance), this.#now())
    const refused = access.put(bucket, heartbeatKey(id, instance.id), JSON.stringify(heartbeat))
    if (refused) {
      this.#note(`${id} (${instance.id}) can't send a heartbeat: ${refused}`)
      return false
    }
    return true
  }

  #keepBeating(machine: Machine): void {
    this.#after(machine.instance, this.#options.beatMs, () => {
      this.#report(machine)
      this.#keepBeating(machine)
    })
  }

  #end(instance: Instance, state: 'stopped' | 'terminated'): void {
    this.#clear(instance.id)
    const machine = this.#machines.get(instance.id)
    if (machine) this.#stopGateway(machine)
    this.#after(instance, SHUTDOWN_MS, () => {
      instance.state = state
      instance.publicIp = null
      if (state === 'terminated') instance.privateIp = null
    })
  }

  /** Never keeps the process alive. */
  #after(instance: Instance, ms: number, work: () => void): void {
    const timers = this.#timers.get(instance.id) ?? new Set()
    this.#timers.set(instance.id, timers)
    const timer = setTimeout(() => {
      timers.delete(timer)
      work()
    }, ms).unref()
    timers.add(timer)
  }

  #clear(instanceId: string): void {
    for (const timer of this.#timers.get(instanceId) ?? []) clearTimeout(timer)
    this.#timers.delete(instanceId)
  }

  #revisionOf({ imageId }: Instance): string | null {
    const tags = this.#world.images.get(imageId)?.tags
    return tags?.get('revision') ?? tags?.get('clawdinator:revision') ?? null
  }
}
