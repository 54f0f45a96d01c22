import ms from 'ms'
import type { Deploy, DeployDetail } from '../../domain/contract/index.js'
import { isOver, withoutSteps } from '../../domain/deploy/run.js'
import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { isOutage, poll } from '../poll.js'
import type { Clock, Progress } from '../ports.js'
import { HostList } from './hostSteps.js'

const MAX_POLL_MS = 5_000
/** How long the connection may be lost. */
const MAX_OUTAGE_MS = 5 * 60_000

export interface FollowOptions {
  requestId: string
  timeoutMs: number
  /** GitHub lists a new run after some seconds; within this time NOT_FOUND is retried. */
  listedWithinMs?: number
}

const STEP_MARKS: Record<string, string> = { success: '✔', failure: '✖', cancelled: '■', skipped: '-' }

/**
 * Polls until the deploy is over. Shows the hosts with their steps, and each step of the run when it ends. An outage is
 * retried for some minutes, because the deploy goes on meanwhile.
 * @throws ClawctlError TIMED_OUT, UPSTREAM, CANCELLED, or the request's own error; the deploy as it was last seen is in
 * `partial.deploy`
 */
export async function followDeploy(
  ports: { ask(): Promise<DeployDetail>; clock: Clock; progress: Progress },
  { requestId, timeoutMs, listedWithinMs = 0 }: FollowOptions,
): Promise<DeployDetail> {
  const { clock, progress } = ports
  const started = clock.now().getTime()
  const reported = new Set<string>()
  const report = (text: string) => {
    if (reported.has(text)) return
    reported.add(text)
    progress.note(text)
  }
  let last: DeployDetail | undefined
  const isNotListedYet = ({ code }: ClawctlError) =>
    code === 'NOT_FOUND' && !last && clock.now().getTime() - started < listedWithinMs
  const isPassing = (error: ClawctlError) => {
    if (isNotListedYet(error)) return true
    if (isOutage(error)) report(`the deploy could not be read, trying again: ${error.message}`)
    return isOutage(error)
  }
  const hint = `The deploy goes on: \`clawctl fleet follow ${requestId}\` follows it again.`
  const ended = (error: ClawctlError) => withPartial(error, last ? { deploy: withoutSteps(last) } : {}, hint)
  const shown = new HostList(progress)
  const limits = { clock, timeoutMs, longestMs: MAX_POLL_MS, outageMs: MAX_OUTAGE_MS, isPassing }
  try {
    const result = await poll<DeployDetail>(limits, async () => {
      last = await ports.ask()
      reportNews(last, report)
      await shown.update(last.hosts)
      return isOver(last) ? { done: last } : { wait: `it was ${last.status}.` }
    })
    if ('done' in result) return result.done
    const waited = ms(timeoutMs, { long: true })
    throw ended(new ClawctlError('TIMED_OUT', `The deploy was not over after ${waited}: ${result.timedOut}`))
  } catch (error) {
    const known = asClawctlError(error)
    if (known.code === 'CANCELLED') throw ended(new ClawctlError('CANCELLED', 'You stopped following the deploy.'))
    if (isOutage(known)) throw ended(known)
    throw known
  } finally {
    await shown.close()
  }
}

/** @throws ClawctlError with the code of the deploy's outcome, and the deploy in `partial.deploy` */
export function successOrThrow(seen: Deploy | DeployDetail): Deploy {
  const deploy = 'steps' in seen ? withoutSteps(seen) : seen
  if (deploy.error === null) return deploy
  const { code, message, hint } = deploy.error
  throw new ClawctlError(code, message, { hint, partial: { deploy } })
}

function reportNews(deploy: DeployDetail, report: (text: string) => void): void {
  if (deploy.waitsFor && deploy.status === 'queued') {
    const { target, requestId } = deploy.waitsFor
    const place = deploy.queuePosition === null ? '' : `, number ${deploy.queuePosition} in the queue`
    report(`queued behind the deploy of ${target} (${requestId})${place}`)
  }
  for (const step of deploy.steps) {
    if (step.status === 'completed') report(`${STEP_MARKS[step.conclusion ?? ''] ?? '?'} ${step.job}: ${step.name}`)
  }
}
