import { judgeControlSecrets } from '../src/lib/domain/controlSecrets.js'
import { asClawctlError, ClawctlError, errorBody, httpStatusOf } from '../src/lib/domain/errors.js'
import type { Clock, ObjectStore } from '../src/lib/ops/ports.js'
import { Budget, LIMITS_MS } from './budget.js'
import type { Env } from './configuration.js'
import { createHandler, type FunctionUrlResult, type Handle, type HandlerOptions } from './handler.js'
import { embedded } from './metrics.js'

/** How long a rotated token takes to be accepted by an execution environment that is in use. */
const RENEW_AFTER_MS = 5 * 60_000
/** Many requests must not become many reads while the bucket can't be read. */
const RETRY_AFTER_MS = 5_000
/** How long a request waits for newer secrets if older ones are known. */
const RENEW_WAIT_MS = 500

/** The secrets object that is in use. */
export interface SecretsState {
  /** When it was last read from the bucket, in milliseconds. */
  readAt: number
  /** Why the newest object is not in use; null if it is. */
  problem: string | null
}

/**
 * The handler with the secrets of the object that CONTROL_API_SECRETS_KEY names; without that variable, of the
 * environment alone. Variables of the environment take precedence. While a newer object can't be read in time or is
 * incomplete, the last good one stays in use.
 */
export function createHandlerWithSecrets(
  env: Env,
  log: (line: string) => void,
  ports: { store(): ObjectStore; clock: Clock } & Pick<HandlerOptions, 'timing' | 'emit' | 'makePorts'>,
): (event: unknown) => Promise<FunctionUrlResult> {
  const { store: makeStore, clock, emit = () => {}, ...more } = ports
  const key = env.CONTROL_API_SECRETS_KEY
  const options = { ...more, clock, emit }
  if (!key) return createHandler(env, log, options)
  let known: { text: string; handle: Handle } | null = null
  let state: SecretsState | null = null
  let renewAt = 0
  let failure: ClawctlError | null = null
  let store: ObjectStore | undefined

  let renewing: Promise<void> | null = null

  /** Concurrent requests share one read. */
  function renewed(): Promise<void> {
    renewing ??= renew(key as string).finally(() => {
      renewing = null
    })
    return renewing
  }

  async function renew(key: string): Promise<void> {
    const now = () => clock.now().getTime()
    try {
      store ??= makeStore()
      const text = (await store.get(key))?.text ?? null
      if (text !== known?.text) {
        const merged = complete(env, text, key)
        known = { text: text as string, handle: createHandler(merged, log, options) }
      }
      failure = null
      state = { readAt: now(), problem: null }
      renewAt = now() + RENEW_AFTER_MS
    } catch (error) {
      failure = asClawctlError(error)
      if (state) state = { ...state, problem: failure.message }
      renewAt = now() + RETRY_AFTER_MS
      const what = { secrets: 'not taken', code: failure.code, message: failure.message, goesOn: known !== null }
      log(JSON.stringify(what))
      emit(JSON.stringify(embedded([{ metric: 'SecretsUnreadable', value: 1 }], now())))
    }
  }

  return async (event) => {
    const budget = new Budget(more.timing)
    const isDue = clock.now().getTime() >= renewAt
    // With known secrets, a request does not wait for a read that another request began.
    if (isDue && !(known && renewing)) await budget.wait(known ? RENEW_WAIT_MS : LIMITS_MS.secrets, renewed())
    if (known) return known.handle(event, { budget, secrets: state })
    const answer = refusal(failure)
    const code = failure?.code ?? 'UPSTREAM'
    log(JSON.stringify({ route: null, status: answer.statusCode, code }))
    const measures = [
      { metric: 'Requests', value: 1 },
      { metric: 'Refusals', value: 1, of: code },
    ] as const
    emit(JSON.stringify(embedded(measures, clock.now().getTime())))
    return answer
  }
}

/** The environment with the secrets. @throws ClawctlError NOT_CONFIGURED with names only, if anything is missing */
function complete(env: Env, text: string | null, key: string): Env {
  const verdict = text === null ? { ok: false as const, problems: ['it is missing'] } : judgeControlSecrets(text, env)
  if (!verdict.ok) {
    throw new ClawctlError('NOT_CONFIGURED', `${key} can't be used: ${verdict.problems.join('; ')}.`, {
      hint: 'Change it with `clawctl secrets control-api edit`.',
    })
  }
  const set = Object.entries(env).filter(([, value]) => value)
  return { ...verdict.secrets, ...Object.fromEntries(set) }
}

/** The caller is not authenticated yet, so the answer has no details. */
function refusal(failure: ClawctlError | null): FunctionUrlResult {
  const error = new ClawctlError(failure?.code ?? 'UPSTREAM', "The Control API can't read its secrets.", {
    hint: "Read its log, or run `clawctl secrets control-api check --mode ci` with a maintainer's AWS credentials.",
  })
  return {
    statusCode: httpStatusOf(error.code),
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify({ ok: false, error: errorBody(error) }),
  }
}
