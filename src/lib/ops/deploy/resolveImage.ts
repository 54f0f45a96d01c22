import type { Image } from '../../domain/contract/index.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Compute } from '../ports.js'

/**
 * The image to deploy: the override, checked to exist and be available, else the newest available one tagged
 * clawdinator=true.
 * @throws ClawctlError AMI_NOT_FOUND
 */
export async function resolveImage(compute: Compute, override: string | null): Promise<Image> {
  if (override === null) {
    const latest = await compute.latestImage()
    if (latest) return latest
    throw new ClawctlError('AMI_NOT_FOUND', 'No available AMI is tagged clawdinator=true.', {
      hint: 'Build and import an image first, or name one with --ami.',
    })
  }
  const image = await compute.findImage(override)
  if (!image) {
    throw new ClawctlError('AMI_NOT_FOUND', `There is no AMI ${override} in this account and region.`, {
      hint: 'Check the id and AWS_REGION; `clawctl fleet status` shows the AMIs in use.',
    })
  }
  if (!image.available) {
    throw new ClawctlError('AMI_NOT_FOUND', `The AMI ${override} is not available yet, or failed.`, {
      hint: 'Wait until its import is over, or name another one.',
    })
  }
  return { id: image.id, name: image.name, createdAt: image.createdAt }
}
