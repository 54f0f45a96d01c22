import * as z from 'zod/mini'
import type { Deploy, Order } from '../../domain/contract/index.js'
import { formatRunTitle, orderOf, parseRunTitle } from '../../domain/contract/order.js'
import { decideDeploy } from '../../domain/deploy/policy.js'
import { claimKey, deployOf, deployOfRecord, HISTORY_LOOKBACK, type Run } from '../../domain/deploy/run.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { parseJson } from '../../domain/json.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { Clock, Compute, ObjectStore, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { type DeploysPorts, recordOf } from './deploys.js'
import { chooseImages } from './resolveImage.js'

type ImageReader = Pick<Compute, 'findImage' | 'fleetImages'>

/** A run that GitHub did not name appears in the list within seconds. */
const FIND_WITHIN_MS = 10_000
/** All together; the Lambda's own timeout is 30 s. */
const ANSWER_WITHIN_MS = 24_000
const FIND_EVERY_MS = 1000
/** The Lambda's timeout, twice: nobody who claimed earlier is still at it. */
const CLAIM_LIVES_MS = 60_000

/**
 * The Control API's half of a deploy: the authoritative decision, then one workflow run. The same request id again
 * gives the run that it started before.
 * @throws ClawctlError with decideDeploy's code, REQUEST_CONFLICT, or what GitHub made of it
 */
export async function dispatchDeploy(
  request: Order,
  ports: DeploysPorts & { registry: RegistrySource; clock: Clock; compute: ImageReader },
): Promise<Deploy> {
  const latest = ports.clock.now().getTime() + ANSWER_WITHIN_MS
  const [registry, runs, record] = await Promise.all([
    readRegistry(ports.registry),
    ports.runs.list(HISTORY_LOOKBACK),
    recordOf(ports.store, request.requestId),
  ])
  const verdict = decideDeploy({ ...request, registry })
  if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })

  const title = formatRunTitle(request)
  const known = await answerOf(request.requestId, title, runs, ports.store)
  if (known) return known
  if (record) {
    // Its run is further back than GitHub's list was read.
    if (formatRunTitle(orderOf(record)) !== title) throw conflict(request.requestId)
    return deployOfRecord(record, ports.clock.now())
  }
  await mustHaveImages(request, registry, ports.compute)
  if (!(await claim(request.requestId, ports))) {
    const theirs = await waitForRun(request.requestId, title, ports, latest)
    if (theirs) return theirs
    throw new ClawctlError(
      'UPSTREAM',
      'The same request is being served at this moment, and its run does not show yet.',
      {
        hint: 'Ask again in a minute with the same request id.',
      },
    )
  }
  let unanswered: ClawctlError | null = null
  const started = await ports.runs.dispatch(request).catch(async (error: unknown) => {
    // GitHub may have started the run and failed to say so: then it shows up in the list, else the error stands.
    if (!(error instanceof ClawctlError) || error.code !== 'UPSTREAM') {
      await release(request.requestId, ports.store)
      throw error
    }
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
  const found = await waitForRun(request.requestId, title, ports, latest)
  if (found) return found
  if (unanswered) throw unanswered
  throw new ClawctlError('UPSTREAM', 'GitHub took the dispatch, but shows no run for it.', {
    hint: `Look for ${request.requestId} in \`clawctl fleet history\` before you ask again; the same request id is safe.`,
  })
}

/**
 * A mistyped AMI is refused here, before a run of minutes refuses it. What EC2 does not answer now, it is asked again.
 * @throws ClawctlError AMI_NOT_FOUND, AMI_REFUSED, AMI_FAILED_BEFORE
 */
async function mustHaveImages(order: Order, registry: Registry, compute: ImageReader): Promise<void> {
  if (order.retire) return
  const entries = registry.filter(({ id }) => order.target === 'all' || order.target === id)
  try {
    await chooseImages(compute, entries, order.amiOverride ?? null)
  } catch (error) {
    const { code } = asClawctlError(error)
    if (code.startsWith('AMI_')) throw error
  }
}

const claimSchema = z.object({ nonce: z.string(), at: z.string() })

/**
 * True for the one who may dispatch: the first who asks with this id, or who takes over from one that must be dead.
 * Where nothing can be remembered, everybody may.
 */
async function claim(requestId: string, ports: { store: ObjectStore | null; clock: Clock }): Promise<boolean> {
  const { store, clock } = ports
  if (!store) return true
  const own = { nonce: crypto.randomUUID(), at: clock.now().toISOString() }
  const key = claimKey(requestId)
  if (await store.putIf(key, JSON.stringify(own), null)) return true
  const there = await store.get(key)
  const claimed = claimSchema.safeParse(there && parseJson(there.text))
  // The write may have arrived and its answer not: the SDK then tried again and met itself.
  if (claimed.success && claimed.data.nonce === own.nonce) return true
  const age = claimed.success ? clock.now().getTime() - Date.parse(claimed.data.at) : Number.POSITIVE_INFINITY
  return there !== null && !(age < CLAIM_LIVES_MS) && store.putIf(key, JSON.stringify(own), there.etag)
}

/** What GitHub refused may be asked again at once. Without it the claim ends by itself. */
async function release(requestId: string, store: ObjectStore | null): Promise<void> {
  const over = { nonce: 'released', at: new Date(0).toISOString() }
  await store?.put(claimKey(requestId), JSON.stringify(over)).catch(() => {})
}

async function waitForRun(
  requestId: string,
  title: string,
  ports: DeploysPorts & { clock: Clock },
  latest: number,
): Promise<Deploy | null> {
  const deadline = Math.min(ports.clock.now().getTime() + FIND_WITHIN_MS, latest)
  do {
    await ports.clock.sleep(FIND_EVERY_MS)
    // The run was started, or may have been: a list that fails now says nothing about it.
    const runs = await ports.runs.list(HISTORY_LOOKBACK).catch(() => [])
    const answer = await answerOf(requestId, title, runs, ports.store)
    if (answer) return answer
  } while (ports.clock.now().getTime() < deadline)
  return null
}

/** The run with this request id, or null. @throws ClawctlError REQUEST_CONFLICT where it is another deploy */
async function answerOf(
  requestId: string,
  title: string,
  runs: readonly Run[],
  store: ObjectStore | null,
): Promise<Deploy | null> {
  const run = runs.find((candidate) => parseRunTitle(candidate.title)?.requestId === requestId)
  if (!run) return null
  if (run.title === title) return deployOf(run, await recordOf(store, requestId), runs)
  throw conflict(requestId)
}

function conflict(requestId: string): ClawctlError {
  return new ClawctlError('REQUEST_CONFLICT', `The request id ${requestId} was used for another deploy.`, {
    hint: 'Leave requestId out, or use a new one.',
  })
}
