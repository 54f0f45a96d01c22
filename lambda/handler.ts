import { ClawctlError, errorBody, httpStatusOf } from '../src/lib/domain/errors.js'
import { authenticate } from './authenticate.js'
import { readConfiguration } from './configuration.js'
import { createPorts, type LambdaPorts } from './context.js'
import { parseEvent } from './event.js'
import { findRoute, MethodNotAllowed, runRoute } from './router.js'

export interface FunctionUrlResult {
  statusCode: number
  headers: Record<string, string>
  body: string
}

/**
 * The Control API: a Function URL event (payload 2.0) in, a JSON answer of the contract out, one log line a request.
 * Never throws, whatever the event is.
 */
export function createHandler(
  env: Readonly<Record<string, string | undefined>>,
  log: (line: string) => void,
): (event: unknown) => Promise<FunctionUrlResult> {
  let ports: LambdaPorts | undefined
  const getPorts = () => {
    ports ??= createPorts(readConfiguration(env))
    return ports
  }
  return async (event) => {
    const started = performance.now()
    const request = parseEvent(event)
    const headers: Record<string, string> = { 'content-type': 'application/json', 'cache-control': 'no-store' }
    let route: string | null = null
    let status: number
    let body: object
    try {
      authenticate(request.header('authorization'), [env.CONTROL_API_TOKEN, env.CONTROL_API_TOKEN_PREVIOUS])
      const found = findRoute(request)
      route = found.route.name
      body = await runRoute(found, request, getPorts)
      status = found.route.answer.status
    } catch (error) {
      // The message of something that is not ours could quote anything, so it stays out of answer and log alike.
      const failure =
        error instanceof ClawctlError
          ? error
          : new ClawctlError('INTERNAL', 'The Control API has a defect.', { cause: error })
      status = httpStatusOf(failure.code)
      body = { ok: false, error: errorBody(failure) }
      if (failure instanceof MethodNotAllowed) headers.allow = failure.allow
    }
    const code = (body as { error?: { code: string } }).error?.code ?? 'OK'
    const durationMs = Math.round(performance.now() - started)
    log(JSON.stringify({ awsRequestId: request.awsRequestId, route, method: request.method, status, code, durationMs }))
    return {
      statusCode: status,
      headers,
      body: JSON.stringify(body),
    }
  }
}
