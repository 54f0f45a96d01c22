import type { Host } from '../../domain/deploy/host.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { clauseReporter, destroyMachine, gate, type HostContext } from './hostContext.js'
import type { Role } from './observation.js'
import type { HostResult } from './ports.js'
import { startMachine, transferRole } from './transfer.js'

/**
 * Rolls back a failed handover: the old machine gets the role back and must pass its gate; then the candidate is
 * destroyed.
 * @param error why the handover failed
 */
export async function rollBackHandover(
  context: HostContext,
  { home, candidate, role }: { home: Host; candidate: Host; role: Role },
  error: ClawctlError,
): Promise<HostResult> {
  const { turn, rollout, ports } = context
  const say = clauseReporter(context, 'rollback')
  let active = candidate
  await turn.at('rollback', `${error.message} ${home.instanceId} takes over again`)
  try {
    await startMachine(home.instanceId, say, ports)
    const transfer = { id: turn.id, from: candidate, to: home, home, deploy: rollout.requestId }
    await transferRole(role, transfer, say, ports)
    active = home
    const verdict = await gate(context, home.instanceId, 'active', 'rollback')
    if (!verdict.passed)
      throw new ClawctlError('HEALTH_FAILED', `${home.instanceId} is not healthy: ${verdict.reason}.`)
  } catch (cause) {
    const second = asClawctlError(cause)
    const host = hostEnd(active, 'failed')
    if (second.code === 'CANCELLED') {
      const why = `${second.message} ${home.instanceId} is not known to serve ${turn.id} again.`
      const hint = `Deploy ${turn.id} again: it goes on from there.`
      return { ok: false, host, error: new ClawctlError('CANCELLED', why, { hint, cause: second }) }
    }
    return {
      ok: false,
      host,
      error: new ClawctlError(
        'ROLLBACK_FAILED',
        `${error.message} The rollback to ${home.ami} failed as well: ${second.message}`,
        {
          hint: `Check \`clawctl fleet show ${turn.id}\`, then deploy it with an AMI that is known to work.`,
          cause,
        },
      ),
    }
  }
  const left = await destroyCandidate(context, candidate)
  return {
    ok: false,
    host: hostEnd(home, 'rolled-back'),
    error: new ClawctlError(
      'ROLLED_BACK',
      `${error.message} ${home.instanceId} serves again with ${home.ami}.${left}`,
      {
        hint: 'Check the image before the next deploy.',
        cause: error,
      },
    ),
  }
}

/** @param host null if there is none, or it is not known */
export const hostEnd = (host: Host | null, outcome: HostResult['host']['outcome']): HostResult['host'] => ({
  outcome,
  ami: host?.ami ?? null,
  instanceId: host?.instanceId ?? null,
})

/** Destroys the candidate. Returns a sentence for the message if that fails; the next deploy repeats it. */
export async function destroyCandidate(
  context: HostContext,
  candidate: Pick<Host, 'instanceId' | 'ami'>,
): Promise<string> {
  try {
    await destroyMachine(context, candidate)
    return ''
  } catch (error) {
    return ` The candidate ${candidate.instanceId} could not be destroyed: ${asClawctlError(error).message} The next deploy of ${context.turn.id} does it.`
  }
}
