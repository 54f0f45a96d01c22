import { STEP_TITLES } from '../../domain/deploy/rollout.js'
import type { Clock, ItemProgress } from '../ports.js'
import type { RecordKeeper } from './deployRecord.js'
import type { DeployStep } from './ports.js'

/** Where one host is: into the deploy's record at each step and clause, and onto the list that people look at. */
export class HostSteps {
  readonly #id: string
  readonly #keeper: RecordKeeper
  readonly #clock: Clock
  readonly #list: ItemProgress
  #current: { name: DeployStep; since: string; clause: string | null } | null = null
  #say: (text: string) => void = () => {}
  #leave: () => Promise<unknown> = async () => {}

  constructor(id: string, parts: { keeper: RecordKeeper; clock: Clock; list: ItemProgress }) {
    this.#id = id
    this.#keeper = parts.keeper
    this.#clock = parts.clock
    this.#list = parts.list
  }

  async at(name: DeployStep, clause?: string): Promise<void> {
    if (this.#current?.name !== name) {
      await this.#leave()
      this.#current = { name, since: this.#clock.now().toISOString(), clause: clause ?? null }
      this.#enter(name)
    } else if (clause === undefined || clause === this.#current.clause) return
    else this.#current = { ...this.#current, clause }
    if (clause) this.#say(clause)
    await this.#keeper.host(this.#id, { step: this.#current })
  }

  /** @param failure why it did not end well */
  async end(failure: string | undefined): Promise<void> {
    await this.#leave()
    this.#current = null
    this.#list.end(this.#id, failure)
  }

  #enter(name: DeployStep): void {
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
}
