import type { Deploy, DeployHost, Fleet } from '../contract/index.js'

/** Outcomes after which a host was healthy with the AMI of its entry. */
const HEALTHY = new Set<DeployHost['outcome']>(['created', 'replaced', 'rolled-back', 'kept'])

/**
 * The AMI that each instance had before its current one, by id: the newest that did not fail by its records. Null if no
 * record has one.
 * @param deploys newest first
 */
export function rollbackAmis(fleet: Fleet, deploys: readonly Deploy[], target: string): Map<string, string | null> {
  const instances = fleet.instances.filter(({ id, state }) => state !== 'orphan' && (target === 'all' || id === target))
  return new Map(instances.map(({ id, ami }) => [id, amiBefore(entriesOf(deploys, id), ami, fleet.failedAmi?.id)]))
}

/** The entries of one host in the deploys' records, in their order. */
export const entriesOf = (deploys: readonly Pick<Deploy, 'hosts'>[], id: string): DeployHost[] =>
  deploys.flatMap(({ hosts }) => hosts.filter((host) => host.id === id))

/**
 * The newest AMI, other than the current one, that a host ran and that did not fail by its records.
 * @param entries of one host, newest first
 * @param marked an AMI that is tagged as failed
 */
export function amiBefore(entries: readonly DeployHost[], current: string | null, marked?: string): string | null {
  const failed = failedAmis(entries)
  const known = entries.flatMap(({ outcome, ami, previousAmi }) => [HEALTHY.has(outcome) ? ami : null, previousAmi])
  return known.find((ami) => ami !== null && ami !== current && ami !== marked && !failed.has(ami)) ?? null
}

/** AMIs that a host failed with the last time it was deployed with them. @param entries of one host, newest first */
function failedAmis(entries: readonly DeployHost[]): Set<string> {
  const verdicts = new Map<string, 'healthy' | 'failed'>()
  for (const { outcome, ami, evidence } of entries) {
    const verdict = HEALTHY.has(outcome) ? 'healthy' : outcome === 'failed' ? 'failed' : null
    if (ami && verdict && !verdicts.has(ami)) verdicts.set(ami, verdict)
    if (evidence && !verdicts.has(evidence.ami)) verdicts.set(evidence.ami, 'failed')
  }
  return new Set([...verdicts].flatMap(([ami, verdict]) => (verdict === 'failed' ? [ami] : [])))
}
