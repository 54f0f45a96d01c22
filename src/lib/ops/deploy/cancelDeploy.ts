import * as z from 'zod/mini'
import type { Deploy } from '../../domain/contract/index.js'
import { cancelKey, isOver, withoutSteps } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { parseAs } from '../../domain/json.js'
import type { ObjectStore, Runs } from '../ports.js'
import { type DeploysPorts, getDeploy } from './deploys.js'

const cancelSchema = z.object({ by: z.string(), at: z.string() })

/**
 * Cancels a queued deploy, and stops a running one after its plan, before its next handover, or before its next host.
 * May be repeated. A deploy that is over is not changed.
 * @param by the sender, in words
 * @throws ClawctlError NOT_FOUND, NOT_CONFIGURED without a bucket
 */
export async function cancelDeploy(
  requestId: string,
  by: string,
  ports: DeploysPorts & { runs: Pick<Runs, 'cancel'> },
): Promise<Deploy> {
  const { store, runs, clock } = ports
  const found = await getDeploy(ports, requestId)
  const deploy = withoutSteps(found.deploy)
  if (isOver(deploy)) return deploy
  if (!store) {
    throw new ClawctlError('NOT_CONFIGURED', "No bucket is configured, so a deploy can't be cancelled.", {
      hint: 'Set S3_BUCKET, or cancel the run on GitHub.',
    })
  }
  // Written first: a run that starts now reads it before it changes anything.
  await store.put(cancelKey(deploy.requestId), JSON.stringify({ by, at: clock.now().toISOString() }))
  if (deploy.status === 'queued' && deploy.runId !== null) await runs.cancel(deploy.runId)
  return deploy
}

/**
 * @param where a clause for the message: "before its next host"
 * @throws ClawctlError CANCELLED if this deploy was cancelled
 */
export async function refuseCancelled(requestId: string, store: ObjectStore, where: string): Promise<void> {
  const object = await store.get(cancelKey(requestId))
  if (!object) return
  const cancelled = parseAs(cancelSchema, object.text)
  const by = cancelled ? ` by ${cancelled.by}` : ''
  throw new ClawctlError('CANCELLED', `The deploy was cancelled${by}: it stopped ${where}.`, {
    hint: 'Check `clawctl fleet status`, then deploy again to go on.',
  })
}
