import { randomBytes } from 'node:crypto'
import { AwsError } from './error.js'
import { Iam } from './iam.js'
import type { ImportTask } from './imports.js'
import { Snapshots } from './snapshots.js'
import { ObjectStorage } from './storage.js'

export type Tags = Map<string, string>

export interface WorldImage {
  id: string
  ownerId: string
  name: string
  description: string
  createdAt: Date
  state: 'available' | 'pending'
  architecture: 'x86_64' | 'arm64'
  bootMode: 'legacy-bios' | 'uefi' | 'uefi-preferred' | null
  imdsSupport: 'v2.0' | null
  enaSupport: boolean
  rootDevice: string
  snapshotId: string
  /** In GiB. */
  volumeSize: number
  volumeType: string
  deleteOnTermination: boolean
  tags: Tags
}

/** One allowed range of an ingress or egress rule. */
export interface Rule {
  /** -1: any. */
  protocol: string
  from: number | null
  to: number | null
  cidr: string
}

export interface SecurityGroup {
  id: string
  name: string
  description: string
  vpcId: string
  ingress: Rule[]
  egress: Rule[]
  tags: Tags
}

export interface Subnet {
  id: string
  vpcId: string
  tags: Tags
}

export type InstanceState = 'pending' | 'running' | 'shutting-down' | 'terminated' | 'stopping' | 'stopped'

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
  securityGroups: string[]
  subnetId: string
  /** Name of its instance profile. */
  profile: string | null
  metadata: MetadataOptions
  rootVolume: RootVolume
  /** The console output of the machine. */
  console: string
}

export interface MetadataOptions {
  endpoint: 'enabled' | 'disabled'
  tokens: 'required' | 'optional'
  hops: number
}

export interface RootVolume {
  encrypted: boolean
  type: string
  /** In GiB. */
  size: number
  deleteOnTermination: boolean
}

/** A gateway that started or stopped on a machine. At most one of an id may be active at a time. */
export interface GatewayEvent {
  at: Date
  id: string
  instanceId: string
  event: 'start' | 'stop'
  /** Whether it is active with its channels, or in standby. */
  acts: boolean
}

export interface WorldOptions {
  region?: string
  /** The account's setting that refuses instances with IMDSv1. */
  httpTokensEnforced?: boolean
  /** Bytes for ids; a test passes its own to get the same ids again. */
  random?: (bytes: number) => Buffer
  now?: () => Date
  /** The folder of large objects and snapshots. Without it everything stays in memory. */
  folder?: string
}

export interface NewImage extends Partial<Omit<WorldImage, 'name' | 'tags'>> {
  name: string
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
  securityGroups?: string[]
  subnetId?: string
  profile?: string | null
  metadata?: Partial<MetadataOptions>
  rootVolume?: Partial<RootVolume>
  publicAddress?: boolean
}

const DEFAULT_SUBNET = 'subnet-0defa017defa01700'
const LATER_MS = 50
/** The default size of an image. */
const IMAGE_GIB = 8

/** The image's setting is the default of its instances: tokens required, with a hop limit that also allows containers. */
export function metadataDefaults({ imdsSupport }: Pick<WorldImage, 'imdsSupport'>): MetadataOptions {
  return imdsSupport === 'v2.0'
    ? { endpoint: 'enabled', tokens: 'required', hops: 2 }
    : { endpoint: 'enabled', tokens: 'optional', hops: 1 }
}

export type InstanceListener = (instance: Instance) => void

/** The sandbox's AWS account in one region. Refuses with AwsError, with AWS's codes. */
export class World extends ObjectStorage {
  readonly region: string
  readonly httpTokensEnforced: boolean
  readonly accountId = '000000000000'
  readonly images = new Map<string, WorldImage>()
  /** In launch order: nothing is ever removed, so a page of a listing can resume behind any instance. */
  readonly instances = new Map<string, Instance>()
  /** RunInstances by client token: the same request again starts nothing. */
  readonly launches = new Map<string, { digest: string; reservationId: string }>()
  readonly gateways: GatewayEvent[] = []
  readonly snapshots: Snapshots
  readonly imports = new Map<string, ImportTask>()
  /** ImportSnapshot by client token. */
  readonly importStarts = new Map<string, { digest: string; id: string }>()
  readonly iam = new Iam({ accountId: this.accountId, now: () => this.now() })
  readonly securityGroups = new Map<string, SecurityGroup>()
  readonly subnets = new Map<string, Subnet>()
  readonly defaultVpcId = 'vpc-0defa017defa01700'
  /** StartSnapshot by client token. */
  readonly snapshotStarts = new Map<string, { digest: string; id: string }>()
  readonly #random: (bytes: number) => Buffer
  readonly #launched = new Set<InstanceListener>()
  readonly #terminating = new Set<InstanceListener>()
  readonly #stopping = new Set<InstanceListener>()

  constructor(options: WorldOptions = {}) {
    super(options)
    this.region = options.region ?? 'eu-central-1'
    this.httpTokensEnforced = options.httpTokensEnforced ?? false
    this.#random = options.random ?? randomBytes
    this.snapshots = new Snapshots({
      now: () => this.now(),
      newId: (prefix) => this.newId(prefix),
      newFile: () => this.newFile(),
    })
    const subnet = { id: DEFAULT_SUBNET, vpcId: this.defaultVpcId, tags: new Map() }
    this.subnets.set(subnet.id, subnet)
  }

  /** `prefix-` and 17 hex digits, as in EC2. */
  newId(prefix: string): string {
    return `${prefix}-${this.#random(9).toString('hex').slice(0, 17)}`
  }

  addImage(image: NewImage): WorldImage {
    const createdAt = image.createdAt ?? this.now()
    const volumeSize = image.volumeSize ?? IMAGE_GIB
    const added: WorldImage = {
      ownerId: this.accountId,
      description: '',
      state: 'available',
      architecture: 'x86_64',
      bootMode: null,
      imdsSupport: null,
      enaSupport: true,
      rootDevice: '/dev/xvda',
      volumeType: 'gp3',
      deleteOnTermination: true,
      ...image,
      id: image.id ?? this.newId('ami'),
      createdAt,
      volumeSize,
      snapshotId: image.snapshotId ?? this.snapshots.add({ volumeSize, startedAt: createdAt }).id,
      tags: new Map(image.tags),
    }
    this.images.set(added.id, added)
    return added
  }

  /** The default key of EBS encryption. */
  get defaultKmsKey(): string {
    return `arn:aws:kms:${this.region}:${this.accountId}:alias/aws/ebs`
  }

  /** Runs an action a moment after the answer, as AWS does. Never keeps the process alive. */
  later(work: () => void): void {
    setTimeout(work, LATER_MS).unref()
  }

  async close(): Promise<void> {
    await this.snapshots.close()
  }

  /** The newest available image tagged clawdinator=true; of two with the same time, the one with the higher id. */
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
      publicIp: launch.publicAddress === false ? null : `203.0.113.${1 + (number % 254)}`,
      privateIp: `10.0.${Math.floor(number / 254) % 256}.${1 + (number % 254)}`,
      userData: launch.userData ?? null,
      clientToken: launch.clientToken ?? null,
      securityGroups: launch.securityGroups ?? [],
      subnetId: launch.subnetId ?? DEFAULT_SUBNET,
      profile: launch.profile ?? null,
      metadata: { ...metadataDefaults(image), ...launch.metadata },
      rootVolume: {
        ...{ encrypted: false, type: image.volumeType, size: image.volumeSize },
        ...{ deleteOnTermination: image.deleteOnTermination },
        ...launch.rootVolume,
      },
      console: '',
    }
    this.instances.set(instance.id, instance)
    for (const listener of this.#launched) listener(instance)
    return instance
  }

  #instance(id: string): Instance {
    const instance = this.instances.get(id)
    if (instance) return instance
    throw new AwsError('InvalidInstanceID.NotFound', 400, `The instance ID '${id}' does not exist`)
  }

  /**
   * Starts to terminate an instance (hosts.ts finishes it) and returns its previous state. Does nothing if it is being
   * terminated already.
   * @throws AwsError InvalidInstanceID.NotFound
   */
  terminate(id: string): { instance: Instance; previous: InstanceState } {
    const instance = this.#instance(id)
    const previous = instance.state
    if (previous !== 'terminated' && previous !== 'shutting-down') {
      instance.state = 'shutting-down'
      for (const listener of this.#terminating) listener(instance)
    }
    return { instance, previous }
  }

  /**
   * Starts to stop a running instance (hosts.ts finishes it). Does nothing if it is stopped.
   * @throws AwsError InvalidInstanceID.NotFound, IncorrectInstanceState
   */
  stop(id: string): { instance: Instance; previous: InstanceState } {
    const instance = this.#instance(id)
    const previous = instance.state
    if (previous !== 'running' && previous !== 'stopping' && previous !== 'stopped') {
      const message = `This instance '${id}' is not in a state from which it can be stopped.`
      throw new AwsError('IncorrectInstanceState', 400, message)
    }
    if (previous === 'running') {
      instance.state = 'stopping'
      for (const listener of this.#stopping) listener(instance)
    }
    return { instance, previous }
  }

  /**
   * Starts a stopped instance, which boots again. Does nothing if it is running.
   * @throws AwsError InvalidInstanceID.NotFound, IncorrectInstanceState
   */
  start(id: string): { instance: Instance; previous: InstanceState } {
    const instance = this.#instance(id)
    const previous = instance.state
    if (previous !== 'running' && previous !== 'pending' && previous !== 'stopped') {
      const message = `The instance '${id}' is not in a state from which it can be started.`
      throw new AwsError('IncorrectInstanceState', 400, message)
    }
    if (previous === 'stopped') {
      Object.assign(instance, { state: 'pending', checks: 'initializing', launchTime: this.now() })
      for (const listener of this.#launched) listener(instance)
    }
    return { instance, previous }
  }

  /** Called with every instance that is launched; the result unregisters. */
  onLaunch(listener: InstanceListener): () => void {
    this.#launched.add(listener)
    return () => this.#launched.delete(listener)
  }

  /** Called with every instance that begins to stop; the result unregisters. */
  onStop(listener: InstanceListener): () => void {
    this.#stopping.add(listener)
    return () => this.#stopping.delete(listener)
  }

  /** Called with every instance that begins to shut down; the result unregisters. */
  onTerminate(listener: InstanceListener): () => void {
    this.#terminating.add(listener)
    return () => this.#terminating.delete(listener)
  }
}
