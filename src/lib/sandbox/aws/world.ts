import { createHash, randomBytes } from 'node:crypto'
import type { ChecksumName } from './checksums.js'
import { AwsError } from './error.js'

export type Tags = Map<string, string>

export interface WorldImage {
  id: string
  name: string
  createdAt: Date
  state: 'available' | 'pending'
  architecture: 'x86_64' | 'arm64'
  snapshotId: string
  tags: Tags
}

export const INSTANCE_STATES = ['pending', 'running', 'shutting-down', 'terminated', 'stopping', 'stopped'] as const
export type InstanceState = (typeof INSTANCE_STATES)[number]

export interface Instance {
  id: string
  /** Instances of one RunInstances call share it. */
  reservationId: string
  imageId: string
  instanceType: string
  launchTime: Date
  state: InstanceState
  checks: 'initializing' | 'ok' | 'impaired'
  tags: Tags
  publicIp: string | null
  privateIp: string | null
  /** Base64, as it was given. */
  userData: string | null
  clientToken: string | null
}

export interface StoredObject {
  body: Buffer
  /** With its quotes, as the header carries it. */
  etag: string
  lastModified: Date
  contentType: string
  metadata: Map<string, string>
  sse: { algorithm: string; kmsKeyId: string | null }
  checksums: Map<ChecksumName, string>
}

export interface WorldOptions {
  region?: string
  /** Bytes for ids; a test passes its own to get the same ids again. */
  random?: (bytes: number) => Buffer
  now?: () => Date
}

export interface NewImage {
  id?: string
  name: string
  createdAt?: Date
  state?: WorldImage['state']
  architecture?: WorldImage['architecture']
  snapshotId?: string
  tags?: Iterable<[string, string]>
}

export interface Launch {
  imageId: string
  instanceType: string
  tags?: Iterable<[string, string]>
  userData?: string | null
  reservationId?: string
  clientToken?: string | null
  /** Anything but pending is an instance that existed before the sandbox started: nothing boots it. */
  state?: InstanceState
  launchTime?: Date
}

export interface PutOptions {
  contentType?: string
  metadata?: Iterable<[string, string]>
  sse?: StoredObject['sse']
  checksums?: Iterable<[ChecksumName, string]>
  /** The object must not exist yet. */
  ifNoneMatch?: '*'
  /** The object must have this entity tag. */
  ifMatch?: string
}

export type InstanceListener = (instance: Instance) => void

/** The sandbox's AWS account in one region, in memory. Refuses with AwsError, in AWS's codes. */
export class World {
  readonly region: string
  readonly accountId = '000000000000'
  readonly images = new Map<string, WorldImage>()
  /** In launch order: nothing is ever removed, so a page of a listing can resume behind any instance. */
  readonly instances = new Map<string, Instance>()
  readonly buckets = new Map<string, Map<string, StoredObject>>()
  /** What RunInstances did under which client token: the same request again starts nothing. */
  readonly launches = new Map<string, { digest: string; reservationId: string }>()
  readonly #random: (bytes: number) => Buffer
  readonly #now: () => Date
  readonly #launched = new Set<InstanceListener>()
  readonly #terminating = new Set<InstanceListener>()

  constructor(options: WorldOptions = {}) {
    this.region = options.region ?? 'eu-central-1'
    this.#random = options.random ?? randomBytes
    this.#now = options.now ?? (() => new Date())
  }

  now(): Date {
    return this.#now()
  }

  /** `prefix-` and 17 hex digits, as EC2 names things. */
  newId(prefix: string): string {
    return `${prefix}-${this.#random(9).toString('hex').slice(0, 17)}`
  }

  addImage(image: NewImage): WorldImage {
    const added: WorldImage = {
      id: image.id ?? this.newId('ami'),
      name: image.name,
      createdAt: image.createdAt ?? this.now(),
      state: image.state ?? 'available',
      architecture: image.architecture ?? 'x86_64',
      snapshotId: image.snapshotId ?? this.newId('snap'),
      tags: new Map(image.tags),
    }
    this.images.set(added.id, added)
    return added
  }

  /** The newest available image tagged clawdinator=true; of two made at once the one with the higher id. */
  latestImage(): WorldImage | null {
    let latest: WorldImage | null = null
    for (const image of this.images.values()) {
      if (image.state !== 'available' || image.tags.get('clawdinator') !== 'true') continue
      const newer = latest === null ? 1 : image.createdAt.getTime() - latest.createdAt.getTime()
      if (latest === null || newer > 0 || (newer === 0 && image.id > latest.id)) latest = image
    }
    return latest
  }

  /** @throws AwsError InvalidAMIID.NotFound, InvalidAMIID.Unavailable */
  launch(launch: Launch): Instance {
    const image = this.images.get(launch.imageId)
    if (!image) throw new AwsError('InvalidAMIID.NotFound', 400, `The image id '[${launch.imageId}]' does not exist`)
    if (image.state !== 'available') {
      throw new AwsError('InvalidAMIID.Unavailable', 400, `The image ID '${image.id}' is not available`)
    }
    const state = launch.state ?? 'pending'
    const number = this.instances.size
    const instance: Instance = {
      id: this.newId('i'),
      reservationId: launch.reservationId ?? this.newId('r'),
      imageId: image.id,
      instanceType: launch.instanceType,
      launchTime: launch.launchTime ?? this.now(),
      state,
      checks: state === 'running' ? 'ok' : 'initializing',
      tags: new Map(launch.tags),
      // TEST-NET-3: an address that leads nowhere
      publicIp: `203.0.113.${1 + (number % 254)}`,
      privateIp: `10.0.${Math.floor(number / 254) % 256}.${1 + (number % 254)}`,
      userData: launch.userData ?? null,
      clientToken: launch.clientToken ?? null,
    }
    this.instances.set(instance.id, instance)
    for (const listener of this.#launched) listener(instance)
    return instance
  }

  /**
   * Begins to shut an instance down (hosts.ts ends it) and says which state it was in; one that is on its way out stays so.
   * @throws AwsError InvalidInstanceID.NotFound
   */
  terminate(id: string): { instance: Instance; previous: InstanceState } {
    const instance = this.instances.get(id)
    if (!instance) throw new AwsError('InvalidInstanceID.NotFound', 400, `The instance ID '${id}' does not exist`)
    const previous = instance.state
    if (previous !== 'terminated' && previous !== 'shutting-down') {
      instance.state = 'shutting-down'
      for (const listener of this.#terminating) listener(instance)
    }
    return { instance, previous }
  }

  /** Called with every instance that is launched; the result unregisters. */
  onLaunch(listener: InstanceListener): () => void {
    this.#launched.add(listener)
    return () => this.#launched.delete(listener)
  }

  /** Called with every instance that begins to shut down; the result unregisters. */
  onTerminate(listener: InstanceListener): () => void {
    this.#terminating.add(listener)
    return () => this.#terminating.delete(listener)
  }

  /** Does nothing where the bucket exists. */
  createBucket(name: string): void {
    if (!this.buckets.has(name)) this.buckets.set(name, new Map())
  }

  /** @throws AwsError NoSuchBucket */
  bucket(name: string): Map<string, StoredObject> {
    const bucket = this.buckets.get(name)
    if (!bucket) throw new AwsError('NoSuchBucket', 404, 'The specified bucket does not exist')
    return bucket
  }

  /** @throws AwsError NoSuchBucket; PreconditionFailed, NoSuchKey where a condition does not hold */
  putObject(bucket: string, key: string, body: Buffer | string, options: PutOptions = {}): StoredObject {
    const objects = this.bucket(bucket)
    const existing = objects.get(key)
    if (options.ifMatch !== undefined && !existing) {
      throw new AwsError('NoSuchKey', 404, 'The specified key does not exist.')
    }
    if (
      (options.ifNoneMatch && existing) ||
      (options.ifMatch !== undefined && !etagMatches(options.ifMatch, existing?.etag))
    ) {
      throw preconditionFailed()
    }
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const object: StoredObject = {
      body: bytes,
      etag: `"${createHash('md5').update(bytes).digest('hex')}"`,
      lastModified: this.now(),
      contentType: options.contentType ?? 'binary/octet-stream',
      metadata: new Map(options.metadata),
      sse: options.sse ?? { algorithm: 'AES256', kmsKeyId: null },
      checksums: new Map(options.checksums),
    }
    objects.set(key, object)
    return object
  }

  /** @throws AwsError NoSuchBucket */
  getObject(bucket: string, key: string): StoredObject | null {
    return this.bucket(bucket).get(key) ?? null
  }
}

/** Whether an If-Match or If-None-Match header names this entity tag. */
export function etagMatches(header: string, etag: string | undefined): boolean {
  if (etag === undefined) return false
  const bare = (tag: string) => tag.trim().replace(/^W\//, '').replace(/^"|"$/g, '')
  return header.split(',').some((tag) => tag.trim() === '*' || bare(tag) === bare(etag))
}

export function preconditionFailed(): AwsError {
  return new AwsError('PreconditionFailed', 412, 'At least one of the pre-conditions you specified did not hold')
}
