import type { Heartbeat } from '../../src/lib/domain/contract/index.js'
import { parseActive } from '../../src/lib/domain/deploy/active.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import type { FleetImage } from '../../src/lib/domain/deploy/image.js'
import { ADOPTED_AS, type IdType } from '../../src/lib/domain/deploy/leftovers.js'
import {
  ID_TYPES,
  idAddress,
  instanceAddress,
  parseInstanceAddress,
  type Slot,
  slotKey,
} from '../../src/lib/domain/deploy/slots.js'
import type { StateHead } from '../../src/lib/domain/deploy/stateLock.js'
import { ClawctlError } from '../../src/lib/domain/errors.js'
import type { LaunchParameters, Machines, StackObjects } from '../../src/lib/ops/deploy/ports.js'
import type { Compute, PlanRequest, Tofu } from '../../src/lib/ops/ports.js'
import { type FakeClock, type FakeStore, heartbeatOf, hostOf, imageOf, NEW, OLD } from './fakes.js'

/** How a host turns out that boots an image. `fails-active`: its channels do not connect, though its token is accepted. */
export type Boot = 'healthy' | 'crash' | 'silent' | 'bad-token' | 'fails-active'

/** As on a real host. */
const BOOT_MS = 30_000
const STANDBY_LOOK_MS = 3_000
const ACTIVE_LOOK_MS = 60_000
const BEAT_MS = 60_000
/** From StopInstances to `stopped`. */
const STOP_MS = 20_000

interface Machine {
  host: Host
  boot: Boot
  bootedAt: number
  stage: 'off' | 'standby' | 'active' | 'yielded'
  nextLook: number
  nextBeat: number
  activeSince: number
  restarts: number
  /** When EC2 has stopped it, where it was asked to. */
  stopsAt?: number
}

/** EC2 and OpenTofu over one small account, and the machines behind it, which live by the clock. */
export class FakeCloud implements Compute, Machines, Tofu, StackObjects {
  machines: Machine[] = []
  images: FleetImage[] = [imageOf(OLD), imageOf(NEW)]
  /** What the state has: addresses with EC2's id, or the name. */
  readonly state_ = new Map<string, string>()
  readonly tainted = new Set<string>()
  /** Addresses of what exists in IAM and is not in the state. */
  readonly leftovers = new Set<string>()
  group: string | null = null
  /** The stored state's version, and the one that an apply could not store. */
  stored: StateHead = { version: 4, lineage: 'lineage', serial: 1 }
  unwritten_: string | null = null
  readonly pushed: string[] = []
  /** Throws where the state can't be stored. */
  beforePush: () => void = () => {}
  /** What was asked of OpenTofu and EC2, in order: `plan a`, `apply create a/b`, `stop i-a`. */
  readonly log: string[] = []
  readonly planned: PlanRequest[] = []
  readonly boots = new Map<string, Boot>()
  /** Machines that go on acting, whoever is named. */
  readonly deaf = new Set<string>()
  /** Every start and stop of a gateway that is connected. */
  readonly gateways: { at: number; id: string; instanceId: string; event: 'start' | 'stop' }[] = []
  readonly failed = new Map<string, string>()
  /** Throws where an apply is to fail, before it does anything. */
  beforeApply: (nth: number, request: PlanRequest) => void = () => {}
  /** Where an apply fails after it did what it should. */
  afterApply: (nth: number, request: PlanRequest) => void = () => {}
  onDescribe: () => void = () => {}
  dryRunSays: { denied: boolean; reason: string } | null = null
  consoleText = ''
  /** What a plan says beyond what was asked for. */
  alsoPlanned: unknown[] = []
  readonly launches: LaunchParameters[] = []
  readonly #plans = new Map<string, { request: PlanRequest; changes: Change[] }>()
  readonly #terminated = new Set<string>()
  readonly #store: FakeStore
  readonly #clock: FakeClock
  #launched = 0
  #applied = 0

  constructor(store: FakeStore, clock: FakeClock) {
    this.#store = store
    this.#clock = clock
    clock.ticks.push(() => this.#tick())
  }

  get hosts(): Host[] {
    return this.machines.map(({ host }) => host)
  }

  /** A host that EC2 and the state know, and that serves. */
  add(host: Host): void {
    this.state_.set(instanceAddress(host.id, host.slot ?? 'a'), host.instanceId)
    for (const type of ID_TYPES) this.state_.set(idAddress(type, host.id), host.id)
    this.addUnmanaged(host)
  }

  addUnmanaged(host: Host): void {
    const now = this.#clock.now().getTime()
    const machine: Machine = {
      host,
      boot: 'healthy',
      bootedAt: now - 86_400_000,
      stage: 'off',
      nextLook: now,
      nextBeat: now,
      activeSince: now - 86_400_000,
      restarts: 0,
    }
    this.machines.push(machine)
    if (host.state === 'running') this.#start(machine, 'active')
    machine.activeSince = now - 86_400_000
    this.#beat(machine)
  }

  async describeHosts() {
    this.onDescribe()
    return this.hosts.map((host) => ({ ...host }))
  }

  async findImage(id: string) {
    return this.images.find((image) => image.id === id) ?? null
  }

  async fleetImages() {
    return this.images
  }

  async describeHost(instanceId: string) {
    if (this.#terminated.has(instanceId)) return 'terminated' as const
    return this.hosts.find((host) => host.instanceId === instanceId) ?? null
  }

  async stop(instanceId: string) {
    this.log.push(`stop ${instanceId}`)
    const machine = this.#machine(instanceId)
    machine.host.state = 'stopping'
    // Until then it may still act.
    machine.stopsAt = this.#clock.now().getTime() + STOP_MS
  }

  async start(instanceId: string) {
    this.log.push(`start ${instanceId}`)
    const machine = this.#machine(instanceId)
    if (machine.host.state === 'running') return
    if (machine.host.state !== 'stopped') throw new Error(`IncorrectInstanceState: ${machine.host.state}`)
    machine.host.state = 'running'
    machine.stage = 'off'
    machine.bootedAt = this.#clock.now().getTime() + BOOT_MS
  }

  async terminate(instanceId: string) {
    this.log.push(`terminate ${instanceId}`)
    this.lose(instanceId)
  }

  async console() {
    return this.consoleText
  }

  async dryRun(parameters: LaunchParameters) {
    this.launches.push(parameters)
    return this.dryRunSays
  }

  async markFailed(ami: string, requestId: string) {
    this.failed.set(ami, requestId)
  }

  async init() {
    this.log.push('init')
  }

  async state() {
    return [...this.state_].map(([address, id]) => {
      const machine = parseInstanceAddress(address)
      return {
        address,
        id,
        ...(machine ? { tags: { 'clawdinator:bootstrap-prefix': `bootstrap/${machine.id}` } } : {}),
        ...(this.tainted.has(address) ? { tainted: true } : {}),
      }
    })
  }

  async ofId(id: string, types: readonly IdType[]) {
    this.log.push(`look for ${id}`)
    return types.filter((type) => this.leftovers.has(idAddress(type, id)))
  }

  async securityGroup() {
    return this.group
  }

  async head() {
    return this.stored
  }

  async push(state: string) {
    this.beforePush()
    this.pushed.push(state)
    this.stored = JSON.parse(state)
  }

  async unwritten() {
    return this.unwritten_ === null ? null : { file: '/stack/errored.tfstate', text: this.unwritten_ }
  }

  async dropUnwritten() {
    this.unwritten_ = null
  }

  async untaint(address: string) {
    this.log.push(`untaint ${address}`)
    this.tainted.delete(address)
  }

  async plan(request: PlanRequest): Promise<unknown> {
    const wanted = new Set(
      request.instances.flatMap((id) => [
        ...ID_TYPES.map((type) => idAddress(type, id)),
        ...(request.slots[id] ?? (['a'] as Slot[])).map((slot) => instanceAddress(id, slot)),
      ]),
    )
    const adopted = new Map([
      ...Object.entries(request.adopt.instances).map(
        ([key, id]) => [`aws_instance.clawdinator["${key}"]`, id] as const,
      ),
      ...ID_TYPES.flatMap((type) =>
        Object.entries(request.adopt[ADOPTED_AS[type]]).map(([id, name]) => [idAddress(type, id), name] as const),
      ),
    ])
    const present = [...this.state_].filter(([address, id]) => {
      const machine = parseInstanceAddress(address)
      return !machine || this.hosts.some((host) => host.instanceId === id)
    })
    const known = new Set([...present.map(([address]) => address), ...adopted.keys()])
    const changes = [...new Set([...known, ...wanted])].sort().map((address): Change => {
      const actions = !known.has(address)
        ? ['create']
        : !wanted.has(address)
          ? ['delete']
          : address === request.replace || this.tainted.has(address)
            ? ['delete', 'create']
            : ['no-op']
      return changeOf(address, actions, request, adopted.get(address))
    })
    this.log.push(`plan ${changes.filter(isChange).map(words).join(' ')}`)
    this.planned.push(request)
    this.#plans.set(request.file, { request, changes })
    return {
      format_version: '1.2',
      variables: { bucket: { value: 'bucket' } },
      resource_changes: [...changes, ...this.alsoPlanned],
    }
  }

  async apply(file: string): Promise<void> {
    const plan = this.#plans.get(file)
    if (!plan) throw new Error(`no plan was saved in ${file}`)
    this.log.push(`apply ${plan.changes.filter(isChange).map(words).join(' ')}`)
    this.#applied += 1
    this.beforeApply(this.#applied, plan.request)
    for (const { address, change } of plan.changes) {
      const machine = parseInstanceAddress(address)
      if (change.importing) {
        this.state_.set(address, change.importing.id)
        this.leftovers.delete(address)
      }
      if (change.actions.includes('delete')) {
        if (machine) this.lose(this.state_.get(address) ?? '')
        this.state_.delete(address)
        this.tainted.delete(address)
      }
      if (!change.actions.includes('create')) continue
      if (this.leftovers.has(address)) throw new ClawctlError('APPLY_FAILED', `EntityAlreadyExists: ${address}`)
      this.state_.set(address, machine ? this.launch(machine.id, machine.slot, plan.request) : 'name')
    }
    // A refresh forgets what EC2 does not have any more.
    for (const [address, id] of this.state_) {
      if (parseInstanceAddress(address) && !this.hosts.some((host) => host.instanceId === id))
        this.state_.delete(address)
    }
    this.afterApply(this.#applied, plan.request)
  }

  /** Terminated, by whomever: the state goes on knowing it. */
  lose(instanceId: string): void {
    const machine = this.machines.find(({ host }) => host.instanceId === instanceId)
    if (!machine) return
    this.#halt(machine)
    this.machines = this.machines.filter((one) => one !== machine)
    this.#terminated.add(instanceId)
  }

  launch(id: string, slot: Slot, { ami, requestId }: Pick<PlanRequest, 'ami' | 'requestId'>): string {
    this.#launched += 1
    const now = this.#clock.now().getTime()
    const instanceId = `i-new-${this.#launched}`
    const host = hostOf(id, { instanceId, ami, slot, requestId, launchedAt: new Date(now).toISOString() })
    const bootedAt = now + BOOT_MS
    const boot = this.boots.get(ami) ?? 'healthy'
    this.machines.push({
      host,
      boot,
      bootedAt,
      stage: 'off',
      nextLook: bootedAt,
      nextBeat: bootedAt,
      activeSince: 0,
      restarts: 0,
    })
    return instanceId
  }

  /** Instance ids whose gateway is connected now, by id. */
  connected(id: string): string[] {
    return this.machines
      .filter(({ host, stage }) => host.id === id && stage === 'active')
      .map(({ host }) => host.instanceId)
  }

  #machine(instanceId: string): Machine {
    const machine = this.machines.find(({ host }) => host.instanceId === instanceId)
    if (!machine) throw new Error(`EC2 has no ${instanceId}`)
    return machine
  }

  #tick(): void {
    const now = this.#clock.now().getTime()
    for (const machine of this.machines) {
      if (machine.host.state === 'stopping' && now >= (machine.stopsAt ?? 0)) {
        this.#halt(machine)
        machine.stage = 'off'
        machine.host.state = 'stopped'
      }
      if (machine.host.state !== 'running' || now < machine.bootedAt || machine.boot === 'silent') continue
      if (machine.stage === 'off') this.#lookWho(machine, now)
      else if (now >= machine.nextLook) this.#lookWho(machine, now)
      if (machine.boot === 'crash') machine.restarts += 1
      if (now >= machine.nextBeat || machine.boot === 'crash') this.#beat(machine)
    }
  }

  #lookWho(machine: Machine, now: number): void {
    const { id, instanceId } = machine.host
    const object = this.#store.objects.get(`active/${id}.json`)
    const active = object ? parseActive(object.text) : null
    const mayAct = active === null || active.instanceId === instanceId
    if (mayAct && machine.stage !== 'active') this.#start(machine, 'active')
    else if (!mayAct && machine.stage === 'active') {
      if (this.deaf.has(instanceId)) return
      this.#halt(machine)
      machine.stage = 'yielded'
      this.#beat(machine)
    } else if (machine.stage === 'off') this.#start(machine, 'standby')
    machine.nextLook = now + (machine.stage === 'active' ? ACTIVE_LOOK_MS : STANDBY_LOOK_MS)
  }

  #start(machine: Machine, stage: 'standby' | 'active'): void {
    machine.stage = stage
    machine.activeSince = this.#clock.now().getTime()
    const { id, instanceId } = machine.host
    if (stage === 'active') this.gateways.push({ at: machine.activeSince, id, instanceId, event: 'start' })
    this.#beat(machine)
  }

  #halt(machine: Machine): void {
    if (machine.stage !== 'active') return
    const { id, instanceId } = machine.host
    this.gateways.push({ at: this.#clock.now().getTime(), id, instanceId, event: 'stop' })
    machine.stage = 'off'
  }

  #beat(machine: Machine): void {
    const { host, boot, stage, restarts, activeSince } = machine
    if (boot === 'silent' || stage === 'off') return
    const now = this.#clock.now().getTime()
    machine.nextBeat = now + BEAT_MS
    const connected = boot === 'bad-token' ? false : !(boot === 'fails-active' && stage === 'active')
    const gateway: Heartbeat['gateway'] = {
      state: stage === 'yielded' ? 'inactive' : 'active',
      mainPid: 700 + restarts,
      restarts,
      activeSince: new Date(boot === 'crash' ? now : activeSince).toISOString(),
      channels: [{ name: 'discord', connected, reason: connected ? null : 'Unauthorized' }],
      plugins: [],
      probedAt: new Date(now).toISOString(),
    }
    const beat = heartbeatOf(host, { stage, at: new Date(now).toISOString(), gateway })
    this.#store.set(`heartbeats/${host.id}/${host.instanceId}.json`, beat)
  }
}

interface Change {
  address: string
  mode: 'managed'
  type: string
  index: string
  change: { actions: string[]; before: object | null; after: object | null; importing?: { id: string } }
}

const isChange = ({ change }: Change) => change.actions[0] !== 'no-op' || change.importing !== undefined
const words = ({ type, index, change }: Change) => {
  const verb = change.importing ? 'import' : change.actions.length > 1 ? 'replace' : change.actions[0]
  return type === 'aws_instance' ? `${verb} ${index}` : `${verb} ${type.replace('aws_iam_', '')}:${index}`
}

function changeOf(address: string, actions: string[], request: PlanRequest, imported: string | undefined): Change {
  const [, type = '', index = ''] = /^(\w+)\.clawdinator\["(.+)"\]$/.exec(address) ?? []
  const machine = parseInstanceAddress(address)
  const object = machine ? machineOf(machine, request) : iamOf(type, index)
  const after = actions.includes('create') || actions[0] === 'no-op' ? object : null
  const before = actions.includes('create') && actions.length === 1 ? null : object
  const importing = imported === undefined ? {} : { importing: { id: imported } }
  return { address, mode: 'managed', type, index, change: { actions, before, after, ...importing } }
}

function machineOf({ id, slot }: { id: string; slot: Slot }, { ami, requestId }: PlanRequest) {
  return {
    ami,
    instance_type: 't3.large',
    subnet_id: 'subnet-1',
    iam_instance_profile: id,
    user_data: `#!/bin/sh\n# ${slotKey(id, slot)}`,
    root_block_device: [{ volume_size: 60 }],
    vpc_security_group_ids: ['sg-1'],
    tags: {
      app: 'clawdinator',
      'clawdinator:id': id,
      'clawdinator:slot': slot,
      'clawdinator:request-id': requestId ?? '',
    },
  }
}

function iamOf(type: string, id: string) {
  const allow = (Action: unknown, Resource: unknown) => ({ Effect: 'Allow', Action, Resource })
  const read = [`arn:aws:s3:::bucket/bootstrap/${id}/*`, `arn:aws:s3:::bucket/active/${id}.json`]
  const own = [allow('s3:GetObject', read), allow('s3:PutObject', `arn:aws:s3:::bucket/heartbeats/${id}/*`)]
  if (type === 'aws_iam_role_policy') return { name: 'own', policy: JSON.stringify({ Statement: own }) }
  const ec2 = { Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } }
  return { name: id, assume_role_policy: JSON.stringify({ Statement: [ec2] }) }
}
