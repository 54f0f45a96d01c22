import { execute } from './execute.js'
import { condition, renderAll, renderBoolean, renderNumber } from './expressions.js'
import { type Frame, type JobRuntime, renderTitle, type StepResult, stepScope } from './frame.js'
import type { Conclusion } from './state.js'
import { type Step, titleOf } from './stepModel.js'

/**
 * Runs one step, or skips it. `onStart` is called before it runs. A failed step does not reject.
 */
export async function runStep(
  job: JobRuntime,
  frame: Frame,
  step: Step,
  onStart: (title: string) => void = () => {},
): Promise<StepResult> {
  const outputs: Record<string, string> = {}
  const done = (outcome: Conclusion, conclusion: Conclusion = outcome): StepResult => {
    const result = { outputs, outcome, conclusion }
    if (step.id !== null) frame.results[step.id] = result
    if (conclusion === 'failure') frame.failed = true
    return result
  }

  let env = { ...job.env, ...frame.env }
  let runs: boolean
  try {
    env = { ...env, ...renderAll(step.env, stepScope(job, frame, env)) }
    runs = condition(step.if, stepScope(job, frame, env))
  } catch (error) {
    onStart(titleOf(step))
    job.log.error((error as Error).message)
    return done('failure')
  }
  if (!runs) return done('skipped')
  onStart(renderTitle(step, stepScope(job, frame, env)))

  const stop = new AbortController()
  const stopsFor: { timeout: number | null } = { timeout: null }
  const onCancel = () => {
    // The running step goes on if its condition still holds, for example always().
    try {
      if (condition(step.if, stepScope(job, frame, env))) return
    } catch {
      // a condition that cannot be evaluated does not hold
    }
    stop.abort()
  }
  const onForce = () => stop.abort()
  if (!job.cancel.aborted) job.cancel.addEventListener('abort', onCancel)
  if (job.force.aborted) stop.abort()
  job.force.addEventListener('abort', onForce)
  let timer: NodeJS.Timeout | undefined
  let ok = false
  try {
    const minutes = renderNumber(step.timeoutMinutes, stepScope(job, frame, env))
    if (minutes !== null && minutes > 0) {
      timer = setTimeout(() => {
        stopsFor.timeout = minutes
        stop.abort()
      }, minutes * 60_000)
    }
    ok = await execute({ job, frame, step, env, outputs, stop: stop.signal, runStep })
  } catch (error) {
    if (!job.lost.aborted) job.log.error((error as Error).message)
  } finally {
    clearTimeout(timer)
    job.cancel.removeEventListener('abort', onCancel)
    job.force.removeEventListener('abort', onForce)
  }

  if (stopsFor.timeout !== null) {
    job.log.error(
      `The action '${renderTitle(step, stepScope(job, frame, env))}' has timed out after ${stopsFor.timeout} minutes.`,
    )
    ok = false
  } else if (stop.signal.aborted) {
    job.log.error('The operation was canceled.')
    return done('cancelled')
  }
  if (ok) return done('success')
  let goesOn = false
  try {
    goesOn = renderBoolean(step.continueOnError, stepScope(job, frame, env))
  } catch (error) {
    job.log.error((error as Error).message)
  }
  return done('failure', goesOn ? 'success' : 'failure')
}
