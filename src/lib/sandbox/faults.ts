import ms from 'ms'
import { ClawctlError } from '../domain/errors.js'
import { nearest } from '../domain/nearest.js'

/** The services whose HTTP answers can be made to fail. */
export const SERVICES = ['ec2', 's3', 'github', 'api'] as const
export type Service = (typeof SERVICES)[number]

const HTTP_KINDS = {
  throttle: 'asks to slow down',
  error: 'answers 5xx',
  reset: 'drops the connection',
  slow: 'answers late',
} as const
type HttpKind = keyof typeof HTTP_KINDS

const HOST_KINDS = {
  unhealthy: 'hosts that boot the latest AMI never send a heartbeat',
  crash: 'hosts that boot the latest AMI report a failed gateway',
  dead: 'hosts never send a heartbeat, whatever the AMI',
} as const
type HostKind = keyof typeof HOST_KINDS

/** How often an HTTP fault strikes unless `=N` or `=always` says otherwise: within what one retry layer bears. */
const DEFAULT_STRIKES = 2
const DEFAULT_DELAY_MS = 2000

export const FAULT_HELP = [
  ...Object.entries(HTTP_KINDS).map(([kind, does]) => {
    const value = kind === 'slow' ? '[=2s]' : '[=N|always]'
    return `${SERVICES.map((s) => `${s}:${kind}`).join(' ')} ${value}: the service ${does}`
  }),
  ...Object.entries(HOST_KINDS).map(([kind, does]) => `host:${kind}[=ID]: ${does}`),
  'runner:dies: the runner is killed while it waits for the first new host to become healthy',
]

const FAULT_NAMES = [
  ...SERVICES.flatMap((s) => Object.keys(HTTP_KINDS).map((k) => `${s}:${k}`)),
  ...Object.keys(HOST_KINDS).map((k) => `host:${k}`),
  'runner:dies',
]

export type Fault =
  | { on: Service; kind: Exclude<HttpKind, 'slow'>; strikes: number }
  | { on: Service; kind: 'slow'; delayMs: number }
  | { on: 'host'; kind: HostKind; id: string | null }
  | { on: 'runner'; kind: 'dies' }

/** @throws ClawctlError USAGE with the nearest name that exists. */
export function parseFault(text: string): Fault {
  const equals = text.indexOf('=')
  const name = equals < 0 ? text : text.slice(0, equals)
  const value = equals < 0 ? null : text.slice(equals + 1)
  if (!FAULT_NAMES.includes(name)) {
    const near = nearest(name, FAULT_NAMES)
    throw new ClawctlError('USAGE', `There is no fault "${text}".`, {
      hint: near ? `Did you mean ${near}?` : `The faults are: ${FAULT_NAMES.join(', ')}.`,
    })
  }
  const [on, kind] = name.split(':') as [Service | 'host' | 'runner', string]
  if (value === '' || (on === 'runner' && value !== null)) {
    throw new ClawctlError('USAGE', `The fault "${text}" has a value that it does not take.`, {
      hint: `Write ${name}.`,
    })
  }
  if (on === 'runner') return { on, kind: 'dies' }
  if (on === 'host') return { on, kind: kind as HostKind, id: value }
  if (kind === 'slow') {
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
  return { on, kind: kind as Exclude<HttpKind, 'slow'>, strikes }
}

export type HttpStrike = Exclude<HttpKind, 'slow'>

/** What is still to go wrong. HTTP faults use themselves up; host faults stay. */
export class Faults {
  #faults: Fault[]

  constructor(faults: readonly Fault[] = []) {
    this.#faults = faults.map((f) => ({ ...f }))
  }

  /** Adds a fault; the returned function takes back what is left of it. */
  add(fault: Fault): () => void {
    const own = { ...fault }
    this.#faults.push(own)
    return () => {
      this.#faults = this.#faults.filter((f) => f !== own)
    }
  }

  /** How the next answer of the service fails, if it does. Uses up one strike. */
  strike(service: Service): HttpStrike | null {
    for (const fault of this.#faults) {
      if (fault.on === service && 'strikes' in fault && fault.strikes > 0) {
        fault.strikes -= 1
        return fault.kind
      }
    }
    return null
  }

  delayMs(service: Service): number {
    return Math.max(0, ...this.#faults.map((f) => (f.on === service && 'delayMs' in f ? f.delayMs : 0)))
  }

  /** How a host that boots now fails, if it does. `latest`: it boots the newest AMI. */
  host(id: string, latest: boolean): HostKind | null {
    for (const fault of this.#faults) {
      if (fault.on !== 'host' || (fault.id !== null && fault.id !== id)) continue
      if (fault.kind === 'dead' || latest) return fault.kind
    }
    return null
  }

  /** True once where the runner is to die. */
  runnerDies(): boolean {
    const index = this.#faults.findIndex((f) => f.on === 'runner')
    if (index < 0) return false
    this.#faults.splice(index, 1)
    return true
  }
}
