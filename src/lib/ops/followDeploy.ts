import ms from 'ms'
import type { DeployDetail } from '../domain/contract.js'
import { asClawctlError, ClawctlError } from '../domain/errors.js'
import { isOver } from '../domain/run.js'
import type { Clock, Progress } from './ports.js'

const FIRST_POLL_MS = 500
/** A maintainer on a plane pays by the byte; a deploy takes minutes. */
const LONGEST_POLL_MS = 5_000

/** GitHub lists a run some seconds after it started it. */
const LISTED_AFTER_MS = 30_000

const STEP_MARKS: Record<string, string> = { success: '✔', failure: '✖', cancelled: '■', skipped: '-' }

/**
 * Asks until the deploy is over and tells each step as it ends. The verdict is the run's own outcome. A service that
 * can't be reached for a while is asked again until the time is up: losing sight of a deploy does not end it.
 * @throws ClawctlError TIMED_OUT, or what is wrong with the request itself
 */
export async function followDeploy(
  ports: { ask(): Promise<DeployDetail>; clock: Clock; progress: Progress },
  timeoutMs: number,
  options: { justAsked: boolean } = { justAsked: false },
): Promise<DeployDetail> {
  const { clock, progress } = ports
  const started = clock.now().getTime()
  const deadline = started + timeoutMs
  const isPassing = ({ code }: ClawctlError) =>
    code === 'UPSTREAM' ||
    code === 'RATE_LIMITED' ||
    (code === 'NOT_FOUND' && options.justAsked && clock.now().getTime() - started < LISTED_AFTER_MS)
  const told = new Set<string>()
  const tell = (text: string) => {
    if (told.has(text)) return
    told.add(text)
    progress.note(text)
  }
  let poll = FIRST_POLL_MS
  let lost: ClawctlError | null = null
  for (;;) {
    try {
      const deploy = await ports.ask()
      lost = null
      if (deploy.waitsFor && deploy.status === 'queued') {
        tell(`queued behind the deploy of ${deploy.waitsFor.target} (${deploy.waitsFor.requestId})`)
      }
      for (const step of deploy.steps) {
        if (step.status === 'completed') tell(`${STEP_MARKS[step.conclusion ?? ''] ?? '?'} ${step.job}: ${step.name}`)
      }
      for (const host of deploy.hosts) {
        if (host.outcome !== 'pending') tell(`${host.id}: ${host.outcome}`)
      }
      if (isOver(deploy)) return deploy
    } catch (error) {
      const known = asClawctlError(error)
      if (!isPassing(known)) throw known
      lost = known
      tell(`lost sight of the deploy, asking again: ${known.message}`)
    }
    const left = deadline - clock.now().getTime()
    if (left <= 0) {
      throw new ClawctlError(
        'TIMED_OUT',
        `The deploy was not over after ${ms(timeoutMs, { long: true })}${lost ? `; the last answer: ${lost.message}` : ''}.`,
        { hint: 'It goes on by itself: see `clawctl fleet history`.' },
      )
    }
    await clock.sleep(Math.min(poll, left))
    poll = Math.min(poll * 1.5, LONGEST_POLL_MS)
  }
}
