import { constants } from 'node:os'

const CAUGHT = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Collects the signals that would otherwise end this process. */
export class Signals {
  first: NodeJS.Signals | null = null
  /** Resolves with the first one. */
  readonly received: Promise<NodeJS.Signals>
  #forward: ((signal: NodeJS.Signals) => void) | null = null

  constructor() {
    let resolve: (signal: NodeJS.Signals) => void = () => {}
    this.received = new Promise((settle) => {
      resolve = settle
    })
    this.#listener = (signal) => {
      this.first ??= signal
      resolve(signal)
      this.#forward?.(signal)
    }
    for (const signal of CAUGHT) process.on(signal, this.#listener)
  }

  readonly #listener: (signal: NodeJS.Signals) => void

  /** The receiver of further signals, or null. */
  forwardTo(forward: ((signal: NodeJS.Signals) => void) | null): void {
    this.#forward = forward
  }

  release(): void {
    for (const signal of CAUGHT) process.off(signal, this.#listener)
  }
}

/** Runs `work` and its cleanup to the end, also if signals arrive. */
export async function withSignals<T>(work: (signals: Signals) => Promise<T>): Promise<T> {
  const signals = new Signals()
  try {
    return await work(signals)
  } finally {
    signals.release()
  }
}

/** The exit code of a process that a signal ended, as in shells. */
export const signalExitCode = (signal: NodeJS.Signals) => 128 + constants.signals[signal]
