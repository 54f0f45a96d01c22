import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { READY_TAG } from '../../domain/images/names.js'
import {
  type PrunePlan,
  type PrunePolicy,
  planPrune,
  type Removals,
  removalsOf,
  sizeOfRemovals,
  stillGoing,
} from '../../domain/images/prune.js'
import type { Clock, Progress } from '../ports.js'
import { type CatalogPorts, takeInventory } from './catalog.js'

export interface PruneOptions extends Omit<PrunePolicy, 'now'> {
  /** Only decide, remove nothing. */
  dryRun: boolean
  /** Confirms these removals; called once, if there are any. */
  confirm(plan: PrunePlan): Promise<boolean>
}

export interface Pruned {
  plan: PrunePlan
  /** What was removed; nothing in a dry run or without confirmation. */
  removed: { images: string[]; snapshots: string[]; objects: string[]; uploads: string[] }
  objectBytes: number
  /** Upper bound: EC2 does not show the stored size of a snapshot. */
  snapshotGib: number
}

/**
 * Removes unused images with their snapshots and objects. Every step can be run again: the next run finds what an interrupted
 * run left.
 */
export async function pruneImages(
  options: PruneOptions,
  ports: CatalogPorts & { clock: Clock; progress: Progress },
): Promise<Pruned> {
  const policy = () => ({ ...options, now: ports.clock.now() })
  const plan = planPrune(await takeInventory(ports), policy())
  const asked = removalsOf(plan)
  const removed: Pruned['removed'] = { images: [], snapshots: [], objects: [], uploads: [] }
  const nothing = Object.values(asked).every((list) => list.length === 0)
  if (options.dryRun || nothing || !(await options.confirm(plan))) {
    return { plan, removed, objectBytes: 0, snapshotGib: 0 }
  }
  const going = stillGoing(asked, removalsOf(planPrune(await takeInventory(ports), policy())))
  await ports.progress.task('Remove what is unused', (update) => remove(going, removed, ports, update))
  const done = {
    ...going,
    objects: going.objects.filter(({ key }) => removed.objects.includes(key)),
    snapshots: going.snapshots.filter(({ id }) => removed.snapshots.includes(id)),
  }
  return { plan, removed, ...sizeOfRemovals(done) }
}

const AGAIN = 'Run the command again: it continues with the rest.'

/** A failure does not stop the others; the first one is thrown at the end. */
async function remove(
  going: Removals,
  removed: Pruned['removed'],
  { images, snapshots, objects }: CatalogPorts,
  update: (text: string) => void,
): Promise<void> {
  const failures: ClawctlError[] = []
  const held = new Set<string>()
  const attempt = async (id: string, list: string[], work: () => Promise<void>) => {
    try {
      update(id)
      await work()
      list.push(id)
      return true
    } catch (error) {
      const failure = asClawctlError(error)
      if (failure.code === 'CANCELLED') throw withPartial(failure, { removed }, AGAIN)
      failures.push(failure)
      return false
    }
  }
  for (const { id, snapshotId } of going.images) {
    const gone = await attempt(id, removed.images, async () => {
      // First: no deploy may use it from now on.
      await images.tag(id, { [READY_TAG]: 'pruned' })
      await images.deregister(id)
    })
    if (!gone && snapshotId !== null) held.add(snapshotId)
  }
  for (const { id } of going.snapshots) {
    if (!held.has(id)) await attempt(id, removed.snapshots, () => snapshots.delete(id))
  }
  for (const { key } of going.objects) await attempt(key, removed.objects, () => objects.delete(key))
  for (const upload of going.uploads) await attempt(upload.uploadId, removed.uploads, () => objects.abortUpload(upload))
  const [first] = failures
  if (!first) return
  const others = failures.length > 1 ? ` ${failures.length - 1} more could not be removed either.` : ''
  const failure = new ClawctlError(first.code, `${first.message}${others}`, {
    hint: first.hint ?? AGAIN,
    cause: first,
  })
  throw withPartial(failure, { removed })
}
