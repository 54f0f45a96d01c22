import type { Deploy, DeployRequest } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { decideDeploy } from '../domain/policy.js'
import { deployOf, formatRunTitle, parseRunTitle, type Run } from '../domain/run.js'
import { type DeploysPorts, recordOf } from './deploys.js'
import type { Clock, RegistrySource } from './ports.js'
import { readRegistry } from './readRegistry.js'

const LOOKBACK = 100
/** A run that GitHub did not name appears in the list within seconds; the Lambda's own timeout is 30 s. */
const FIND_ATTEMPTS = 8
const FIND_EVERY_MS = 1000

/**
 * The Control API's half of a deploy: the authoritative decision, then one workflow run. The same request id again
 * gives the run that it started before.
 * @throws ClawctlError with decideDeploy's code, REQUEST_CONFLICT, or what GitHub made of it
 */
export async function dispatchDeploy(
  request: DeployRequest & { requestId: string },
  ports: DeploysPorts & { registry: RegistrySource; clock: Clock },
): Promise<Deploy> {
  const [registry, runs] = await Promise.all([readRegistry(ports.registry), ports.runs.list(LOOKBACK)])
  const verdict = decideDeploy({ ...request, registry })
  if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })

  const title = formatRunTitle(wanted(request))
  const known = findRun(runs, request.requestId)
  if (known) {
    if (known.title !== title) {
      throw new ClawctlError('REQUEST_CONFLICT', `The request id ${request.requestId} was used for another deploy.`, {
        hint: 'Leave requestId out, or use a new one.',
      })
    }
    return deployOf(known, await recordOf(ports.store, request.requestId), runs)
  }
  let unanswered: ClawctlError | null = null
  const started = await ports.runs.dispatch(request).catch((error: unknown) => {
    // GitHub may have started the run and failed to say so: then it shows up in the list, else the error stands.
    if (!(error instanceof ClawctlError) || error.code !== 'UPSTREAM') throw error
    unanswered = error
    return null
  })
  if (started) {
    const now = ports.clock.now().toISOString()
    const run: Run = {
      ...started,
      title,
      status: 'queued',
      conclusion: null,
      createdAt: now,
      startedAt: null,
      updatedAt: now,
    }
    return deployOf(run, null, runs)
  }
  for (let attempt = 0; attempt < FIND_ATTEMPTS; attempt += 1) {
    await ports.clock.sleep(FIND_EVERY_MS)
    const later = await ports.runs.list(LOOKBACK)
    const run = findRun(later, request.requestId)
    if (run) return deployOf(run, null, later)
  }
  if (unanswered) throw unanswered
  throw new ClawctlError('UPSTREAM', 'GitHub took the dispatch, but shows no run for it.', {
    hint: `Look for ${request.requestId} in \`clawctl fleet history\` before you ask again; the same request id is safe.`,
  })
}

function findRun(runs: readonly Run[], requestId: string): Run | undefined {
  return runs.find((run) => parseRunTitle(run.title)?.requestId === requestId)
}

function wanted(request: DeployRequest & { requestId: string }) {
  return {
    target: request.target,
    requestId: request.requestId,
    amiOverride: request.amiOverride ?? null,
    caller: request.caller ?? null,
    requestedBy: request.requestedBy ?? null,
  }
}
