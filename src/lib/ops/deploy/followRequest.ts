import { type Deploy, REQUEST_ID_PATTERN } from '../../domain/contract/index.js'
import { HISTORY_LOOKBACK } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { nearest } from '../../domain/nearest.js'
import { successOrThrow } from './followDeploy.js'
import type { Plane } from './plane.js'

/** For somebody who follows what was asked a moment ago; a mistyped id is not answered much later for it. */
const LISTED_WITHIN_MS = 3_000

/**
 * Follows a deploy that was asked for before, by its request id or its run's id, and ends as it ends.
 * @throws ClawctlError with the outcome's code, NOT_FOUND with the id that was probably meant, or what followDeploy throws
 */
export async function followRequest(
  requestId: string,
  timeoutMs: number,
  plane: Pick<Plane, 'follow' | 'deploys'>,
): Promise<Deploy> {
  try {
    if (!REQUEST_ID_PATTERN.test(requestId)) throw unknown(requestId)
    return successOrThrow(await plane.follow({ requestId, timeoutMs, listedWithinMs: LISTED_WITHIN_MS }))
  } catch (error) {
    if (!(error instanceof ClawctlError) || error.code !== 'NOT_FOUND') throw error
    const deploys = await plane.deploys(HISTORY_LOOKBACK).catch(() => [])
    throw unknown(requestId, meant(requestId, deploys))
  }
}

/** Ids are long: the first few characters of one are as good as a typing mistake. */
function meant(text: string, deploys: readonly Deploy[]): string | null {
  const ids = deploys.map((deploy) => deploy.requestId)
  const begun = text.length >= 4 ? ids.filter((id) => id.startsWith(text)) : []
  return begun.length === 1 ? (begun[0] ?? null) : nearest(text, ids)
}

function unknown(requestId: string, near: string | null = null): ClawctlError {
  const shown = JSON.stringify(requestId.slice(0, 64))
  return new ClawctlError('NOT_FOUND', `There is no deploy with the request id ${shown}.`, {
    hint: `${near ? `Did you mean ${near}? ` : ''}See \`clawctl fleet history\` for the ids.`,
  })
}
