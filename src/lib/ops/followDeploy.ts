import ms from 'ms'
import type { DeployDetail } from '../domain/contract.js'
import { ClawctlError } from '../domain/errors.js'
import { isOver } from '../domain/run.js'
import { isOutage, poll } from './poll.js'
import type { Clock, Progress } from './ports.js'

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
  const told = new Set<string>()
  const tell = (text: string) => {
    if (told.has(text)) return
    told.add(text)
    progress.note(text)
  }
  const isNotListedYet = ({ code }: ClawctlError) =>
    code === 'NOT_FOUND' && options.justAsked && clock.now().getTime() - started < LISTED_AFTER_MS
  const isPassing = (error: ClawctlError) => {
    if (isNotListedYet(error)) return true
    if (isOutage(error)) tell(`lost sight of the deploy, asking again: ${error.message}`)
    return isOutage(error)
  }
  const result = await poll<DeployDetail>({ clock, timeoutMs, longestMs: LONGEST_POLL_MS, isPassing }, async () => {
    const deploy = await ports.ask()
    tellNews(deploy, tell)
    return isOver(deploy) ? { done: deploy } : { wait: `it was ${deploy.status}.` }
  })
  if ('done' in result) return result.done
  throw new ClawctlError(
    'TIMED_OUT',
    `The deploy was not over after ${ms(timeoutMs, { long: true })}: ${result.timedOut}`,
    {
      hint: 'It goes on by itself: see `clawctl fleet history`.',
    },
  )
}

function tellNews(deploy: DeployDetail, tell: (text: string) => void): void {
  if (deploy.waitsFor && deploy.status === 'queued') {
    tell(`queued behind the deploy of ${deploy.waitsFor.target} (${deploy.waitsFor.requestId})`)
  }
  for (const step of deploy.steps) {
    if (step.status === 'completed') tell(`${STEP_MARKS[step.conclusion ?? ''] ?? '?'} ${step.job}: ${step.name}`)
  }
  for (const host of deploy.hosts) {
    if (host.outcome !== 'pending') tell(`${host.id}: ${host.outcome}`)
  }
}
