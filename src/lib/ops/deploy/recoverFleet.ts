import { activeKey } from '../../domain/bundles/manifest.js'
import { ID_PATTERN } from '../../domain/contract/patterns.js'
import type { Adoption } from '../../domain/deploy/expectation.js'
import { latestOf, NO_AMI } from '../../domain/deploy/image.js'
import { adoptedNames } from '../../domain/deploy/leftovers.js'
import {
  type Found,
  findingLine,
  findMachines,
  type Recovery,
  settled,
  unsettled,
} from '../../domain/deploy/recovery.js'
import { isLost, recordKey } from '../../domain/deploy/run.js'
import { SLOTS, slotKey } from '../../domain/deploy/slots.js'
import { holderOfLock, runOfLock } from '../../domain/deploy/stateLock.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { FLEET_STATE_KEY } from '../../domain/paths.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { JobReport, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { findAdoptable } from './adoption.js'
import { planChange } from './applyChange.js'
import { findRun } from './deployRecord.js'
import { newestRecords } from './deploys.js'
import { destroyMachine } from './hostContext.js'
import { type Observation, observe, readRole, standingOfId } from './observation.js'
import type { HostDeployPorts, LockPorts } from './ports.js'
import { restoreRole, taintedOf, untaintAll } from './resume.js'
import { isHolderOver, withStateLock } from './stateLock.js'
import { keepUnwritten, storeUnwritten } from './unwrittenState.js'

/** OpenTofu can't read such a state, and without it there is nothing to compare. */
const STALE_DIGEST: Found = {
  kind: 'state',
  subject: FLEET_STATE_KEY,
  what: "can't be read: the lock table has the digest of another state, so nothing else was compared",
  fix: 'that digest is removed',
  automatic: true,
}

export interface RecoverOptions {
  /** Null: every id of registry, state or EC2. */
  id: string | null
  /** Report only, change nothing. */
  planOnly: boolean
  /** Id of a lock to release, even if its holder may be alive. */
  unlock: string | null
  /** EC2 id of a machine to destroy, even if it is active. */
  terminate: string | null
}

export interface RecoverPorts extends HostDeployPorts, LockPorts {
  registry: RegistrySource
  report: JobReport
}

/** The request id in records, tags and active/<id>.json. */
const REQUEST = 'fleet-recover'

/**
 * Finds what differs between EC2, IAM, state, locks and records, and corrects what needs no decision, under the guard.
 * @throws ClawctlError DRIFT if a person has to decide something; `partial.recovery` has every finding
 */
export async function recoverFleet(options: RecoverOptions, ports: RecoverPorts): Promise<Recovery> {
  const findings: Found[] = []
  try {
    await recoverLocks(options, findings, ports)
    const work = async () => {
      // A deploy that goes on may just be storing the state.
      const isHeld = findings.some(({ automatic }) => !automatic)
      if (options.planOnly && !isHeld && (await ports.locks.hasStaleDigest())) findings.push(STALE_DIGEST)
      else await recover(options, findings, ports)
    }
    await (options.planOnly ? work() : withStateLock(ports, work))
  } catch (error) {
    throw withPartial(asClawctlError(error), { recovery: { findings: unsettled(findings, options.planOnly) } })
  }
  const shown = settled(findings, options.planOnly)
  await ports.report.summary(
    shown.map((finding) => `- ${findingLine(finding)}`).join('\n') || 'There is no difference.',
  )
  const left = shown.filter(({ done }) => !done)
  if (left.length === 0 || options.planOnly) return { findings: shown }
  throw new ClawctlError('DRIFT', 'A person has to decide about the differences that remain.', {
    details: left.map(findingLine),
    partial: { recovery: { findings: shown } },
  })
}

/** Before taking the lock, because a dead lock would block that. */
async function recoverLocks(options: RecoverOptions, findings: Found[], ports: RecoverPorts): Promise<void> {
  const held = await ports.locks.held()
  if (options.unlock !== null && !held.some(({ ID }) => ID === options.unlock)) {
    throw new ClawctlError('USAGE', `No lock of the state has the id ${options.unlock}.`, {
      hint: 'See `clawctl fleet recover --plan-only` for the locks that are held.',
    })
  }
  for (const lock of held) {
    const over = await isHolderOver(ports, lock)
    const automatic = over || lock.ID === options.unlock
    if (automatic && !options.planOnly) await ports.locks.release(lock.ID)
    const what = `is a lock of the state, held by ${holderOfLock(lock)}${over ? ', whose process is over' : ''}`
    const fix = automatic ? 'it is released' : `wait for it, or clawctl fleet recover --unlock ${lock.ID}`
    findings.push({ kind: 'lock', subject: lock.ID, what, fix, automatic })
  }
}

async function recover(options: RecoverOptions, findings: Found[], ports: RecoverPorts): Promise<void> {
  const { tofu, progress, planOnly } = { ...ports, ...options }
  await tofu.init()
  findings.push(...(await storeUnwritten(ports, planOnly)))
  const registry = await readRegistry(ports.registry)
  const gone = new Set<string>()
  let observed = await observe(ports, gone)
  const removal = (id: string) => ({ turn: { id }, rollout: rolloutOf([id], registry), ports, gone })
  if (options.terminate !== null) {
    await terminateNamed(options.terminate, observed, removal, findings, options)
    observed = await observe(ports, gone)
  }
  for (const { address } of taintedOf(observed)) {
    findings.push({
      kind: 'tainted',
      subject: address,
      what: 'was interrupted during its creation',
      fix: 'it is kept',
      automatic: true,
    })
  }
  if (!planOnly) await untaintAll(observed, new Set(), tofu)

  const known = [...registry.map(({ id }) => id), ...observed.state.keys(), ...observed.hosts.map(({ id }) => id)]
  if (options.id !== null && !known.includes(options.id)) {
    throw new ClawctlError('UNKNOWN_TARGET', `Neither the registry nor EC2 nor the state has ${options.id}.`, {
      hint: 'Take an id from `clawctl fleet status`, or leave it out.',
    })
  }
  const ids = [...new Set(options.id === null ? known : [options.id])].filter((id) => ID_PATTERN.test(id))
  const adopt: Record<string, string> = {}
  for (const id of ids) {
    const role = await readRole(ports.store, id).catch((error: unknown) => unreadable(error, id, findings))
    if (role === null) continue
    const found = await standingOfId(ports, { hosts: observed.hosts, gone }, role, id)
    const placed = observed.state.get(id) ?? []
    const work = findMachines(id, { standing: found, active: role.active, placed, gone })
    findings.push(...work.findings)
    if (work.adopt) {
      const slot = work.adopt.slot ?? SLOTS.find((free) => !placed.some((machine) => machine.slot === free)) ?? 'a'
      adopt[slotKey(id, slot)] = work.adopt.instanceId
    }
    if (planOnly) continue
    // Throws if the holder can't be started: then no candidate is destroyed.
    await restoreRole({ id, role, found, deploy: REQUEST }, progress.note.bind(progress), ports)
    for (const leftover of work.destroy) await destroyMachine(removal(id), leftover)
  }
  await importIntoState(ids, adopt, registry, findings, { planOnly, gone }, ports)
  await endRecords(findings, planOnly, ports)
  const kept = await keepUnwritten(ports)
  if (kept !== null) progress.note(kept)
}

/** The active machine of the id is unknown: its machines stay as they are, and the other ids are recovered. */
function unreadable(error: unknown, id: string, findings: Found[]): null {
  if (asClawctlError(error).code !== 'ROLE_UNREADABLE') throw error
  const key = activeKey(id)
  const fix = `if one machine of ${id} runs, delete the object: the machine stays active, and the next deploy writes the object`
  findings.push({ kind: 'role', subject: key, what: 'does not name a machine', fix, automatic: false })
  return null
}

async function terminateNamed(
  instanceId: string,
  { hosts }: Observation,
  removal: (id: string) => Parameters<typeof destroyMachine>[0],
  findings: Found[],
  { planOnly }: RecoverOptions,
): Promise<void> {
  const host = hosts.find((one) => one.instanceId === instanceId)
  if (!host) {
    throw new ClawctlError('USAGE', `EC2 has no machine ${instanceId} of the fleet.`, {
      hint: 'See `clawctl fleet status` for the machines that exist.',
    })
  }
  if (!planOnly) await destroyMachine(removal(host.id), host)
  findings.push({
    kind: 'machine',
    subject: host.id,
    what: `has ${instanceId}`,
    fix: 'it is destroyed',
    automatic: true,
  })
}

/** One guarded plan: imports what exists, removes from the state what does not exist, and launches nothing. */
async function importIntoState(
  ids: readonly string[],
  instances: Adoption['instances'],
  registry: Registry,
  findings: Found[],
  { planOnly, gone }: { planOnly: boolean; gone: Set<string> },
  ports: RecoverPorts,
): Promise<void> {
  const observed = await observe(ports, gone)
  const adopt = await findAdoptable(ids, instances, observed, ports)
  for (const name of adoptedNames({ ...adopt, instances: {} })) {
    findings.push({
      kind: 'object',
      subject: name,
      what: 'is not in the state',
      fix: 'it is imported',
      automatic: true,
    })
  }
  const isLost = [...observed.state.values()].flat().some(({ instanceId }) => gone.has(instanceId ?? ''))
  if (planOnly || (adoptedNames(adopt).length === 0 && !isLost)) return
  const withObjects = ids.filter((id) => adopt.roles[id] ?? adopt.role_policies[id] ?? adopt.profiles[id])
  const ami = observed.hosts[0]?.ami ?? latestOf(await ports.compute.fleetImages())?.id ?? NO_AMI
  const plan = await planChange({ kind: 'none' }, { ami, instances, observed }, rolloutOf(withObjects, registry), ports)
  // Also without a change: the apply stores that a machine no longer exists.
  await ports.tofu.apply(plan.file)
}

const rolloutOf = (scope: readonly string[], registry: Registry) => ({
  requestId: REQUEST,
  registry,
  scope,
  onPlan: () => {},
})

/** Ends the records that still have `running` although their runs are over, or the deploy of this run was interrupted. */
async function endRecords(findings: Found[], planOnly: boolean, ports: RecoverPorts): Promise<void> {
  const { store, runs, clock, locks } = ports
  const thisRun = runOfLock({ Info: locks.run })?.id
  for (const record of await newestRecords(store)) {
    if (record.status !== 'running') continue
    const { requestId, runId } = record
    const isInterrupted = runId !== null && runId === thisRun
    if (!isInterrupted && !isLost(record, await findRun(record, runs), clock.now())) continue
    if (!planOnly) {
      const [status, error] = isInterrupted
        ? ['cancelled', { code: 'CANCELLED', message: 'The run was cancelled.' }]
        : ['failed', { code: 'DEPLOY_FAILED', message: 'The run was lost.' }]
      const ended = { ...record, status, finishedAt: clock.now().toISOString(), error }
      await store.put(recordKey(requestId), JSON.stringify(ended))
    }
    const fix = 'its record is set to failed'
    findings.push({
      kind: 'record',
      subject: requestId,
      what: 'is recorded as running, but its run is over',
      fix,
      automatic: true,
    })
  }
}
