import pMap from 'p-map'
import { type Adoption, SECURITY_GROUP } from '../../domain/deploy/expectation.js'
import { adoptionOf, missingTypes } from '../../domain/deploy/leftovers.js'
import { AT_ONCE } from '../ports.js'
import type { Picture } from './picture.js'
import type { HostDeployPorts } from './ports.js'

/**
 * What of these ids exists in AWS and is not in the state, beside the machines that are to be adopted anyway. AWS is asked
 * for what the state lacks alone: of a fleet that is whole, for nothing.
 */
export async function findAdoptable(
  ids: readonly string[],
  instances: Adoption['instances'],
  { resources }: Pick<Picture, 'resources'>,
  { stack }: Pick<HostDeployPorts, 'stack'>,
): Promise<Adoption> {
  const hasGroup = resources.some(({ address }) => address === SECURITY_GROUP)
  const found = pMap(
    ids,
    async (id) => {
      const missing = missingTypes(resources, id)
      return { id, types: missing.length === 0 ? [] : await stack.ofId(id, missing) }
    },
    { concurrency: AT_ONCE },
  )
  const group = hasGroup ? null : stack.securityGroup()
  return adoptionOf(await found, { instances, security_group: await group })
}
