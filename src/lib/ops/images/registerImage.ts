import ms from 'ms'
import { ClawctlError } from '../../domain/errors.js'
import type { ImageFacts } from '../../domain/images/build.js'
import { amiName, imageTags, READY_TAG } from '../../domain/images/names.js'
import { poll, untilSeen, whileYoung, YOUNG_MS } from '../poll.js'
import type { ImagePorts, RegisteredImage } from './ports.js'

/** Time limit; an AMI of an existing snapshot is usually available within seconds. */
const AVAILABLE_MS = 30 * 60_000
const LONGEST_POLL_MS = 10_000
/** A small snapshot or AMI is ready within a second. */
const FIRST_POLL_MS = 50

type RegisterPorts = Pick<ImagePorts, 'images' | 'snapshots' | 'clock' | 'progress' | 'report'>

export interface ReadyImage {
  id: string
  name: string
  snapshotId: string | null
}

interface WantedImage {
  facts: ImageFacts
  digest: string
  /** Key of the object that it was imported from. */
  source: string | null
}

/**
 * The existing AMI of this image, completed if an earlier run did not complete it; null if there is none.
 * @throws ClawctlError REQUEST_CONFLICT if it exists but is not encrypted as requested
 */
export async function findReadyImage(
  ports: RegisterPorts,
  { facts, digest, source, kmsKey }: WantedImage & { kmsKey: string | null },
): Promise<ReadyImage | null> {
  const [there] = await ports.images.find({ name: amiName(facts.name, digest) })
  if (!there) return null
  const snapshot = kmsKey !== null && there.snapshotId ? await ports.snapshots.describe(there.snapshotId) : null
  if (snapshot?.encrypted === false) {
    throw new ClawctlError(
      'REQUEST_CONFLICT',
      `${there.id} is an AMI of this image already, but it is not encrypted.`,
      {
        hint: `Leave --kms-key-id out to use it, or deregister it first (aws ec2 deregister-image --image-id ${there.id}).`,
      },
    )
  }
  return finish(ports, there, imageTags(facts, digest, source))
}

/** Registers the snapshot; the tag that makes an AMI the latest one comes last, when it is available. */
export async function registerImage(
  ports: RegisterPorts,
  image: WantedImage & { snapshotId: string },
): Promise<ReadyImage> {
  const { facts, digest, source, snapshotId } = image
  const tags = imageTags(facts, digest, source)
  await whileYoung(ports, { id: snapshotId }, () => ports.snapshots.tag(snapshotId, tags))
  const name = amiName(facts.name, digest)
  const { architecture, bootMode } = facts
  const wanted = { name, description: describe(facts, digest), snapshotId, architecture, bootMode, tags }
  try {
    const id = await whileYoung(ports, { id: snapshotId }, () => ports.images.register(wanted))
    // RegisterImage sets the tags itself: EC2 may not know the new AMI for CreateTags yet.
    const registered = { id, name, snapshotId, state: 'pending', stateReason: null, createdAt: '', sizeGib: null, tags }
    return await finish(ports, registered, tags)
  } catch (error) {
    if (!isNameTaken(error)) throw error
    // Another run registered it first, or the answer to an earlier attempt was lost: names are unique.
    const there = await untilSeen(ports.clock, YOUNG_MS, async () => (await ports.images.find({ name }))[0])
    if (!there) throw error
    return await finish(ports, there, tags)
  }
}

const isNameTaken = (error: unknown) =>
  ((error as Error).cause as Error | undefined)?.name === 'InvalidAMIName.Duplicate'

export function describe(facts: ImageFacts, digest: string): string {
  return `${amiName(facts.name, digest)}${facts.revision ? ` of ${facts.revision.slice(0, 12)}` : ''}`
}

async function finish(ports: RegisterPorts, image: RegisteredImage, tags: Record<string, string>): Promise<ReadyImage> {
  const lacking = Object.entries(tags).filter(([name, value]) => image.tags[name] !== value)
  const tag = (tags: Record<string, string>) =>
    whileYoung(ports, { id: image.id }, () => ports.images.tag(image.id, tags))
  if (lacking.length > 0) await tag(Object.fromEntries(lacking))
  const ready = await awaitAvailable(ports, image)
  if (image.tags[READY_TAG] !== 'true') await tag({ [READY_TAG]: 'true' })
  await ports.report.output('ami_id', ready.id)
  if (ready.snapshotId) await ports.report.output('snapshot_id', ready.snapshotId)
  return ready
}

async function awaitAvailable(ports: RegisterPorts, image: RegisteredImage): Promise<ReadyImage> {
  const { id, name } = image
  const judged = (seen: RegisteredImage): ReadyImage | null => {
    if (seen.state === 'available') return { id, name, snapshotId: seen.snapshotId }
    if (seen.state === 'pending' || seen.state === 'transient') return null
    throw new ClawctlError('IMPORT_FAILED', `${id} is ${seen.state}: ${seen.stateReason ?? 'EC2 gave no reason'}.`, {
      hint: `Deregister it (aws ec2 deregister-image --image-id ${id}), then run the command again.`,
    })
  }
  const already = judged(image)
  if (already) return already
  const result = await ports.progress.task(`Wait until ${id} is available`, (update) =>
    poll<ReadyImage>(
      {
        clock: ports.clock,
        timeoutMs: AVAILABLE_MS,
        firstMs: FIRST_POLL_MS,
        longestMs: LONGEST_POLL_MS,
        onWait: update,
      },
      async () => {
        const seen = await ports.images.describe(id)
        const done = seen && judged(seen)
        return done ? { done } : { wait: seen ? `it is ${seen.state}` : 'EC2 does not show it yet' }
      },
    ),
  )
  if ('done' in result) return result.done
  throw new ClawctlError('TIMED_OUT', `${id} is not available after ${ms(AVAILABLE_MS, { long: true })}.`, {
    hint: 'Run the command again: it continues to wait, and tags the AMI when it is available.',
  })
}
