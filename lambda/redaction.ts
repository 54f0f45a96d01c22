import { SECRET_NAMES } from '../src/lib/domain/controlSecrets.js'
import type { Env } from './configuration.js'

/** A shorter secret would match ordinary text. */
const MIN_LENGTH = 8
const REDACTED = '[redacted]'
const SECRET_VARIABLES = [...SECRET_NAMES, 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'] as const

/** Keeps the function's secrets and the request's token out of runs, answers and the log. */
export class Secrets {
  readonly #known: readonly string[]
  readonly #isSecret: (text: string) => boolean

  /** @param isSecret recognizes secrets of which only the digest is known */
  constructor(env: Env, isSecret: (text: string) => boolean) {
    this.#known = SECRET_VARIABLES.flatMap((name) => env[name] ?? []).filter((text) => text.length >= MIN_LENGTH)
    this.#isSecret = isSecret
  }

  #with(token: string): readonly string[] {
    return token.length < MIN_LENGTH || this.#known.includes(token) ? this.#known : [...this.#known, token]
  }

  /** Whether any text or field name of the data contains a secret: it would become part of a run's public name. */
  isIn(data: unknown, token: string): boolean {
    const known = this.#with(token)
    const found = (text: string) => known.some((secret) => text.includes(secret)) || this.#isSecret(text.trim())
    const left: unknown[] = [data]
    // Without recursion, so that deep nesting can't overflow the stack.
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

  /** Replaces secrets in JSON text: the last check before it leaves the function. */
  redact(json: string, token: string): string {
    let text = json
    for (const secret of this.#with(token)) {
      const written = JSON.stringify(secret).slice(1, -1)
      if (text.includes(written)) text = text.replaceAll(written, REDACTED)
    }
    return text
  }
}
