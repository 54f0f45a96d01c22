import { type Deploy, REQUEST_ID_PATTERN } from '../../domain/contract/index.js'
import { HISTORY_LOOKBACK } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { nearest } from '../../domain/nearest.js'
import { successOrThrow } from './followDeploy.js'
import type { Plane } from './plane.js'

/** For a deploy that was requested a moment ago; short, because a mistyped id also waits for it. */
const LISTED_WITHIN_MS = 3_000

/** A shorter id may be the beginning of one, which is looked up first. */
const WHOLE_ID = /^(?:\d{10,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/
const MIN_LENGTH = 4

/**
 * Follows a deploy by its request id, the first characters of it, or its run's id, and returns its outcome.
 * @throws ClawctlError with the outcome's code, NOT_FOUND with the nearest id, or what followDeploy throws
 */
export async function followRequest(
  text: string,
  timeoutMs: number,
  plane: Pick<Plane, 'follow' | 'deploys'>,
): Promise<Deploy> {
  const requestId = WHOLE_ID.test(text) ? text : await wholeId(text, plane)
  try {
    if (!REQUEST_ID_PATTERN.test(requestId)) throw unknown(requestId)
    return successOrThrow(await plane.follow({ requestId, timeoutMs, listedWithinMs: LISTED_WITHIN_MS }))
  } catch (error) {
    if (!(error instanceof ClawctlError) || error.code !== 'NOT_FOUND') throw error
    const ids = await idsOf(plane)
    throw unknown(requestId, nearest(requestId, ids))
  }
}

const idsOf = (plane: Pick<Plane, 'deploys'>): Promise<string[]> =>
  plane.deploys(HISTORY_LOOKBACK).then(
    (deploys) => deploys.map((deploy) => deploy.requestId),
    () => [],
  )

/** The only id that begins with the text, as in git; the text itself if there is none. */
async function wholeId(text: string, plane: Pick<Plane, 'deploys'>): Promise<string> {
  if (text.length < MIN_LENGTH) return text
  const ids = await idsOf(plane)
  if (ids.includes(text)) return text
  const begun = ids.filter((id) => id.startsWith(text))
  if (begun.length < 2) return begun[0] ?? text
  throw new ClawctlError('NOT_FOUND', `${begun.length} deploys have a request id that begins with ${text}.`, {
    hint: `Type more of it: ${begun.slice(0, 5).join(', ')}.`,
  })
}

function unknown(requestId: string, near: string | null = null): ClawctlError {
  const shown = JSON.stringify(requestId.slice(0, 64))
  return new ClawctlError('NOT_FOUND', `There is no deploy with the request id ${shown}.`, {
    hint: `${near ? `Did you mean ${near}? ` : ''}See \`clawctl fleet history\` for the ids.`,
  })
}
