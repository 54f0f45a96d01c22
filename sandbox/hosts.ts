import { createHash } from 'node:crypto'
import { heartbeatKey, MANIFEST_NAME } from '../src/lib/domain/bundles/manifest.js'
import { bundleManifestSchema, type Heartbeat, instanceIdSchema } from '../src/lib/domain/contract/index.js'
import { BOOT_LINE } from '../src/lib/domain/images/names.js'
import { parseJson } from '../src/lib/domain/json.js'
import type { Instance, World } from './aws/world.js'
import type { Faults } from './faults.js'

export interface HostsOptions {
  world: World
  faults: Faults
  bucket: string
  /** From launch until the checks pass and the host reads its bundle; it is running after half of it. */
  bootMs?: number
  /** Between two heartbeats of a host. */
  beatMs?: number
  /** Waited for before a booted host sends its first heartbeat: where a fault strikes that needs the host still unseen. */
  beforeUp?: () => Promise<void>
  /** What the hosts do, a sentence each, for the person who watches the sandbox. */
  onNote?: (note: string) => void
}

const SHUTDOWN_MS = 100

/**
 * The machines behind the instances: they boot, check their bundle and send heartbeats, as the NixOS hosts would.
 * Every instance changes its states; only one tagged app=clawdinator and clawdinator:id runs a gateway.
 */
export class Hosts {
  readonly #world: World
  readonly #faults: Faults
  readonly #bucket: string
  readonly #bootMs: number
  readonly #beatMs: number
  readonly #beforeUp: (() => Promise<void>) | undefined
  readonly #note: (note: string) => void
  readonly #timers = new Map<string, Set<NodeJS.Timeout>>()
  #unregister: (() => void)[] = []

  constructor(options: HostsOptions) {
    this.#world = options.world
    this.#faults = options.faults
    this.#bucket = options.bucket
    this.#bootMs = options.bootMs ?? 300
    this.#beatMs = options.beatMs ?? 10_000
    this.#beforeUp = options.beforeUp
    this.#note = options.onNote ?? (() => {})
  }

  /** Follows launches and terminations from now on, and takes up those that are under way. */
  start(): void {
    if (this.#unregister.length > 0) return
    this.#unregister = [
      this.#world.onLaunch((instance) => this.#launched(instance)),
      this.#world.onTerminate((instance) => this.#shutDown(instance)),
    ]
    for (const instance of this.#world.instances.values()) {
      this.#launched(instance)
      if (instance.state === 'shutting-down') this.#shutDown(instance)
    }
  }

  /** Stops every timer: no state changes and no heartbeats afterwards. */
  stop(): void {
    for (const unregister of this.#unregister) unregister()
    this.#unregister = []
    for (const id of [...this.#timers.keys()]) this.#clear(id)
  }

  /** A host that has been running since before the sandbox: it sends heartbeats at once, without boot, bundle or faults. */
  adopt(instanceId: string): void {
    const instance = this.#world.instances.get(instanceId)
    if (instance?.state !== 'running') throw new Error(`${instanceId} is not a running instance`)
    this.#clear(instanceId)
    this.#beatOn(instance, 'active')
  }

  /** Writes one heartbeat now, where the instance is a running host. Says whether it did. */
  beat(instanceId: string, service = 'active'): boolean {
    const instance = this.#world.instances.get(instanceId)
    const id = instance && hostIdOf(instance)
    if (!id || instance.state !== 'running') return false
    const heartbeat: Heartbeat = {
      instanceId: instance.id,
      amiId: instance.imageId,
      revision: revisionOf(this.#world, instance),
      service,
      at: this.#world.now().toISOString(),
    }
    this.#world.putObject(this.#bucket, heartbeatKey(id), JSON.stringify(heartbeat), {
      contentType: 'application/json',
    })
    return true
  }

  #launched(instance: Instance): void {
    if (instance.state !== 'pending') return
    this.#after(instance, this.#bootMs / 2, () => {
      if (instance.state !== 'pending') return
      instance.state = 'running'
      instance.console += '[    0.000000] Linux version 6.12 (nixbld@localhost)\n'
      this.#after(instance, this.#bootMs / 2, () => this.#booted(instance))
    })
  }

  #booted(instance: Instance): void {
    if (instance.state !== 'running') return
    const id = hostIdOf(instance)
    const impaired = this.#faults.machine('impaired', id)
    instance.checks = impaired ? 'impaired' : 'ok'
    if (this.#faults.machine('mute', id)) instance.console = ''
    else if (!impaired) instance.console += `[    4.200000] ${BOOT_LINE}\n`
    if (!id || impaired) return
    const problem = this.#bundleProblem(instance, id)
    const fault = this.#faults.host(id, instance.imageId === this.#world.latestImage()?.id)
    if (problem) {
      this.#note(`${id} (${instance.id}) booted, but ${problem}: its gateway cannot start`)
    } else if (fault === 'crash') {
      this.#note(`${id} (${instance.id}) booted ${instance.imageId} and its gateway failed (fault host:crash)`)
      this.#beatOn(instance, 'failed')
    } else if (fault) {
      this.#note(`${id} (${instance.id}) booted ${instance.imageId} and stays silent (fault host:${fault})`)
    } else {
      void this.#comeUp(instance, id)
    }
  }

  async #comeUp(instance: Instance, id: string): Promise<void> {
    if (this.#beforeUp) await this.#beforeUp()
    this.#note(`${id} (${instance.id}) booted ${instance.imageId} and is up`)
    this.#beatOn(instance, 'active')
  }

  /** What is wrong with the host's bundle, as the end of a sentence, or null. */
  #bundleProblem(instance: Instance, id: string): string | null {
    const prefix = (instance.tags.get('clawdinator:bootstrap-prefix') ?? `bootstrap/${id}`).replace(/\/+$/, '')
    const objects = this.#world.buckets.get(this.#bucket)
    if (!objects) return `there is no bucket ${this.#bucket}`
    const manifest = objects.get(`${prefix}/${MANIFEST_NAME}`)
    if (!manifest) return `there is no ${prefix}/config.json`
    const bundle = bundleManifestSchema.safeParse(parseJson(manifest.body.toString()))
    if (!bundle.success) return `${prefix}/config.json does not describe a bundle`
    for (const { key, size, sha256 } of bundle.data.objects) {
      const body = objects.get(`${prefix}/${key}`)?.body
      if (!body) return `${prefix}/${key} is missing`
      if (body.length !== size) return `${prefix}/${key} has ${body.length} bytes instead of ${size}`
      if (createHash('sha256').update(body).digest('hex') !== sha256) return `${prefix}/${key} has another SHA-256`
    }
    return null
  }

  #beatOn(instance: Instance, service: string): void {
    if (this.beat(instance.id, service)) this.#after(instance, this.#beatMs, () => this.#beatOn(instance, service))
  }

  #shutDown(instance: Instance): void {
    this.#clear(instance.id)
    this.#after(instance, SHUTDOWN_MS, () => {
      instance.state = 'terminated'
      instance.publicIp = null
      instance.privateIp = null
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
}

function revisionOf(world: World, { imageId }: Instance): string | null {
  const tags = world.images.get(imageId)?.tags
  return tags?.get('revision') ?? tags?.get('clawdinator:revision') ?? null
}

function hostIdOf(instance: Instance): string | null {
  if (instance.tags.get('app') !== 'clawdinator') return null
  const id = instanceIdSchema.safeParse(instance.tags.get('clawdinator:id'))
  return id.success ? id.data : null
}
