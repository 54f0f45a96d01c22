import type { ActiveMachine } from '../contract/index.js'
import { NOBODY, type Standing } from './active.js'
import type { Host } from './host.js'
import type { Placed } from './slots.js'

/** One thing that EC2, IAM, state, locks and records disagree about. */
export interface Finding {
  kind: 'lock' | 'state' | 'tainted' | 'role' | 'machine' | 'object' | 'record'
  /** The instance id, or the address, key or id of what it is about. */
  subject: string
  what: string
  /** What mends it: what the command does, or what a person does. */
  fix: string
  /** No person has to decide. */
  automatic: boolean
  done: boolean
}
/** Before it is said whether anything is to be changed. */
export type Found = Omit<Finding, 'done'>

export interface Recovery {
  findings: Finding[]
}

export const settled = (found: readonly Found[], planOnly: boolean): Finding[] =>
  found.map((one) => ({ ...one, done: one.automatic && !planOnly }))

export function findingLine({ subject, what, fix, automatic, done }: Finding): string {
  if (done) return `${subject} ${what}: ${fix}.`
  return `${subject} ${what}. ${automatic ? 'Without --plan-only' : 'To do'}: ${fix}.`
}

/** What is to be done about one id's machines. */
export interface MachineWork {
  findings: Found[]
  /** Never handed to: destroyed. */
  destroy: Host[]
  /** Serves, and is to be brought into the state. */
  adopt: Host | null
}

/**
 * What EC2, the state and the object of the active machine disagree about for one id. Only a machine that a deploy made,
 * and that nobody was to act on, is destroyed, and none while the one that served does not: where two may act, or the last
 * machine would go, a person decides.
 */
export function findMachines(
  id: string,
  facts: { standing: Standing; active: ActiveMachine | null; placed: readonly Placed[]; gone: ReadonlySet<string> },
): MachineWork {
  const { standing, active, placed, gone } = facts
  const { holder, predecessor, leftovers, suspended, stopped } = standing
  // What served is lost: what a deploy left is all that there is. Where nothing ever served, nothing is lost with it.
  const isLost = holder === null && active !== null && (active.instanceId !== NOBODY || active.from != null)
  const findings: Found[] = []
  const add = (kind: Finding['kind'], what: string, fix: string, automatic = false) =>
    void findings.push({ kind, subject: id, what, fix, automatic })
  const isPlaced = ({ instanceId }: Host) => placed.some((machine) => machine.instanceId === instanceId)

  if (suspended && holder)
    add('role', 'has nobody that may act', `the role is given back to ${holder.instanceId}`, true)
  if (stopped && holder)
    add(
      'machine',
      `does not run: EC2 has ${holder.instanceId}, which has the role, as ${holder.state}`,
      'it is started',
      true,
    )
  if (predecessor)
    add(
      'machine',
      `was handed over to ${holder?.instanceId}, and ${predecessor.instanceId} is still there`,
      `clawctl fleet deploy ${id}`,
    )
  const destroy: Host[] = []
  for (const leftover of leftovers) {
    if (isLost) {
      const what = `has lost the machine that served, and ${leftover.instanceId}, which was never handed to, is all that it has`
      add('machine', what, `clawctl fleet deploy ${id}`)
    } else if (active !== null) {
      destroy.push(leftover)
      add('machine', `has ${leftover.instanceId}, which was never handed to`, 'it is destroyed', true)
    } else if (!isPlaced(leftover)) {
      const what = `runs as ${holder?.instanceId} and as ${leftover.instanceId}, and no deploy named either`
      add('machine', what, `clawctl fleet recover ${id} --terminate ${leftover.instanceId}`)
    }
  }
  const adopt = holder && !isPlaced(holder) ? holder : null
  if (adopt) add('machine', `runs ${adopt.instanceId}, which the state does not know`, 'it is imported', true)
  for (const { instanceId } of placed) {
    if (instanceId !== null && gone.has(instanceId))
      add('machine', `has ${instanceId} in the state, which EC2 does not have any more`, 'the state forgets it', true)
  }
  return { findings, destroy, adopt }
}
