import type { Image } from '../contract/index.js'
import type { Code } from '../errors.js'

export type Architecture = 'x86_64' | 'arm64'

/** An AMI with the facts that decide whether a host may boot it. */
export interface FleetImage extends Image {
  available: boolean
  /** Whether it belongs to this account, or to one in the settings. */
  trusted: boolean
  architecture: Architecture
  /** The smallest root volume for it, in GiB; null if EC2 does not report it. */
  rootGib: number | null
  /** Device of the root volume, such as /dev/xvda; null if EC2 does not report it. */
  rootDevice: string | null
  /** Value of the tag `clawdinator`: `true`: deploys choose it by themselves; `withdrawn`: no deploy may use it. */
  ready: string | null
  /** Request id of the deploy in which it failed, or null. */
  failedIn: string | null
}

/** For plans that launch nothing: the stack requires an AMI. */
export const NO_AMI = 'ami-00000000'

/** On an AMI, the request id of the deploy in which it failed its checks. */
export const FAILED_TAG = 'clawdinator:failed'

/** By AWS's names: a `g` right behind the generation means Graviton; a1 was the first. */
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
 * @param named by a person with --ami, which allows a failed AMI, but not a withdrawn one
 * @param lastGood the newest AMI that did not fail, or null
 */
export function refuseImage(
  image: FleetImage,
  wanted: { id: string; instanceType: string; named: boolean; lastGood: string | null },
): ImageRefusal | null {
  const refuse = (code: ImageRefusal['code'], message: string, hint: string) => ({ code, message, hint })
  if (!image.trusted) {
    const hint = 'Deploy an AMI of this account, or list the owner in ami_owners of the platform stack, and apply it.'
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

/** The newest image that deploys choose by themselves, of one architecture if one is given; `good`: without a failed deploy. */
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
