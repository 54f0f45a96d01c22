import { architectureOf, type FleetImage, latestOf, refuseImage } from '../../domain/deploy/image.js'
import { ClawctlError } from '../../domain/errors.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import type { Compute } from '../ports.js'

/**
 * The image of each instance, by id: the override, or the newest one tagged clawdinator=true of its architecture; checked
 * to be one that it may boot.
 * @throws ClawctlError AMI_NOT_FOUND, AMI_REFUSED, AMI_FAILED_BEFORE
 */
export async function chooseImages(
  compute: Pick<Compute, 'findImage' | 'fleetImages'>,
  entries: readonly Pick<RegistryEntry, 'id' | 'instanceType'>[],
  override: string | null,
): Promise<Map<string, FleetImage>> {
  const images = override === null ? await compute.fleetImages() : []
  const named = override === null ? null : await namedImage(compute, override)
  return new Map(entries.map((entry) => [entry.id, imageFor(entry)] as const))

  function imageFor({ id, instanceType }: Pick<RegistryEntry, 'id' | 'instanceType'>): FleetImage {
    const architecture = architectureOf(instanceType)
    const image = named ?? latestOf(images, { architecture })
    if (!image) {
      throw new ClawctlError('AMI_NOT_FOUND', `No available AMI for ${architecture} is tagged clawdinator=true.`, {
        hint: 'Build and import an image first, or name one with --ami.',
      })
    }
    const lastGood = latestOf(images, { architecture, good: true })?.id ?? null
    const refusal = refuseImage(image, { id, instanceType, named: named !== null, lastGood })
    if (refusal) throw new ClawctlError(refusal.code, refusal.message, { hint: refusal.hint })
    return image
  }
}

async function namedImage(compute: Pick<Compute, 'findImage'>, id: string): Promise<FleetImage> {
  const image = await compute.findImage(id)
  if (image) return image
  throw new ClawctlError('AMI_NOT_FOUND', `There is no AMI ${id} in this account and region.`, {
    hint: 'Check the id, and the region for which clawctl is set up. `clawctl image list` shows the AMIs, `clawctl fleet status` those in use.',
  })
}
