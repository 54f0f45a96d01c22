import type { Host } from '../../domain/deploy/host.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Role } from './picture.js'
import type { HostResult } from './ports.js'
import { transferRole, wake } from './transfer.js'
import { clauses, destroyMachine, gate, type Work } from './work.js'

/**
 * After a handover that failed: the machine that served before gets the role back, has to pass its gate, and the
 * candidate goes.
 * @param error why it failed
 */
export async function giveBack(
  work: Work,
  { home, candidate, role }: { home: Host; candidate: Host; role: Role },
  error: ClawctlError,
): Promise<HostResult> {
  const { turn, rollout, ports } = work
  const say = clauses(work, 'rollback')
  let serving = candidate
  await turn.at('rollback', `${error.message} ${home.instanceId} takes over again`)
  try {
    await wake(home.instanceId, say, ports)
    const transfer = { id: turn.id, from: candidate, to: home, home, deploy: rollout.requestId }
    await transferRole(role, transfer, say, ports)
    serving = home
    const verdict = await gate(work, home.instanceId, 'active', 'rollback')
    if (!verdict.passed)
      throw new ClawctlError('HEALTH_FAILED', `${home.instanceId} is not healthy: ${verdict.reason}.`)
  } catch (cause) {
    const second = asClawctlError(cause)
    const host = endOn(serving, 'failed')
    if (second.code === 'CANCELLED') {
      const why = `${second.message} ${home.instanceId} had not yet been seen to serve ${turn.id} again.`
      const hint = `Deploy ${turn.id} again: it goes on from there.`
      return { ok: false, host, error: new ClawctlError('CANCELLED', why, { hint, cause: second }) }
    }
    return {
      ok: false,
      host,
      error: new ClawctlError(
        'ROLLBACK_FAILED',
        `${error.message} Going back to ${home.ami} failed as well: ${second.message}`,
        { hint: `Look at \`clawctl fleet show ${turn.id}\`, then deploy it with an AMI that is known to work.`, cause },
      ),
    }
  }
  const left = await removed(work, candidate)
  return {
    ok: false,
    host: endOn(home, 'rolled-back'),
    error: new ClawctlError(
      'ROLLED_BACK',
      `${error.message} ${home.instanceId} serves again with ${home.ami}.${left}`,
      {
        hint: 'Look at the image before the next deploy.',
        cause: error,
      },
    ),
  }
}

export const endOn = (host: Host, outcome: 'kept' | 'failed' | 'rolled-back' | 'replaced' | 'created') => ({
  outcome,
  ami: host.ami,
  instanceId: host.instanceId,
})

/** Removes a candidate that is not wanted. What can't be removed is said, as the end of a message: the next deploy clears it away. */
export async function removed(work: Work, candidate: Pick<Host, 'instanceId' | 'ami'>): Promise<string> {
  try {
    await destroyMachine(work, candidate)
    return ''
  } catch (error) {
    return ` The candidate ${candidate.instanceId} could not be destroyed: ${asClawctlError(error).message} The next deploy of ${work.turn.id} does it.`
  }
}
