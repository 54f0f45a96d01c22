import type { DeployHost } from '../../domain/contract/index.js'
import { STEP_TITLES } from '../../domain/deploy/rollout.js'
import type { Clock, ItemProgress, Progress } from '../ports.js'
import type { RecordKeeper } from './deployRecord.js'
import type { DeployStep } from './ports.js'

/** One host of a progress list: its current step, and the newest clause. */
class ShownHost {
  readonly #id: string
  readonly #list: ItemProgress
  #step: string | null = null
  #say: (text: string) => void = () => {}
  #leave: () => Promise<unknown> = async () => {}

  constructor(id: string, list: ItemProgress) {
    this.#id = id
    this.#list = list
  }

  /** @param since distinguishes two steps of the same name */
  async at(name: DeployStep, since: string, clause: string | null): Promise<void> {
    if (this.#step !== `${name} ${since}`) {
      await this.#leave()
      this.#step = `${name} ${since}`
      let left: () => void = () => {}
      const over = new Promise<void>((resolve) => {
        left = resolve
      })
      const shown = this.#list.step(this.#id, STEP_TITLES[name], (say) => {
        this.#say = say
        return over
      })
      this.#leave = () => {
        left()
        return shown
      }
    }
    if (clause !== null) this.#say(clause)
  }

  /** @param failure the reason, if it failed */
  async end(failure?: string): Promise<void> {
    await this.leave()
    this.#list.end(this.#id, failure)
  }

  async leave(): Promise<void> {
    await this.#leave()
    this.#leave = async () => {}
  }
}

/** Writes each step and clause of one host to the deploy's record, and shows it in the list. */
export class HostSteps {
  readonly #id: string
  readonly #keeper: RecordKeeper
  readonly #clock: Clock
  readonly #shown: ShownHost
  #current: { name: DeployStep; since: string; clause: string | null } | null = null

  constructor(id: string, parts: { keeper: RecordKeeper; clock: Clock; list: ItemProgress }) {
    this.#id = id
    this.#keeper = parts.keeper
    this.#clock = parts.clock
    this.#shown = new ShownHost(id, parts.list)
  }

  async at(name: DeployStep, clause?: string): Promise<void> {
    const current = this.#current
    if (current?.name === name && (clause === undefined || clause === current.clause)) return
    const since = current?.name === name ? current.since : this.#clock.now().toISOString()
    const step = { name, since, clause: clause ?? null }
    this.#current = step
    await this.#shown.at(name, since, step.clause)
    await this.#keeper.host(this.#id, { step })
  }

  /** @param failure the reason, if it failed */
  end(failure: string | undefined): Promise<void> {
    this.#current = null
    return this.#shown.end(failure)
  }
}

const SUCCEEDED = new Set<DeployHost['outcome']>(['created', 'replaced', 'retired', 'planned'])
const NOT_BEGUN = new Set<DeployHost['outcome']>(['pending', 'deploying', 'skipped'])

/** Shows the hosts of a deploy that runs elsewhere, from its record. */
export class HostList {
  readonly #progress: Progress
  readonly #hosts = new Map<string, { shown: ShownHost; ended: boolean }>()
  #close: () => Promise<unknown> = async () => {}

  constructor(progress: Progress) {
    this.#progress = progress
  }

  async update(hosts: readonly DeployHost[]): Promise<void> {
    if (hosts.length === 0) return
    if (this.#hosts.size === 0) await this.#open(hosts.map(({ id }) => id))
    for (const { id, outcome, step, reason } of hosts) {
      const host = this.#hosts.get(id)
      if (!host || host.ended) continue
      if (step) await host.shown.at(step.name, step.since, step.clause)
      if (NOT_BEGUN.has(outcome)) continue
      host.ended = true
      await host.shown.end(SUCCEEDED.has(outcome) ? undefined : `${outcome}${reason ? `: ${reason}` : ''}`)
    }
  }

  async close(): Promise<void> {
    for (const { shown } of this.#hosts.values()) await shown.leave()
    await this.#close()
  }

  /** Resolves when the list is shown; `close` ends it. */
  #open(ids: readonly string[]): Promise<void> {
    return new Promise((opened, failed) => {
      const shown = this.#progress.list(ids, async (list) => {
        for (const id of ids) this.#hosts.set(id, { shown: new ShownHost(id, list), ended: false })
        await new Promise<void>((over) => {
          this.#close = async () => {
            over()
            await shown
          }
          opened()
        })
      })
      shown.catch(failed)
    })
  }
}
