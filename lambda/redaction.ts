import { SECRET_NAMES } from '../src/lib/domain/controlSecrets.js'
import type { Env } from './configuration.js'

/** What is shorter would be found in any text. */
const SHORTEST = 8
const REDACTED = '[redacted]'
const SECRET_VARIABLES = [...SECRET_NAMES, 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'] as const

/** Keeps the function's secrets, and the token that a request came with, out of requests, answers and log. */
export class Secrets {
  readonly #known: readonly string[]
  readonly #isSecret: (text: string) => boolean

  /** @param isSecret tells what is only known by its digest */
  constructor(env: Env, isSecret: (text: string) => boolean) {
    this.#known = SECRET_VARIABLES.flatMap((name) => env[name] ?? []).filter((text) => text.length >= SHORTEST)
    this.#isSecret = isSecret
  }

  /** The same and the token that this request presented. */
  #with(token: string): readonly string[] {
    return token.length < SHORTEST || this.#known.includes(token) ? this.#known : [...this.#known, token]
  }

  /** Whether a secret stands in any text of the data, names of fields included: it would end up in a run's public name. */
  isIn(data: unknown, token: string): boolean {
    const known = this.#with(token)
    const found = (text: string) => known.some((secret) => text.includes(secret)) || this.#isSecret(text.trim())
    const left: unknown[] = [data]
    // Not by recursion: what is nested a thousand deep is looked at all the same.
    while (left.length > 0) {
      const value = left.pop()
      if (typeof value === 'string') {
        if (found(value)) return true
      } else if (typeof value === 'object' && value !== null) {
        for (const [name, inner] of Object.entries(value)) left.push(name, inner)
      }
    }
    return false
  }

  /** JSON text without the secrets: the last line of defence, for what nobody thought of. */
  redact(json: string, token: string): string {
    let text = json
    for (const secret of this.#with(token)) {
      // As it stands within a JSON string.
      const written = JSON.stringify(secret).slice(1, -1)
      if (text.includes(written)) text = text.replaceAll(written, REDACTED)
    }
    return text
  }
}
