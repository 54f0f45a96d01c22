import {
  type BootKind,
  type Fault,
  type HostKind,
  type ImportKind,
  isBootKind,
  type MachineKind,
  type RunnerMoment,
  type Service,
  type StrikeKind,
} from '../src/lib/domain/sandboxOptions.js'

/** How an answer fails. A corrupt upload is not one of them: the checksum finds it. */
export type HttpStrike = Exclude<StrikeKind, 'corrupt'>

/** `other`: AWS services without faults of their own. */
export type AnyService = Service | 'other'

/** The active faults. HTTP faults are used up; host faults stay. */
export class Faults {
  #faults: Fault[]
  readonly #now: () => Date
  readonly #rate = { second: 0, requests: 0 }
  /** While it is pending, no service answers. */
  held: Promise<void> | null = null

  /** @param now the clock for quotas */
  constructor(faults: readonly Fault[] = [], now: () => Date = () => new Date()) {
    this.#faults = faults.map((f) => ({ ...f }))
    this.#now = now
  }

  /** Adds a fault; the returned function removes the rest of it. */
  add(fault: Fault): () => void {
    const own = { ...fault }
    this.#faults.push(own)
    return () => {
      this.#faults = this.#faults.filter((f) => f !== own)
    }
  }

  /** How the next answer of the service fails, if it does. Uses up one strike. */
  strike(service: AnyService): HttpStrike | null {
    let struck: HttpStrike | null = null
    for (const fault of this.#faults) {
      if (fault.on !== service || !('strikes' in fault) || fault.kind === 'corrupt') continue
      if (fault.after) fault.after -= 1
      else if (struck === null && fault.strikes > 0) {
        fault.strikes -= 1
        struck = fault.kind
      }
    }
    return struck
  }

  /** Whether the next upload arrives with a flipped bit. Uses up one strike. */
  corrupts(service: Service): boolean {
    for (const fault of this.#faults) {
      if (fault.on !== service || !('strikes' in fault) || fault.kind !== 'corrupt') continue
      if (fault.after) fault.after -= 1
      else if (fault.strikes > 0) {
        fault.strikes -= 1
        return true
      }
    }
    return false
  }

  /** Whether one request more, now, is above the quota of its second. */
  overQuota(): boolean {
    const quota = Math.min(...this.#faults.map((f) => ('perSecond' in f ? f.perSecond : Number.POSITIVE_INFINITY)))
    if (quota === Number.POSITIVE_INFINITY) return false
    const second = Math.floor(this.#now().getTime() / 1000)
    if (this.#rate.second !== second) Object.assign(this.#rate, { second, requests: 0 })
    this.#rate.requests += 1
    return this.#rate.requests > quota
  }

  encryptsByDefault(): boolean {
    return this.#faults.some((f) => f.on === 'ebs' && f.kind === 'encrypted')
  }

  /** How the next import fails, if it does. Uses up one strike. */
  import(kinds: readonly ImportKind[]): ImportKind | null {
    const fault = this.#faults.find((f) => f.on === 'import' && f.strikes > 0 && kinds.includes(f.kind))
    if (fault?.on !== 'import') return null
    fault.strikes -= 1
    return fault.kind
  }

  delayMs(service: AnyService): number {
    return Math.max(0, ...this.#faults.map((f) => (f.on === service && 'delayMs' in f ? f.delayMs : 0)))
  }

  /** How a host that boots now fails, if it does. `latest`: it boots the newest AMI. */
  host(id: string, latest: boolean): BootKind | null {
    for (const fault of this.#faults) {
      if (fault.on !== 'host' || !isBootKind(fault.kind) || (fault.id !== null && fault.id !== id)) continue
      if (fault.kind === 'dead' || latest) return fault.kind
    }
    return null
  }

  /** Whether a host's bundle is damaged now. */
  badBundle(id: string): boolean {
    return this.#hits('bad-bundle', id)
  }

  /** Whether a host stays active even if another machine is named. */
  keeps(id: string): boolean {
    return this.#hits('no-yield', id)
  }

  #hits(kind: HostKind, id: string | null): boolean {
    return this.#faults.some((f) => f.on === 'host' && f.kind === kind && (f.id === null || f.id === id))
  }

  /** Whether a machine that boots now has this fault; `id` is null for a machine that is not a host. */
  machine(kind: MachineKind, id: string | null): boolean {
    return this.#hits(kind, id)
  }

  /** True, once, if the runner must be killed at this moment. */
  runnerDies(moment: RunnerMoment): boolean {
    const index = this.#faults.findIndex((f) => f.on === 'runner' && f.moment === moment)
    if (index < 0) return false
    this.#faults.splice(index, 1)
    return true
  }
}
