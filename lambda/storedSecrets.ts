import * as z from 'zod/mini'
import { SECRET_NAMES } from '../src/lib/domain/controlSecrets.js'
import { asClawctlError, ClawctlError, errorBody, httpStatusOf } from '../src/lib/domain/errors.js'
import { parseJson } from '../src/lib/domain/json.js'
import type { Clock, ObjectStore } from '../src/lib/ops/ports.js'
import type { Env } from './configuration.js'
import { createHandler, type FunctionUrlResult } from './handler.js'

const secretsSchema = z.strictObject(
  Object.fromEntries(SECRET_NAMES.map((name) => [name, z.optional(z.string())])) as Record<
    (typeof SECRET_NAMES)[number],
    z.ZodMiniOptional<z.ZodMiniString>
  >,
)

/** How long a rotated token takes to be accepted by an execution environment that is in use. */
const RENEW_AFTER_MS = 5 * 60_000
/** A flood must not become a flood of reads while the bucket can't be read. */
const RETRY_AFTER_MS = 5_000
/** How long a request that could be served with what is known waits for what may be newer. */
const PATIENCE_MS = 500

/**
 * The handler with the secrets of the object that CONTROL_API_SECRETS_KEY names, or of the environment alone where it
 * names none. A variable that is set wins. What was read once serves on while the object can't be read, or not soon.
 */
export function createHandlerWithSecrets(
  env: Env,
  log: (line: string) => void,
  ports: { store(): ObjectStore; clock: Clock },
): (event: unknown) => Promise<FunctionUrlResult> {
  const key = env.CONTROL_API_SECRETS_KEY
  if (!key) return createHandler(env, log)
  let known: { text: string; handle: ReturnType<typeof createHandler> } | null = null
  let renewAt = 0
  let failure: ClawctlError | null = null
  let store: ObjectStore | undefined

  let renewing: Promise<void> | null = null

  /** One read for all who ask at once. */
  function renewed(): Promise<void> {
    renewing ??= renew().finally(() => {
      renewing = null
    })
    return renewing
  }

  async function renew(): Promise<void> {
    try {
      store ??= ports.store()
      const text = (await store.get(key as string))?.text ?? null
      const secrets = parseSecrets(text, key as string)
      if (text !== known?.text) known = { text: text as string, handle: createHandler(merge(env, secrets), log) }
      failure = null
      renewAt = ports.clock.now().getTime() + RENEW_AFTER_MS
    } catch (error) {
      failure = asClawctlError(error)
      renewAt = ports.clock.now().getTime() + RETRY_AFTER_MS
      log(JSON.stringify({ secrets: 'not read', code: failure.code }))
    }
  }

  return async (event) => {
    const isDue = ports.clock.now().getTime() >= renewAt
    // Who can be served does not wait for a read that somebody else began.
    if (isDue && !(known && renewing)) await (known ? within(PATIENCE_MS, renewed()) : renewed())
    if (known) return known.handle(event)
    return refusal(failure)
  }
}

/** Ends with the work, or before it when the time is up: the work goes on. */
async function within(patienceMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs)
  })
  await Promise.race([work, timeUp])
  clearTimeout(timer)
}

function parseSecrets(text: string | null, key: string): z.infer<typeof secretsSchema> {
  const parsed = secretsSchema.safeParse(text === null ? null : parseJson(text))
  if (parsed.success) return parsed.data
  throw new ClawctlError('NOT_CONFIGURED', `${key} is missing, or not a JSON object of the known names.`, {
    hint: `Write it as docs/RUNBOOK.md says, with names among ${SECRET_NAMES.join(', ')}.`,
  })
}

function merge(env: Env, secrets: Env): Env {
  const set = Object.entries(env).filter(([, value]) => value)
  return { ...secrets, ...Object.fromEntries(set) }
}

/** Nobody is authenticated yet, so the answer says no more than that it is not the caller's fault. */
function refusal(failure: ClawctlError | null): FunctionUrlResult {
  const error = new ClawctlError(failure?.code ?? 'NOT_CONFIGURED', 'The Control API can not read its secrets.', {
    hint: 'Look at its log; docs/RUNBOOK.md says where the secrets lie.',
  })
  return {
    statusCode: httpStatusOf(error.code),
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify({ ok: false, error: errorBody(error) }),
  }
}
