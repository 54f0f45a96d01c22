import type { ActiveMachine, DeployRecord } from '../contract/index.js'
import { standingOf } from '../deploy/active.js'
import { currentHost, type Host } from '../deploy/host.js'
import type { plannedChanges } from '../deploy/planGuard.js'
import { type FleetState, INSTANCE_TYPE, parseInstanceAddress } from '../deploy/slots.js'
import { findEntry, type Registry } from '../registry/registry.js'

export type DriftKind = 'missing' | 'down' | 'orphan' | 'unmanaged' | 'changed' | 'replaced' | 'stack'

/** One difference from the registry, the stack or the last deploy, and the command that resolves it. */
export interface Difference {
  kind: DriftKind
  /** The instance id, or the address of a resource that belongs to no single host. */
  subject: string
  what: string
  fix: string
}

export interface DriftFacts {
  registry: Registry
  hosts: readonly Host[]
  /** The active machines, by id. */
  active: ReadonlyMap<string, ActiveMachine>
  state: FleetState
  planned: ReturnType<typeof plannedChanges>
  /** The deploys' records, newest first. */
  records: readonly DeployRecord[]
}

const DEPLOYED = new Set(['created', 'replaced', 'rolled-back'])

/** What the newest successful deploy of a host left: `{ami, instanceId}` by registry id. */
function lastDeployed(records: readonly DeployRecord[]) {
  const last = new Map<string, { requestId: string; ami: string | null; instanceId: string | null }>()
  for (const { requestId, hosts } of records) {
    for (const { id, outcome, ami, instanceId } of hosts) {
      if (DEPLOYED.has(outcome) && !last.has(id)) last.set(id, { requestId, ami, instanceId })
    }
  }
  return last
}

/**
 * Every difference: registered instances in the registry's order, then what is not registered, in EC2 or only in the state, then
 * the stack's resources.
 */
export function findDrift(facts: DriftFacts): Difference[] {
  const { registry, hosts, state, planned } = facts
  const deployed = lastDeployed(facts.records)
  const differences: Difference[] = []
  const idOf = (address: string) => parseInstanceAddress(address)?.id ?? /\["([^"]+)"\]$/.exec(address)?.[1]
  // The guard refuses the deploy of one host while the stack would change what belongs to another one.
  const changed = planned
    .filter(({ address, action }) => action !== 'create' && !address.startsWith(`${INSTANCE_TYPE}.`))
    .flatMap(({ address }) => findEntry(registry, idOf(address) ?? '')?.id ?? [])
  const deploy = (id: string) => `clawctl fleet deploy ${changed.every((one) => one === id) ? id : 'all'}`
  const live = hosts.filter((host) => host.state !== 'shutting-down')
  for (const entry of registry) {
    const own = hosts.filter(({ id }) => id === entry.id)
    const standing = standingOf(own, facts.active.get(entry.id) ?? null)
    const host = standing.holder ?? currentHost(own, entry.id)
    const add = (kind: DriftKind, what: string, fix = deploy(entry.id)) =>
      differences.push({ kind, subject: entry.id, what, fix })
    if (!host) {
      add('missing', 'is in the registry but does not run')
      continue
    }
    const recover = `clawctl fleet recover ${entry.id}`
    if (standing.suspended) add('down', 'has no active machine: a handover was interrupted', recover)
    if (standing.stopped) add('down', `has the active machine ${host.instanceId}, which is ${host.state}`, recover)
    if (host.instanceType !== entry.instanceType) {
      add('changed', `runs as ${host.instanceType}; the registry has ${entry.instanceType}`)
    }
    const last = deployed.get(entry.id)
    if (last && (last.ami !== host.ami || last.instanceId !== host.instanceId)) {
      const was = `${last.instanceId ?? 'an instance'} with ${last.ami ?? 'an AMI'}`
      add('replaced', `runs ${host.instanceId} with ${host.ami}; the last deploy (${last.requestId}) left ${was}`)
    }
  }
  for (const host of live) {
    const placed = state.get(host.id) ?? []
    if (placed.some(({ instanceId }) => instanceId === null || instanceId === host.instanceId)) {
      if (findEntry(registry, host.id)) continue
      const fix = `clawctl fleet deploy --retire ${host.id}`
      differences.push({
        kind: 'orphan',
        subject: host.id,
        what: `runs ${host.instanceId} but is not in the registry`,
        fix,
      })
    } else {
      const what = `runs ${host.instanceId}, which is not in the OpenTofu state`
      const fix = `clawctl fleet recover ${host.id}`
      differences.push({ kind: 'unmanaged', subject: host.id, what, fix })
    }
  }
  const missing = new Set(differences.filter(({ kind }) => kind === 'missing').map(({ subject }) => subject))
  for (const id of state.keys()) {
    if (findEntry(registry, id) || live.some((host) => host.id === id)) continue
    missing.add(id)
    const what = 'is not in the registry and does not run, but the OpenTofu state has its role'
    differences.push({ kind: 'orphan', subject: id, what, fix: `clawctl fleet deploy --retire ${id}` })
  }
  for (const { address, action } of planned) {
    const id = idOf(address)
    // A missing host is reported once, not with its four resources.
    if (id !== undefined && missing.has(id) && address.startsWith(`${INSTANCE_TYPE}.`)) continue
    const what = `a plan would ${action} it`
    const one = (id: string) => (findEntry(registry, id) ? deploy(id) : `clawctl fleet deploy --retire ${id}`)
    const fix = id === undefined ? 'clawctl fleet deploy all' : one(id)
    differences.push({ kind: 'stack', subject: address, what, fix })
  }
  return differences
}

export const driftLine = ({ subject, what }: Difference) => `${subject} ${what}.`

/** Identifies the issue, even if people edit its title or labels. */
export const DRIFT_ISSUE_TAG = '<!-- clawctl fleet drift -->'
export const DRIFT_LABEL = 'fleet-drift'
export const DRIFT_TITLE = 'The fleet is not as declared'

/** The issue's text. The same differences give the same text. */
export function renderDrift(differences: readonly Difference[]): string {
  const rows = differences.map(({ subject, what, fix }) => `| \`${subject}\` | ${what} | \`${fix}\` |`)
  return [
    DRIFT_ISSUE_TAG,
    '`clawctl fleet drift` compares the fleet with the registry, the stack and the last deploy. It updates this text, and',
    'closes the issue when there is no difference.',
    '',
    '| What | How it differs | What to do |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}
