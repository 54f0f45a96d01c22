import type { Image } from '../contract/index.js'
import type { Code } from '../errors.js'

export type Architecture = 'x86_64' | 'arm64'

/** An AMI with what decides whether a host may boot it. */
export interface FleetImage extends Image {
  available: boolean
  /** Of this account, or of one that the settings list. */
  trusted: boolean
  architecture: Architecture
  /** Smallest root volume that it fits on, in GiB; null where EC2 does not say. */
  rootGib: number | null
  /** Device of the root volume, such as /dev/xvda; null where EC2 does not say. */
  rootDevice: string | null
  /** Value of the tag `clawdinator`: `true` where deploys may take it by themselves, `withdrawn` where none may. */
  ready: string | null
  /** Request id of the deploy that it failed in; null where it failed in none. */
  failedIn: string | null
}

/** On an AMI, the request id of the deploy in which it failed its checks. */
export const FAILED_TAG = 'clawdinator:failed'

/** AWS's own naming: the letter behind the generation is g for Graviton; a1 was the first. */
export function architectureOf(instanceType: string): Architecture {
  return /^(?:a1|[a-z]+\d+g[a-z-]*)\./.test(instanceType) ? 'arm64' : 'x86_64'
}

export interface ImageRefusal {
  code: Extract<Code, 'AMI_NOT_FOUND' | 'AMI_REFUSED' | 'AMI_FAILED_BEFORE'>
  message: string
  hint: string
}

const OTHER = 'Name another one; `clawctl image list` shows the AMIs.'

/**
 * Why a host may not boot this image, or null.
 * @param named by a person with --ami, who may take what failed before, and nothing that was withdrawn
 * @param lastGood AMI to go back to, where one is known
 */
export function refuseImage(
  image: FleetImage,
  wanted: { id: string; instanceType: string; named: boolean; lastGood: string | null },
): ImageRefusal | null {
  const refuse = (code: ImageRefusal['code'], message: string, hint: string) => ({ code, message, hint })
  if (!image.trusted) {
    const hint = 'Deploy an AMI of this account, or list the owner in CLAWCTL_AMI_OWNERS.'
    return refuse('AMI_REFUSED', `The AMI ${image.id} belongs to another account.`, hint)
  }
  if (!image.available) {
    const hint = 'Wait until its import is over, or name another one.'
    return refuse('AMI_NOT_FOUND', `The AMI ${image.id} is not available yet, or failed.`, hint)
  }
  if (image.ready === 'withdrawn') return refuse('AMI_REFUSED', `The AMI ${image.id} was withdrawn.`, OTHER)
  if (image.failedIn !== null && !wanted.named) {
    const back = wanted.lastGood === null ? '' : ` The last good AMI is ${wanted.lastGood}.`
    return refuse(
      'AMI_FAILED_BEFORE',
      `The latest AMI ${image.id} failed in the deploy ${image.failedIn}.${back}`,
      `Build a new image. To try this one again, name it: --ami ${image.id}`,
    )
  }
  const architecture = architectureOf(wanted.instanceType)
  if (image.architecture !== architecture) {
    return refuse(
      'AMI_REFUSED',
      `The AMI ${image.id} is for ${image.architecture}; ${wanted.id} is a ${wanted.instanceType}, which is ${architecture}.`,
      OTHER,
    )
  }
  return null
}

const newestFirst = (a: FleetImage, b: FleetImage) => b.createdAt.localeCompare(a.createdAt) || b.id.localeCompare(a.id)

/** The newest image that deploys may take by themselves, of one architecture where one is given; `good`: that failed nowhere. */
export function latestOf(
  images: readonly FleetImage[],
  { architecture, good = false }: { architecture?: Architecture; good?: boolean } = {},
): FleetImage | null {
  const offered = images
    .filter((image) => image.available && image.trusted && image.ready === 'true')
    .filter((image) => architecture === undefined || image.architecture === architecture)
    .filter((image) => !good || image.failedIn === null)
  return [...offered].sort(newestFirst)[0] ?? null
}
