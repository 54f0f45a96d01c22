import ms from 'ms'
import { ClawctlError } from './errors.js'
import { nearest } from './nearest.js'

/** The services whose HTTP answers can be made to fail. */
export const SERVICES = ['ec2', 's3', 'ebs', 'github', 'api'] as const
export type Service = (typeof SERVICES)[number]

const HTTP_KINDS = {
  throttle: 'throttles requests',
  error: 'answers 5xx',
  reset: 'drops the connection',
  hang: 'accepts the request and never answers',
  slow: 'answers late',
} as const
/** Faults of some services only. */
const SPECIAL_KINDS = {
  expired: { services: ['ec2', 's3', 'ebs'], does: 'answers that the credentials have expired' },
  corrupt: { services: ['s3', 'ebs'], does: 'receives an upload with a flipped bit' },
} as const
export type StrikeKind = Exclude<keyof typeof HTTP_KINDS, 'slow'> | keyof typeof SPECIAL_KINDS

const IMPORT_KINDS = {
  error: 'the import of a snapshot fails inside the service',
  'bad-image': 'the import of a snapshot fails because of the image',
  stuck: 'the import of a snapshot never ends',
  'no-role': 'the service role vmimport does not exist',
} as const
export type ImportKind = keyof typeof IMPORT_KINDS

const HOST_KINDS = {
  unhealthy: 'hosts that boot the latest AMI never send a heartbeat',
  crash: 'hosts that boot the latest AMI report a failed gateway',
  dead: 'hosts never send a heartbeat, whatever the AMI',
  impaired: 'machines fail their status checks, whatever the AMI',
  mute: 'machines print nothing on their console, whatever the AMI',
  'bad-token': 'hosts that boot the latest AMI find their Discord token rejected',
  'bad-switch': 'hosts that boot the latest AMI cannot switch to their configuration',
  'bad-bundle': 'hosts find their bundle damaged, whatever the AMI',
  'no-yield': 'hosts do not yield when another machine is named, whatever the AMI',
} as const
export type HostKind = keyof typeof HOST_KINDS
/** Faults of any machine, host or not. */
export type MachineKind = 'impaired' | 'mute'
const LATER_KINDS = ['impaired', 'mute', 'bad-bundle', 'no-yield'] as const
/** Faults that take effect when a host boots. */
export type BootKind = Exclude<HostKind, (typeof LATER_KINDS)[number]>
export const isBootKind = (kind: HostKind): kind is BootKind => !LATER_KINDS.some((later) => later === kind)

/** When a runner dies. OpenTofu has not written its state yet, except at the first. */
const RUNNER_MOMENTS = {
  health: 'while it waits for the first new host to become healthy',
  role: 'when a role has been created',
  policy: 'when a policy has been put into a role',
  profile: 'when an instance profile has been created',
  apply: 'when EC2 has been asked for an instance',
  terminate: 'when EC2 has been asked to terminate one',
} as const
export type RunnerMoment = keyof typeof RUNNER_MOMENTS

/** The default number of times that an HTTP fault strikes: few enough for one retry layer. */
const DEFAULT_STRIKES = 2
const DEFAULT_DELAY_MS = 2000
/** EBS's default quota of PutSnapshotBlock for an account. */
const DEFAULT_QUOTA = 1000

export const FAULT_HELP = [
  ...Object.entries(HTTP_KINDS).map(([kind, does]) => {
    const value = kind === 'slow' ? '[=2s]' : '[@AFTER][=N|always]'
    return `${SERVICES.map((s) => `${s}:${kind}`).join(' ')} ${value}: the service ${does}`
  }),
  ...Object.entries(SPECIAL_KINDS).map(
    ([kind, { services, does }]) =>
      `${services.map((s) => `${s}:${kind}`).join(' ')} [@AFTER][=N|always]: the service ${does}`,
  ),
  '@AFTER: that many requests are served first (ebs:expired@100=always)',
  'ebs:quota [=1000]: more blocks a second than that are throttled',
  'ebs:encrypted: the account encrypts every new snapshot',
  ...Object.entries(IMPORT_KINDS).map(([kind, does]) => `import:${kind} [=N|always]: ${does}`),
  ...Object.entries(HOST_KINDS).map(([kind, does]) => `host:${kind}[=ID]: ${does}`),
  ...Object.entries(RUNNER_MOMENTS).map(([moment, when]) => {
    return `runner:dies${moment === 'health' ? '[=health]' : `=${moment}`}: the runner is killed ${when}`
  }),
]

export const FAULT_NAMES = [
  ...SERVICES.flatMap((s) => Object.keys(HTTP_KINDS).map((k) => `${s}:${k}`)),
  ...Object.entries(SPECIAL_KINDS).flatMap(([kind, { services }]) => services.map((s) => `${s}:${kind}`)),
  'ebs:quota',
  'ebs:encrypted',
  ...Object.keys(IMPORT_KINDS).map((k) => `import:${k}`),
  ...Object.keys(HOST_KINDS).map((k) => `host:${k}`),
  'runner:dies',
]

export type Fault =
  | { on: Service; kind: StrikeKind; strikes: number; after?: number }
  | { on: Service; kind: 'slow'; delayMs: number }
  | { on: 'ebs'; kind: 'quota'; perSecond: number }
  | { on: 'ebs'; kind: 'encrypted' }
  | { on: 'import'; kind: ImportKind; strikes: number }
  | { on: 'host'; kind: HostKind; id: string | null }
  | { on: 'runner'; kind: 'dies'; moment: RunnerMoment }

/** @throws ClawctlError USAGE with the nearest name that exists. */
export function parseFault(text: string): Fault {
  const [, name = '', after, value = null] = /^([^=@]*)(?:@([^=]*))?(?:=([\s\S]*))?$/.exec(text) ?? []
  if (!FAULT_NAMES.includes(name)) {
    const near = nearest(name, FAULT_NAMES)
    throw new ClawctlError('USAGE', `There is no fault "${text}".`, {
      hint: near ? `Did you mean ${near}?` : `The faults are: ${FAULT_NAMES.join(', ')}.`,
    })
  }
  const [on, kind] = name.split(':') as [Service | 'import' | 'host' | 'runner', string]
  const counts = on !== 'host' && on !== 'runner' && on !== 'import' && !['slow', 'quota', 'encrypted'].includes(kind)
  const bare = kind === 'encrypted'
  if (value === '' || (bare && value !== null) || (after !== undefined && !counts)) {
    throw new ClawctlError('USAGE', `The fault "${text}" has a value that it does not take.`, {
      hint: `Write ${name}.`,
    })
  }
  if (after !== undefined && !/^\d{1,9}$/.test(after)) {
    throw new ClawctlError('USAGE', `"${after}" is not a number of requests.`, { hint: `Write ${name}@100.` })
  }
  if (on === 'runner') {
    const moment = value ?? 'health'
    if (Object.hasOwn(RUNNER_MOMENTS, moment)) return { on, kind: 'dies', moment: moment as RunnerMoment }
    throw new ClawctlError('USAGE', `"${moment}" is not a moment at which a runner can die.`, {
      hint: `The moments are: ${Object.keys(RUNNER_MOMENTS).join(', ')}.`,
    })
  }
  if (on === 'host') return { on, kind: kind as HostKind, id: value }
  if (on === 'ebs' && kind === 'encrypted') return { on, kind }
  if (on !== 'import' && kind === 'slow') {
    const delayMs = value === null ? DEFAULT_DELAY_MS : (ms(value as ms.StringValue) ?? Number.NaN)
    if (!Number.isFinite(delayMs) || delayMs < 0) {
      throw new ClawctlError('USAGE', `"${value}" is not a duration.`, { hint: `Write it as ${name}=2s.` })
    }
    return { on, kind, delayMs }
  }
  const strikes = value === null ? DEFAULT_STRIKES : value === 'always' ? Number.POSITIVE_INFINITY : Number(value)
  if (!(strikes === Number.POSITIVE_INFINITY || (Number.isInteger(strikes) && strikes > 0))) {
    throw new ClawctlError('USAGE', `"${value}" is not a number of times.`, {
      hint: `Write ${name}=3 or ${name}=always.`,
    })
  }
  if (on === 'ebs' && kind === 'quota') return { on, kind, perSecond: value === null ? DEFAULT_QUOTA : strikes }
  if (on === 'import') return { on, kind: kind as ImportKind, strikes }
  return { on, kind: kind as StrikeKind, strikes, ...(after === undefined ? {} : { after: Number(after) }) }
}

export const TOFU_CHOICES = ['auto', 'real', 'stand-in'] as const
export type TofuChoice = (typeof TOFU_CHOICES)[number]
