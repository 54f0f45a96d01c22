export type Service = 'github' | 'ec2' | 's3'

/** What one request asked of whom, and how long it waited: calls of the ports, each with its own retries and pages. */
export class Meter {
  readonly #spent = new Map<Service, { count: number; ms: number }>()

  /** The port with each of its methods timed. */
  watch<T extends object>(service: Service, port: T): T {
    const timed =
      (method: (...args: unknown[]) => unknown) =>
      async (...args: unknown[]) => {
        const started = performance.now()
        try {
          return await method(...args)
        } finally {
          const spent = this.#spent.get(service) ?? { count: 0, ms: 0 }
          this.#spent.set(service, { count: spent.count + 1, ms: spent.ms + performance.now() - started })
        }
      }
    const members = Object.entries(port).map(([name, member]) => [
      name,
      typeof member === 'function' ? timed(member) : member,
    ])
    return Object.fromEntries(members) as T
  }

  /** For the log; absent where nothing was asked. */
  get upstream(): Record<string, { count: number; ms: number }> | undefined {
    if (this.#spent.size === 0) return undefined
    return Object.fromEntries([...this.#spent].map(([name, { count, ms }]) => [name, { count, ms: Math.round(ms) }]))
  }
}
