import { type Found, findingLine, settled } from '../../domain/deploy/recovery.js'
import { judgeUnwritten, parseStateHead } from '../../domain/deploy/stateLock.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { FLEET_STATE_KEY } from '../../domain/paths.js'
import type { HostDeployPorts, LockPorts } from './ports.js'
import { withStateLock } from './stateLock.js'

/** The object for a state that OpenTofu could not store. The bucket encrypts it like the state itself. */
export const UNWRITTEN_KEY = `${FLEET_STATE_KEY}.errored`

type Ports = Pick<HostDeployPorts, 'tofu' | 'store'>

/**
 * Stores a state that an earlier apply could not store, from the bucket or the stack's folder, if it follows the stored
 * one.
 * @param planOnly only reports it
 */
export async function storeUnwritten({ tofu, store }: Ports, planOnly: boolean): Promise<Found[]> {
  const [kept, left] = await Promise.all([store.get(UNWRITTEN_KEY), tofu.unwritten()])
  const findings: Found[] = []
  for (const { subject, text, drop } of [
    { subject: UNWRITTEN_KEY, text: kept?.text, drop: () => store.delete(UNWRITTEN_KEY) },
    { subject: left?.file ?? '', text: left?.text, drop: () => tofu.dropUnwritten() },
  ]) {
    if (text === undefined) continue
    const verdict = judgeUnwritten(parseStateHead(text), await tofu.head())
    const { what, fix } = FINDINGS[verdict]
    findings.push({ kind: 'state', subject, what, fix, automatic: verdict !== 'foreign' })
    if (planOnly || verdict === 'foreign') continue
    if (verdict === 'push') await tofu.push(text)
    await drop()
  }
  return findings
}

const FINDINGS = {
  push: { what: 'holds a state that an apply could not store', fix: 'it is stored' },
  old: { what: 'holds a state that an apply could not store, but a later one is stored', fix: 'it is removed' },
  foreign: {
    what: 'holds a state of another lineage than the stored one',
    fix: 'find out what created it, then delete it',
  },
}

/**
 * After an apply that could not store its state: stores it if that is possible now, else keeps it in the bucket.
 * @returns the result as a sentence; null if the apply stored its state
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
    // S3 still fails, or this process lost its credentials.
  }
  try {
    await store.put(UNWRITTEN_KEY, left.text)
    await tofu.dropUnwritten()
    return `OpenTofu could not store its state: it is kept in ${UNWRITTEN_KEY}, and the next deploy stores it.`
  } catch (error) {
    const why = asClawctlError(error).message
    return `OpenTofu could not store its state, and it could not be kept in the bucket (${why}): it is in ${left.file} on this machine. The next deploy finds the created resources even without it.`
  }
}

/**
 * Runs `work` while it holds the lock of the state, after it stored a state that an earlier apply could not store.
 * @returns the failure of the work, with a sentence about the state if it could not be stored
 */
export async function withState(
  { planOnly }: { planOnly: boolean },
  ports: HostDeployPorts & LockPorts,
  work: () => Promise<ClawctlError | null>,
): Promise<ClawctlError | null> {
  return withStateLock(ports, async () => {
    await ports.tofu.init()
    for (const finding of settled(await storeUnwritten(ports, planOnly), planOnly))
      ports.progress.note(findingLine(finding))
    const failure = await work().catch(asClawctlError)
    const kept = await keepUnwritten(ports)
    if (kept === null) return failure
    if (failure === null) {
      ports.progress.note(kept)
      return null
    }
    const { code, message, hint, cause } = failure
    return new ClawctlError(code, `${message} ${kept}`, { hint, cause })
  })
}
