import type { Deploy, DeployDetail } from '../domain/contract.js'
import { REQUEST_ID_PATTERN } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { deployOf, deployOfRecord, parseRunTitle, RECORD_PREFIX, withSteps } from '../domain/run.js'
import { readRecord } from './deployRecord.js'
import type { Clock, ObjectStore, Runs } from './ports.js'

export interface DeploysPorts {
  runs: Runs
  /** Null where no bucket is configured: hosts and the resolved AMI are then not known. */
  store: ObjectStore | null
  clock: Clock
}

/** How far back a run is looked for by its request id; GitHub pages by 100. */
const LOOKBACK = 100

/** The run's own record, or null where there is none or nowhere to look. */
export async function recordOf(store: ObjectStore | null, requestId: string | undefined) {
  return store && requestId !== undefined && REQUEST_ID_PATTERN.test(requestId) ? readRecord(store, requestId) : null
}

/** The audit trail, newest first: the workflow's runs, and what ran on the direct plane without one. */
export async function listDeploys(ports: DeploysPorts, limit: number): Promise<Deploy[]> {
  const { store } = ports
  const [runs, keys] = await Promise.all([ports.runs.list(LOOKBACK), store ? store.list(RECORD_PREFIX) : []])
  const ofRuns = runs.slice(0, limit).map(async (run) => {
    const requestId = parseRunTitle(run.title)?.requestId
    return deployOf(run, await recordOf(store, requestId), runs)
  })
  const known = new Set(runs.map((run) => parseRunTitle(run.title)?.requestId))
  const ofRecords = keys
    .map(({ key, modifiedAt }) => ({ id: key.slice(RECORD_PREFIX.length).replace(/\.json$/, ''), modifiedAt }))
    .filter(({ id }) => !known.has(id))
    .sort((a, b) => b.modifiedAt.getTime() - a.modifiedAt.getTime())
    .slice(0, limit)
    .map(async ({ id }) => {
      const record = await recordOf(store, id)
      return record && deployOfRecord(record, ports.clock.now())
    })
  const deploys = (await Promise.all([...ofRuns, ...ofRecords])).filter((deploy) => deploy !== null)
  return deploys.sort((a, b) => (b.createdAt ?? '').localeCompare(a.createdAt ?? '')).slice(0, limit)
}

/** @throws ClawctlError NOT_FOUND */
export async function getDeploy(ports: DeploysPorts, requestId: string): Promise<DeployDetail> {
  const runs = await ports.runs.list(LOOKBACK)
  const run = runs.find((r) => parseRunTitle(r.title)?.requestId === requestId || String(r.id) === requestId)
  const [record, jobs] = await Promise.all([
    recordOf(ports.store, (run && parseRunTitle(run.title)?.requestId) ?? requestId),
    run ? ports.runs.jobs(run.id) : [],
  ])
  if (run) return withSteps(deployOf(run, record, runs), jobs)
  if (record) return withSteps(deployOfRecord(record, ports.clock.now()), [])
  throw new ClawctlError('NOT_FOUND', `There is no deploy with the request id ${JSON.stringify(requestId)}.`, {
    hint: 'See `clawctl fleet history` for the ids.',
  })
}
