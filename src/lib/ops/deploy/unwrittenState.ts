import { judgeUnwritten, parseStateHead } from '../../domain/deploy/stateLock.js'
import { asClawctlError } from '../../domain/errors.js'
import { FLEET_STATE_KEY } from '../../domain/paths.js'
import type { HostDeployPorts } from './ports.js'

/** Where a state is kept that OpenTofu could not write. The bucket encrypts it like the state itself. */
export const UNWRITTEN_KEY = `${FLEET_STATE_KEY}.errored`

type Ports = Pick<HostDeployPorts, 'tofu' | 'store'>

/**
 * Stores what an earlier apply could not store, kept in the bucket or left in the stack's folder, where it follows what is
 * stored now.
 * @returns what was found and done, one sentence each
 */
export async function settleUnwritten({ tofu, store }: Ports, look?: { only: true }): Promise<string[]> {
  const [kept, left] = await Promise.all([store.get(UNWRITTEN_KEY), tofu.unwritten()])
  const said: string[] = []
  for (const { where, text, drop } of [
    { where: UNWRITTEN_KEY, text: kept?.text, drop: () => store.delete(UNWRITTEN_KEY) },
    { where: left?.file ?? '', text: left?.text, drop: () => tofu.dropUnwritten() },
  ]) {
    if (text === undefined) continue
    const verdict = judgeUnwritten(parseStateHead(text), await tofu.head())
    const found = `${where} holds a state that an apply could not store`
    if (verdict === 'foreign') {
      said.push(`${found}, and it is no version of the one that is stored: it is left alone.`)
      continue
    }
    if (look) {
      said.push(`${found}.`)
      continue
    }
    if (verdict === 'push') await tofu.push(text)
    await drop()
    said.push(`${found}: ${verdict === 'push' ? 'it was stored' : 'a later one is stored, so it was removed'}.`)
  }
  return said
}

/**
 * After an apply that could not store its state: stores it where that is possible again, else keeps it in the bucket.
 * @returns what became of it, as a sentence; null where every state was stored
 */
export async function keepUnwritten({ tofu, store }: Ports): Promise<string | null> {
  const left = await tofu.unwritten()
  if (left === null) return null
  try {
    if (judgeUnwritten(parseStateHead(left.text), await tofu.head()) === 'push') {
      await tofu.push(left.text)
      await tofu.dropUnwritten()
      return 'OpenTofu could not store its state at first; it is stored now.'
    }
  } catch {
    // S3 is not back yet, or this process may not write any more.
  }
  try {
    await store.put(UNWRITTEN_KEY, left.text)
    await tofu.dropUnwritten()
    return `OpenTofu could not store its state: it is kept in ${UNWRITTEN_KEY}, and the next deploy stores it.`
  } catch (error) {
    const why = asClawctlError(error).message
    return `OpenTofu could not store its state, and it could not be kept in the bucket (${why}): it is in ${left.file} on this machine. Without it, too, the next deploy finds what was made.`
  }
}
