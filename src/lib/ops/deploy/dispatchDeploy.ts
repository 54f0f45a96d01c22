import { activeKey, HEARTBEAT_PREFIX } from '../../domain/bundles/manifest.js'
import type { Deploy, Order } from '../../domain/contract/index.js'
import { formatRunTitle, orderOf, parseRunTitle } from '../../domain/contract/order.js'
import { refuseFrozen } from '../../domain/deploy/freeze.js'
import { foldName, formatIdentity, isSameAsker } from '../../domain/deploy/identity.js'
import { allowDeploy, personNeeded } from '../../domain/deploy/policy.js'
import {
  attemptId,
  cancelKey,
  deployOf,
  deployOfRecord,
  HISTORY_LOOKBACK,
  isWaiting,
  type Run,
} from '../../domain/deploy/run.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import { type Asker, identify, type OneTimeCodes } from '../people/people.js'
import type { Clock, Compute, ObjectStore, RegistrySource, Runs } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import {
  claimRequest,
  isSameOrder,
  LIST_LAGS_MS,
  linkClaim,
  readClaim,
  releaseClaim,
  requestConflict,
  type TimePort,
} from './claims.js'
import { claimedDeploy, type DeploysPorts, newRun, recordOf } from './deploys.js'
import { readFreezes } from './freeze.js'
import { chooseImages } from './resolveImage.js'

type ComputeReader = Pick<Compute, 'findImage' | 'fleetImages' | 'describeHosts'>

export interface DispatchPorts extends DeploysPorts, TimePort {
  runs: Runs
  registry: RegistrySource
  clock: Clock
  compute: ComputeReader
  codes: OneTimeCodes
}

/** GitHub may not name the new run; then the list shows it within seconds. */
const FIND_WITHIN_MS = 10_000
/** For the whole request; the Lambda's own time limit is 30 s. */
const ANSWER_WITHIN_MS = 24_000
const FIND_EVERY_MS = 1000
/** For each caller, against requests in a loop. */
const MAX_QUEUED = 10
const QUEUE_RETRY_S = 60

/**
 * The Control API's part of a deploy: the authoritative decision, then one workflow run. The same request id again returns
 * the same run, as long as claims are kept; so does the same order of the same requester while it is queued.
 * @throws ClawctlError the policy's code, CODE_WRONG, CODE_LOCKED, FROZEN, RATE_LIMITED, REQUEST_CONFLICT, TIMED_OUT
 * before anything was claimed or sent, or GitHub's failure
 */
export async function dispatchDeploy(
  request: Order,
  asker: Omit<Asker, 'requestedBy'>,
  ports: DispatchPorts,
): Promise<Deploy> {
  const latest = ports.clock.now().getTime() + ANSWER_WITHIN_MS
  const [registry, runs, record, claimed, freezes] = await Promise.all([
    readRegistry(ports.registry),
    ports.runs.list(HISTORY_LOOKBACK),
    recordOf(ports.store, request.requestId),
    readClaim(request, ports.store),
    readFreezes(ports),
  ])
  const known = await answerOf(request, runs, ports)
  if (known) return known
  if (record) {
    // Its run is older than the runs that were listed.
    if (!isSameOrder(orderOf(record), request)) throw requestConflict(request.requestId)
    return deployOfRecord(record, ports.clock.now())
  }
  if (claimed?.run) return claimedDeploy(claimed, claimed.run, runs, ports)

  // Runs concurrently with the check of the one-time code, which reads and writes: ADR 64.
  const checked = request.retire ? checkTraces(request.target, ports) : checkImages(request, registry, ports.compute)
  checked.catch(() => {})
  const { identity: _, ...asked } = request
  const needed = personNeeded(asked) !== null
  const purpose = formatRunTitle(request)
  const { identity, enrolled } = await identify(
    { ...asker, requestedBy: request.requestedBy },
    { purpose, needed },
    ports,
  )
  const order: Order = { ...request, identity: formatIdentity(identity) }
  allowDeploy({ ...order, identity, enrolled, registry })
  refuseFrozen(freezes, order.target)
  const duplicate = await queuedDuplicate(order, runs, ports.store)
  if (duplicate) {
    await linkClaim(order, { id: duplicate.run.id, url: duplicate.run.url, requestId: duplicate.requestId }, ports)
    return deployOf(duplicate.run, null, runs)
  }
  limitQueue(order, runs)
  await checked
  return dispatch(order, runs, latest, ports)
}

async function dispatch(order: Order, runs: readonly Run[], latest: number, ports: DispatchPorts): Promise<Deploy> {
  if (!(await claimRequest(order, ports))) {
    const theirs = await waitForRun(order, ports, latest)
    if (theirs) return theirs
    throw new ClawctlError(
      'UPSTREAM',
      'The same request may have been sent to GitHub before, and GitHub does not list a run of it yet.',
      {
        hint: `Try again in a minute with the same request id; after ${LIST_LAGS_MS / 60_000} minutes it is sent again.`,
      },
    )
  }
  let unanswered: ClawctlError | null = null
  const started = await ports.runs.dispatch(order).catch(async (error: unknown) => {
    // GitHub may have started the run although its answer failed; then the list shows the run.
    if (!(error instanceof ClawctlError) || error.code !== 'UPSTREAM') {
      await releaseClaim(order.requestId, ports.store)
      throw error
    }
    unanswered = error
    return null
  })
  if (started) {
    await linkClaim(order, { ...started, requestId: order.requestId }, ports)
    return deployOf(newRun(formatRunTitle(order), started, ports.clock.now()), null, runs)
  }
  const found = await waitForRun(order, ports, latest)
  if (found?.runId && found.runUrl) {
    await linkClaim(order, { id: found.runId, url: found.runUrl, requestId: order.requestId }, ports)
  }
  if (found) return found
  if (unanswered) throw unanswered
  throw new ClawctlError('UPSTREAM', 'GitHub accepted the dispatch, but lists no run for it.', {
    hint: `Check \`clawctl fleet history\` for ${order.requestId}, then try again with the same request id.`,
  })
}

/** A queued run of the same order by the same requester; GitHub lists a cancelled one as queued for some seconds. */
async function queuedDuplicate(
  order: Order,
  runs: readonly Run[],
  store: ObjectStore | null,
): Promise<{ run: Run; requestId: string } | null> {
  for (const run of runs.filter(isWaiting)) {
    const other = parseRunTitle(run.title)
    if (other && isSameAsker(order, other) && isSameOrder({ ...other, requestId: order.requestId }, order)) {
      const requestId = attemptId(other.requestId, run.attempt)
      if (!(await store?.get(cancelKey(requestId)))) return { run, requestId }
    }
  }
  return null
}

const queueOf = ({ caller, requestedBy }: Order) => caller ?? (requestedBy ? `person ${foldName(requestedBy)}` : '')

/** @throws ClawctlError RATE_LIMITED */
function limitQueue(order: Order, runs: readonly Run[]): void {
  const queued = runs.filter(isWaiting).filter(({ title }) => {
    const other = parseRunTitle(title)
    return other !== null && queueOf(other) === queueOf(order)
  })
  if (queued.length < MAX_QUEUED) return
  const whose = order.caller ?? order.requestedBy ?? 'requesters without a name'
  throw new ClawctlError('RATE_LIMITED', `${queued.length} deploys of ${whose} are queued, which is the limit.`, {
    hint: 'Wait until some are over, or cancel them: clawctl fleet cancel REQUEST_ID.',
    retryAfterS: QUEUE_RETRY_S,
  })
}

/**
 * Refuses a mistyped AMI before a run is started. If EC2 does not answer, the run checks it.
 * @throws ClawctlError AMI_NOT_FOUND, AMI_REFUSED, AMI_FAILED_BEFORE
 */
async function checkImages(order: Order, registry: Registry, compute: ComputeReader): Promise<void> {
  const entries = registry.filter(({ id }) => order.target === 'all' || order.target === id)
  try {
    await chooseImages(compute, entries, order.amiOverride || null)
  } catch (error) {
    const { code } = asClawctlError(error)
    if (code.startsWith('AMI_')) throw error
  }
}

/**
 * An id may be only in the state, which the Control API can't read. So it also looks for the objects that every deploy
 * leaves: active/<id>.json and heartbeats. If EC2 or S3 does not answer, the run checks it.
 * @throws ClawctlError UNKNOWN_TARGET for an id without a machine and without these objects
 */
async function checkTraces(id: string, { compute, store }: DispatchPorts): Promise<void> {
  if (!store) return
  const found = await Promise.all([
    compute.describeHosts().then((hosts) => hosts.some((host) => host.id === id)),
    store.get(activeKey(id)).then((active) => active !== null),
    store.list(`${HEARTBEAT_PREFIX}${id}/`, { atMost: 1 }).then(({ length }) => length > 0),
  ]).catch(() => [true])
  if (found.some((there) => there)) return
  throw new ClawctlError(
    'UNKNOWN_TARGET',
    `There is no instance ${JSON.stringify(id)} to retire, neither in EC2 nor in the bucket.`,
    {
      hint: 'See `clawctl fleet status` for the orphans. If only the OpenTofu state has it, retire it with --mode ci.',
    },
  )
}

async function waitForRun(order: Order, ports: DispatchPorts, latest: number): Promise<Deploy | null> {
  const deadline = Math.min(ports.clock.now().getTime() + FIND_WITHIN_MS, latest)
  do {
    await ports.clock.sleep(FIND_EVERY_MS)
    // The run may have started even if the list fails.
    const runs = await ports.runs.list(HISTORY_LOOKBACK).catch(() => [])
    const answer = await answerOf(order, runs, ports)
    if (answer) return answer
  } while (ports.clock.now().getTime() < deadline)
  return null
}

/** The deploy with this request id, or null. @throws ClawctlError REQUEST_CONFLICT if it is of another order */
async function answerOf(order: Order, runs: readonly Run[], { store }: DeploysPorts): Promise<Deploy | null> {
  const run = runs.find((candidate) => parseRunTitle(candidate.title)?.requestId === order.requestId)
  if (!run) return null
  const there = parseRunTitle(run.title)
  if (there && isSameOrder(there, order)) return deployOf(run, await recordOf(store, order.requestId), runs)
  throw requestConflict(order.requestId)
}
