import { createHash } from 'node:crypto'
import { needsOf } from '../../src/lib/domain/bundles/assemble.js'
import type {
  BundleManifest,
  DeployDetail,
  DeployRecord,
  Freeze,
  Heartbeat,
  Image,
} from '../../src/lib/domain/contract/index.js'
import { type Expectation, expectPlan, NO_ADOPTION } from '../../src/lib/domain/deploy/expectation.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import type { FleetImage } from '../../src/lib/domain/deploy/image.js'
import type { Job, Run } from '../../src/lib/domain/deploy/run.js'
import type { Change } from '../../src/lib/domain/deploy/slots.js'
import type { StateLock } from '../../src/lib/domain/deploy/stateLock.js'
import { ClawctlError } from '../../src/lib/domain/errors.js'
import type { Registry, RegistryEntry } from '../../src/lib/domain/registry/registry.js'
import type { BundleReader } from '../../src/lib/ops/bundles/ports.js'
import type { StateLocks } from '../../src/lib/ops/deploy/ports.js'
import type {
  Clock,
  ItemProgress,
  JobReport,
  ListOptions,
  ObjectStore,
  Progress,
  RegistrySource,
  Runs,
  Shown,
} from '../../src/lib/ops/ports.js'

export const START = '2026-03-01T12:00:00.000Z'
export const OLD: Image = {
  id: 'ami-00000000000000001',
  name: 'clawdinator-old',
  createdAt: '2026-02-01T00:00:00.000Z',
}
export const NEW: Image = {
  id: 'ami-00000000000000002',
  name: 'clawdinator-new',
  createdAt: '2026-02-20T00:00:00.000Z',
}
export const REQUEST_ID = 'request-0001'

export const imageOf = (image: Image, change: Partial<FleetImage> = {}): FleetImage => ({
  ...image,
  available: true,
  trusted: true,
  architecture: 'x86_64',
  rootGib: 8,
  rootDevice: '/dev/xvda',
  ready: 'true',
  failedIn: null,
  ...change,
})

export function entryOf(id: string, change: Partial<RegistryEntry> = {}): RegistryEntry {
  return {
    id,
    host: id,
    instanceType: 't3.large',
    bootstrapPrefix: `bootstrap/${id}`,
    discordTokenSecret: `${id}-token`,
    ...change,
  }
}

export const registryOf = (...ids: string[]): Registry => ids.map((id) => entryOf(id))

export function registryText(registry: Registry): string {
  return JSON.stringify(Object.fromEntries(registry.map(({ id, ...fields }) => [id, fields])), null, 2)
}

export function hostOf(id: string, change: Partial<Host> = {}): Host {
  return {
    id,
    instanceId: `i-${id}`,
    state: 'running',
    ami: OLD.id,
    instanceType: 't3.large',
    publicIp: '198.51.100.7',
    launchedAt: '2026-02-02T00:00:00.000Z',
    checks: 'ok',
    slot: 'a',
    requestId: null,
    bootstrapPrefix: null,
    ...change,
  }
}

export function heartbeatOf(host: Host, change: Partial<Heartbeat> = {}): Heartbeat {
  const { id, instanceId, ami: amiId } = host
  const gateway = {
    state: 'active',
    mainPid: 700,
    restarts: 0,
    activeSince: '2026-02-02T00:10:00.000Z',
    channels: [{ name: 'discord', connected: true, reason: null }],
    plugins: [],
    probedAt: START,
  }
  return {
    ...{ schema: 2, id, instanceId, amiId, at: START, requestId: null, revision: 'abc1234', imageRevision: 'abc1234' },
    ...{ stage: 'active', stageSince: START, stages: [], failure: null, gateway, bundle: null, selfUpdate: null },
    ...change,
  }
}

export function manifestOf(entry: RegistryEntry, objects: BundleManifest['objects']): BundleManifest {
  const { id, host, instanceType, bootstrapPrefix, discordTokenSecret } = entry
  return {
    schema: 2,
    generation: 1,
    instance: { id, host, instanceType, bootstrapPrefix, discordTokenSecret },
    revision: null,
    createdBy: 'test',
    createdAt: START,
    objects,
  }
}

/** Text in the form of an age file; another for every name. */
export const ageText = (name: string) =>
  `age-encryption.org/v1\n-> X25519 ${'a'.repeat(43)}\n${'b'.repeat(43)}\n--- ${'c'.repeat(43)}\n${name.padEnd(64, '.')}`

/** What an instance needs, as objects of a bundle with their texts. */
export function bundleOf(entry: RegistryEntry): { manifest: BundleManifest; texts: Map<string, string> } {
  const texts = new Map<string, string>()
  const shape = (name: string, file: string, text: string) => {
    texts.set(file, text)
    return { name, file, key: file, size: text.length, sha256: createHash('sha256').update(text).digest('hex') }
  }
  const openedBy = createHash('sha256').update(entry.id).digest('hex').slice(0, 16)
  const secrets = needsOf(entry, new Set()).map(({ name }) => ({
    kind: 'secret' as const,
    openedBy,
    ...shape(name, `secrets/${name}.age`, ageText(name)),
  }))
  const repo = shape('clawdinators', 'repos/clawdinators.tar.gz', 'an archive')
  const origin = { url: null, branch: 'main', commit: '0'.repeat(40) }
  const identity = shape('age-identity', 'secrets/age-identity.key', `the identity of ${entry.id}`)
  const objects: BundleManifest['objects'] = [
    ...secrets,
    { kind: 'identity', fingerprints: [openedBy], ...identity },
    { kind: 'repo', ...repo, ...origin },
  ]
  return { manifest: manifestOf(entry, objects), texts }
}

export function runOf(id: number, change: Partial<Run> = {}): Run {
  return {
    id,
    url: `https://github.example/runs/${id}`,
    title: `fleet deploy clawdinator-1 [request-${id}]`,
    status: 'queued',
    conclusion: null,
    createdAt: `2026-03-01T12:00:${String(id).padStart(2, '0')}Z`,
    startedAt: null,
    updatedAt: '2026-03-01T12:30:00Z',
    ...change,
  }
}

export function recordOf(change: Partial<DeployRecord> = {}): DeployRecord {
  return {
    schema: 1,
    requestId: REQUEST_ID,
    target: 'clawdinator-1',
    ami: NEW.id,
    amiOverride: null,
    caller: null,
    requestedBy: null,
    status: 'running',
    runId: null,
    runUrl: null,
    createdAt: START,
    finishedAt: null,
    hosts: [],
    error: null,
    ...change,
  }
}

export function freezeOf(target: string, change: Partial<Freeze> = {}): Freeze {
  return {
    ...{ target, reason: 'Discord is down', caller: null, requestedBy: 'Ada', identity: 'person verified' },
    ...{ at: START, until: null },
    ...change,
  }
}

export function detailOf(change: Partial<DeployDetail> = {}): DeployDetail {
  const { schema: _, ...deploy } = recordOf()
  return { ...deploy, waitsFor: null, queuePosition: null, startedAt: START, durationMs: null, steps: [], ...change }
}

export const upstream = () => new ClawctlError('UPSTREAM', 'The service does not answer.')

/** The ClawctlError that the call throws synchronously, for properties that can't wait; anything else fails the test. */
export function thrown(call: () => unknown): ClawctlError {
  let error: unknown = new Error('expected a throw')
  try {
    call()
  } catch (caught) {
    error = caught
  }
  if (error instanceof ClawctlError) return error
  throw error
}

/** Time passes only by sleeping. */
export class FakeClock implements Clock {
  readonly sleeps: number[] = []
  /** What lives by the time. */
  readonly ticks: (() => void)[] = []
  onSleep: (slept: number) => void = () => {}
  #time = Date.parse(START)

  now = () => new Date(this.#time)

  async sleep(ms: number): Promise<void> {
    this.sleeps.push(ms)
    await this.pass(ms)
    this.onSleep(this.sleeps.length)
  }

  /** Time passes, whatever is made of it. */
  async pass(ms: number): Promise<void> {
    this.#time += Math.floor(ms)
    for (const tick of this.ticks) tick()
  }

  get elapsed(): number {
    return this.#time - Date.parse(START)
  }
}

export class FakeStore implements ObjectStore, BundleReader {
  readonly objects = new Map<string, { text: string; modifiedAt: Date; etag: string }>()
  #etags = 0
  #lostAnswers = 0
  readonly puts: { key: string; text: string }[] = []
  /** Throws where a write is to fail. */
  beforePut: (key: string, nth: number) => void = () => {}

  set(key: string, value: unknown, modifiedAt = new Date(START)): void {
    this.#etags += 1
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    this.objects.set(key, { text, modifiedAt, etag: `"${this.#etags}"` })
  }

  async get(key: string) {
    const object = this.objects.get(key)
    return object ? { text: object.text, etag: object.etag } : null
  }

  async put(key: string, text: string): Promise<void> {
    this.puts.push({ key, text })
    this.beforePut(key, this.puts.length)
    this.set(key, text)
  }

  async putIf(key: string, text: string, etag: string | null): Promise<boolean> {
    if ((this.objects.get(key)?.etag ?? null) !== etag) return false
    await this.put(key, text)
    return this.#lostAnswers-- <= 0
  }

  /** The next conditional write arrives, but its answer is lost: the retry is refused by the object that it wrote. */
  loseAnswer(): void {
    this.#lostAnswers = 1
  }

  async delete(key: string): Promise<void> {
    this.objects.delete(key)
  }

  async head(key: string) {
    const read = await this.read(key)
    return read && { size: read.size, sha256: read.sha256, encryption: read.encryption }
  }

  async read(key: string) {
    const object = this.objects.get(key)
    if (!object) return null
    const bytes = Buffer.from(object.text)
    return {
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      encryption: 'aws:kms',
      bytes,
    }
  }

  async list(prefix: string, { atMost, flat, after = '' }: ListOptions = {}) {
    return [...this.objects]
      .filter(([key]) => key.startsWith(prefix) && key > after && !(flat && key.slice(prefix.length).includes('/')))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, atMost)
      .map(([key, { text, modifiedAt }]) => ({ key, size: text.length, modifiedAt }))
  }
}

export class FakeProgress implements Progress {
  readonly notes: string[] = []
  readonly said: string[] = []

  /** `item: step` as each begins, and `item: failure` as an item ends. */
  readonly steps: string[] = []

  async task<T>(_title: string, work: Shown<T>): Promise<T> {
    return work((text) => void this.said.push(text))
  }

  list<T>(_items: readonly string[], work: (list: ItemProgress) => Promise<T>): Promise<T> {
    return work({
      step: (item, name, step) => {
        this.steps.push(`${item}: ${name}`)
        return this.task(name, step)
      },
      end: (item, failure) => void (failure !== undefined && this.steps.push(`${item}: ${failure}`)),
    })
  }

  note(text: string): void {
    this.notes.push(text)
  }
}

export class FakeReport implements JobReport {
  readonly summaries: string[] = []
  readonly outputs: Record<string, string> = {}

  async summary(markdown: string): Promise<void> {
    this.summaries.push(markdown)
  }

  async output(name: string, value: string): Promise<void> {
    this.outputs[name] = value
  }
}

export class FakeRuns implements Runs {
  runs: Run[] = []
  readonly dispatched: Parameters<Runs['dispatch']>[0][] = []
  readonly jobsOf = new Map<number, Job[]>()
  onDispatch: Runs['dispatch'] = async () => ({ id: 900, url: 'https://github.example/runs/900' })

  async dispatch(request: Parameters<Runs['dispatch']>[0]) {
    this.dispatched.push(request)
    return this.onDispatch(request)
  }

  async list(limit: number, before?: Date) {
    return this.runs.filter(({ createdAt }) => !before || Date.parse(createdAt) <= before.getTime()).slice(0, limit)
  }

  async find(runId: number) {
    return this.runs.find(({ id }) => id === runId) ?? null
  }

  async jobs(runId: number) {
    return this.jobsOf.get(runId) ?? []
  }

  readonly cancelled: number[] = []

  async cancel(runId: number) {
    this.cancelled.push(runId)
  }
}

/** Of one place; `mine` is what this process holds. */
export class FakeLocks implements StateLocks {
  run = ''
  standing: StateLock | null = null
  readonly log: string[] = []
  readonly mine = lockOf({ ID: 'mine' })

  async held() {
    return this.standing ? [this.standing] : []
  }

  async take() {
    if (this.standing) return this.standing
    this.log.push('take')
    this.standing = this.mine
    return null
  }

  async release(id = this.mine.ID) {
    if (this.standing?.ID !== id) return
    this.log.push(`release ${id}`)
    this.standing = null
  }

  async hasStaleDigest() {
    return false
  }

  async dropStaleDigest() {
    return false
  }
}

export const lockOf = (change: Partial<StateLock> = {}): StateLock => ({
  ...{ ID: 'lock-1', Operation: 'clawctl', Who: 'runner@fv-az1', Version: '', Created: START, Path: 'bucket/key' },
  ...{ Info: 'https://github.example/o/r/actions/runs/55/attempts/1' },
  ...change,
})

export const registrySource = (registry: Registry): RegistrySource => ({
  read: async () => ({ text: registryText(registry), origin: 'nix/instances.json' }),
})

/** What a plan for this change of one id may do in a state that has nothing yet. */
export function expected(change: Exclude<Change, { kind: 'none' }>, prefix = `bootstrap/${change.id}`): Expectation {
  const { id } = change
  const nothing = { state: new Map(), gone: new Set<string>(), adopt: NO_ADOPTION }
  return expectPlan({ change, scope: [id], ...nothing, prefixes: { [id]: prefix } })
}

/** The rest of a plan's input, where it does not matter. */
export const NO_MORE = { slots: {}, requestId: null, adopt: NO_ADOPTION }

/** What tests of a dispatch request, who requests it, and the title of its run. */
export const DISPATCHED = { target: 'a', requestId: 'request-0001', caller: 'b', requestedBy: 'Ada' }
export const DISPATCHED_BY = 'host claimed, person claimed' as const
export const DISPATCHED_TITLE = `fleet deploy a [request-0001] (${DISPATCHED_BY}) via b by Ada`
