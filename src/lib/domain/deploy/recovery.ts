import type { ActiveMachine } from '../contract/index.js'
import { NO_MACHINE, type Standing } from './active.js'
import type { Host } from './host.js'
import type { Placed } from './slots.js'

/** One difference between EC2, IAM, state, locks and records. */
export interface Finding {
  kind: 'lock' | 'state' | 'tainted' | 'role' | 'machine' | 'object' | 'record'
  /** The instance id, or the address, key or id of the object. */
  subject: string
  what: string
  /** The correction: what the command does, or what a person must do. */
  fix: string
  /** The command corrects it without a decision. */
  automatic: boolean
  done: boolean
}
export type Found = Omit<Finding, 'done'>

export interface Recovery {
  findings: Finding[]
}

export const settled = (found: readonly Found[], planOnly: boolean): Finding[] =>
  found.map((one) => ({ ...one, done: one.automatic && !planOnly }))

/** Kinds that are found and corrected in one step. The others are found first, so a failure may leave them as they are. */
const AT_ONCE: readonly Finding['kind'][] = ['lock', 'state', 'record']

/** The findings of a recovery that failed: what may not be corrected counts as not corrected. */
export const unsettled = (found: readonly Found[], planOnly: boolean): Finding[] =>
  settled(found, planOnly).map((one) => ({ ...one, done: one.done && AT_ONCE.includes(one.kind) }))

export function findingLine({ subject, what, fix, automatic, done }: Finding): string {
  if (done) return `${subject} ${what}: ${fix}.`
  return `${subject} ${what}. ${automatic ? 'Without --plan-only' : 'To do'}: ${fix}.`
}

/** The corrections for one id's machines. */
export interface MachineWork {
  findings: Found[]
  /** Candidates that never became active. */
  destroy: Host[]
  /** The serving machine, if it is missing in the state. */
  adopt: Host | null
}

/**
 * The differences between EC2, the state and active/<id>.json for one id. Only candidates that never became active are
 * destroyed, after the holder runs; if two machines may be active, or the candidate is the only machine, a person decides.
 */
export function findMachines(
  id: string,
  facts: { standing: Standing; active: ActiveMachine | null; placed: readonly Placed[]; gone: ReadonlySet<string> },
): MachineWork {
  const { standing, active, placed, gone } = facts
  const { holder, predecessor, leftovers, suspended, stopped } = standing
  // EC2 has lost the machine that served: a candidate is the only machine of the id.
  const isLost = holder === null && active !== null && (active.instanceId !== NO_MACHINE || active.from != null)
  const findings: Found[] = []
  const add = (kind: Finding['kind'], what: string, fix: string, automatic = false) =>
    void findings.push({ kind, subject: id, what, fix, automatic })
  const isPlaced = ({ instanceId }: Host) => placed.some((machine) => machine.instanceId === instanceId)

  if (suspended && holder) add('role', 'has no active machine', `the role is given back to ${holder.instanceId}`, true)
  if (stopped && holder)
    add('machine', `has the active machine ${holder.instanceId}, which is ${holder.state}`, 'it is started', true)
  if (predecessor)
    add(
      'machine',
      `was handed over to ${holder?.instanceId}, but the old machine ${predecessor.instanceId} still exists`,
      `clawctl fleet deploy ${id}`,
    )
  const destroy: Host[] = []
  for (const leftover of leftovers) {
    if (isLost) {
      const what = `has lost its active machine, and has only the candidate ${leftover.instanceId}`
      add('machine', what, `clawctl fleet deploy ${id}`)
    } else if (active !== null) {
      destroy.push(leftover)
      add('machine', `has the candidate ${leftover.instanceId}, which never became active`, 'it is destroyed', true)
    } else if (!isPlaced(leftover)) {
      const what = `runs as ${holder?.instanceId} and as ${leftover.instanceId}, and no deploy named either of them`
      add('machine', what, `clawctl fleet recover ${id} --terminate ${leftover.instanceId}`)
    }
  }
  const adopt = holder && !isPlaced(holder) ? holder : null
  if (adopt) add('machine', `runs ${adopt.instanceId}, which is not in the state`, 'it is imported', true)
  for (const { instanceId } of placed) {
    if (instanceId !== null && gone.has(instanceId))
      add(
        'machine',
        `has ${instanceId} in the state, which no longer exists in EC2`,
        'it is removed from the state',
        true,
      )
  }
  return { findings, destroy, adopt }
}
