import { randomUUID } from 'node:crypto'
import type * as z from 'zod/mini'
import { deployRequestSchema, REQUEST_ID_PATTERN } from '../src/lib/domain/contract.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { decideDeploy } from '../src/lib/domain/policy.js'
import { getDeploy, listDeploys } from '../src/lib/ops/deploys.js'
import { dispatchDeploy } from '../src/lib/ops/dispatchDeploy.js'
import { fleetStatus } from '../src/lib/ops/fleetStatus.js'
import type { LambdaPorts } from './context.js'
import type { ApiRequest } from './event.js'

export interface Answer {
  status: 200 | 202
  body: object
}

interface Route {
  method: 'GET' | 'POST'
  /** As in the contract; a part in braces is one path segment. */
  path: string
  name: string
  run(request: ApiRequest, ports: () => LambdaPorts, parameter: string): Promise<Answer>
}

const DEFAULT_LIMIT = 20
const MAX_LIMIT = 100

const ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/deploys',
    name: 'createDeploy',
    async run(request, ports) {
      const parsed = deployRequestSchema.safeParse(request.json())
      if (!parsed.success) throw invalid(parsed.error)
      const asked = { ...parsed.data, requestId: parsed.data.requestId ?? randomUUID() }
      // What needs no registry is refused before anything upstream is asked; dispatchDeploy decides again with it.
      const verdict = decideDeploy(asked)
      if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })
      return { status: 202, body: { ok: true, deploy: await dispatchDeploy(asked, ports()) } }
    },
  },
  {
    method: 'GET',
    path: '/v1/deploys',
    name: 'listDeploys',
    async run(request, ports) {
      const text = request.query.get('limit')
      const limit = text === null ? DEFAULT_LIMIT : Number(text)
      if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
        throw new ClawctlError('INVALID_REQUEST', `limit must be a whole number from 1 to ${MAX_LIMIT}.`)
      }
      return { status: 200, body: { ok: true, deploys: await listDeploys(ports(), limit) } }
    },
  },
  {
    method: 'GET',
    path: '/v1/deploys/{requestId}',
    name: 'getDeploy',
    async run(_request, ports, requestId) {
      if (!REQUEST_ID_PATTERN.test(requestId)) {
        throw new ClawctlError('NOT_FOUND', 'There is no deploy with such a request id.', {
          hint: 'See `clawctl fleet history` for the ids.',
        })
      }
      return { status: 200, body: { ok: true, deploy: await getDeploy(ports(), requestId) } }
    },
  },
  {
    method: 'GET',
    path: '/v1/fleet',
    name: 'fleet',
    async run(_request, ports) {
      return { status: 200, body: { ok: true, fleet: await fleetStatus(ports()) } }
    },
  },
]

const pattern = (path: string) => new RegExp(`^${path.replace(/\{[^}]+\}/g, '([^/]+)')}$`)

/** @throws ClawctlError NOT_FOUND, METHOD_NOT_ALLOWED */
export function findRoute(request: ApiRequest): { name: string; run(ports: () => LambdaPorts): Promise<Answer> } {
  const onPath = ROUTES.flatMap((route) => {
    const match = pattern(route.path).exec(request.path)
    return match ? [{ route, parameter: match[1] ?? '' }] : []
  })
  const found = onPath.find(({ route }) => route.method === request.method)
  if (found) return { name: found.route.name, run: (ports) => found.route.run(request, ports, found.parameter) }
  if (onPath.length > 0) {
    const methods = onPath.map(({ route }) => route.method).join(', ')
    throw new ClawctlError('METHOD_NOT_ALLOWED', `This route takes ${methods}.`)
  }
  throw new ClawctlError('NOT_FOUND', 'There is no such route.', {
    hint: `The routes are ${ROUTES.map((route) => `${route.method} ${route.path}`).join(', ')}.`,
  })
}

function invalid(error: z.core.$ZodError): ClawctlError {
  const [issue] = error.issues
  const where = issue && issue.path.length > 0 ? `${issue.path.join('.')} ` : ''
  const what =
    issue?.code === 'unrecognized_keys'
      ? `unknown field ${issue.keys.map((key) => JSON.stringify(key.slice(0, 40))).join(', ')}`
      : issue?.path.length === 0
        ? 'the body must be one JSON object'
        : (issue?.message ?? 'is invalid')
  return new ClawctlError('INVALID_REQUEST', `The request is not of the contract: ${where}${what}.`, {
    hint: 'The fields are target, amiOverride, caller, requestedBy, requestId.',
  })
}
