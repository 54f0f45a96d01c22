import type { Image } from '../../src/lib/domain/contract/index.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import { instanceAddress } from '../../src/lib/domain/deploy/planGuard.js'
import type { Registry } from '../../src/lib/domain/registry/registry.js'
import type { Compute, PlanRequest, Tofu } from '../../src/lib/ops/ports.js'
import {
  bundleOf,
  FakeClock,
  FakeProgress,
  FakeReport,
  FakeStore,
  heartbeatOf,
  hostOf,
  NEW,
  OLD,
  registrySource,
} from './fakes.js'

/** How a host turns out that boots an image. */
export type Boot = 'healthy' | 'gateway-failed' | 'silent'

/** EC2 and OpenTofu over one small account: hosts that boot at once, images, and a state that plans are made from. */
export class FakeCloud implements Compute, Tofu {
  hosts: Host[] = []
  images: (Image & { available: boolean; tagged: boolean })[] = []
  readonly managed = new Set<string>()
  /** What was asked of OpenTofu, in order: `plan a ami-…`, `apply a ami-…`. */
  readonly log: string[] = []
  readonly planned: PlanRequest[] = []
  readonly boots = new Map<string, Boot>()
  /** Throws where an apply is to fail, before it does anything. */
  beforeApply: (nth: number, request: PlanRequest) => void = () => {}
  onDescribe: () => void = () => {}
  /** What a plan says beyond what was asked for. */
  alsoPlanned: unknown[] = []
  readonly #plans = new Map<string, { request: PlanRequest; changes: ReturnType<typeof changeOf>[] }>()
  readonly #store: FakeStore
  readonly #clock: FakeClock
  #launched = 0
  #applied = 0

  constructor(store: FakeStore, clock: FakeClock) {
    this.#store = store
    this.#clock = clock
    this.images = [OLD, NEW].map((image) => ({ ...image, available: true, tagged: true }))
  }

  /** A host that EC2 and the state know. */
  add(host: Host): void {
    this.hosts.push(host)
    this.managed.add(host.id)
  }

  async describeHosts() {
    this.onDescribe()
    return [...this.hosts]
  }

  async describeHost(instanceId: string) {
    return this.hosts.find((host) => host.instanceId === instanceId) ?? null
  }

  async findImage(id: string) {
    return this.images.find((image) => image.id === id) ?? null
  }

  async latestImage() {
    return this.images.filter((image) => image.available && image.tagged).at(-1) ?? null
  }

  async init() {
    this.log.push('init')
  }

  async state() {
    return [...this.managed].map((id) => ({
      address: instanceAddress(id),
      id: this.hosts.find((host) => host.id === id && host.state !== 'shutting-down')?.instanceId ?? null,
      tags: { 'clawdinator:bootstrap-prefix': `bootstrap/${id}` },
    }))
  }

  async plan(request: PlanRequest): Promise<unknown> {
    const ids = [...new Set([...this.managed, ...request.instances])].sort()
    const changes = ids.map((id) => {
      if (!this.managed.has(id)) return changeOf(id, ['create'])
      if (!request.instances.includes(id)) return changeOf(id, ['delete'])
      return changeOf(id, instanceAddress(id) === request.replace ? ['delete', 'create'] : ['no-op'])
    })
    this.log.push(`plan ${request.file.split('/').at(-1)} ${request.ami}`)
    this.planned.push(request)
    this.#plans.set(request.file, { request, changes })
    return { format_version: '1.2', resource_changes: [...changes, ...this.alsoPlanned] }
  }

  async apply(file: string): Promise<void> {
    const plan = this.#plans.get(file)
    if (!plan) throw new Error(`no plan was saved in ${file}`)
    this.log.push(`apply ${file.split('/').at(-1)} ${plan.request.ami}`)
    this.#applied += 1
    this.beforeApply(this.#applied, plan.request)
    for (const { index, change } of plan.changes) {
      if (change.actions.includes('delete')) this.terminate(index)
      if (change.actions.includes('create')) this.launch(index, plan.request.ami)
    }
  }

  terminate(id: string): void {
    this.hosts = this.hosts.filter((host) => host.id !== id)
    this.managed.delete(id)
  }

  launch(id: string, ami: string): void {
    this.#launched += 1
    const launchedAt = this.#clock.now().toISOString()
    const host = hostOf(id, { instanceId: `i-new-${this.#launched}`, ami, launchedAt })
    this.add(host)
    const boot = this.boots.get(ami) ?? 'healthy'
    if (boot === 'silent') return
    const service = boot === 'healthy' ? 'active' : 'failed'
    this.#store.set(`heartbeats/${id}.json`, heartbeatOf(host, { service, at: launchedAt }))
  }
}

function changeOf(id: string, actions: string[]) {
  return { address: instanceAddress(id), mode: 'managed', type: 'aws_instance', index: id, change: { actions } }
}

/** A whole direct plane in memory: the hosts named exist on the old image, every registry entry has its bundle. */
export function fakeDirectPlane(registry: Registry, existing: readonly string[]) {
  const clock = new FakeClock()
  const store = new FakeStore()
  const cloud = new FakeCloud(store, clock)
  const progress = new FakeProgress()
  const report = new FakeReport()
  for (const id of existing) cloud.add(hostOf(id))
  for (const entry of registry) {
    const { manifest, texts } = bundleOf(entry)
    store.set(`${entry.bootstrapPrefix}/config.json`, manifest)
    for (const [key, text] of texts) store.set(`${entry.bootstrapPrefix}/${key}`, text)
  }
  const ports = {
    registry: registrySource(registry),
    compute: cloud,
    store,
    bundles: store,
    tofu: cloud,
    clock,
    progress,
    report,
    run: { id: 77, url: 'https://github.example/runs/77' },
    planFile: (id: string) => `/plans/${id}`,
  }
  return { clock, store, cloud, progress, report, ports }
}
