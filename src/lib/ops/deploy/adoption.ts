import pMap from 'p-map'
import { type Adoption, SECURITY_GROUP } from '../../domain/deploy/expectation.js'
import { adoptionOf, missingTypes } from '../../domain/deploy/leftovers.js'
import { AT_ONCE } from '../ports.js'
import type { Observation } from './observation.js'
import type { HostDeployPorts } from './ports.js'

/**
 * Finds the objects of these ids that exist in AWS but not in the state, and adds the machines of `instances`. Only
 * types that the state lacks are read from AWS.
 */
export async function findAdoptable(
  ids: readonly string[],
  instances: Adoption['instances'],
  { resources }: Pick<Observation, 'resources'>,
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
