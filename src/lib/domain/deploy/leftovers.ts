import type { Adoption } from './expectation.js'
import { ID_TYPES, idAddress, type StateResource } from './slots.js'

/** Name of the one policy that the stack gives each instance's role. */
export const ROLE_POLICY = 'own-bundle-and-heartbeat'
export const SECURITY_GROUP_NAME = 'clawdinator-fleet'

export type IdType = (typeof ID_TYPES)[number]

/** The key of each type in the stack's variable `adopt`. */
export const ADOPTED_AS = {
  aws_iam_role: 'roles',
  aws_iam_role_policy: 'role_policies',
  aws_iam_instance_profile: 'profiles',
} as const satisfies Record<IdType, keyof Adoption>

/** The id with which OpenTofu imports such an object. */
export const importId = (type: IdType, id: string) => (type === 'aws_iam_role_policy' ? `${id}:${ROLE_POLICY}` : id)

/** Role, policy and profile of an id that the state does not have. */
export function missingTypes(resources: readonly StateResource[], id: string): IdType[] {
  const known = new Set(resources.map(({ address }) => address))
  return ID_TYPES.filter((type) => !known.has(idAddress(type, id)))
}

/** The objects outside the state, in the form of the stack's variable `adopt`. */
export function adoptionOf(
  found: readonly { id: string; types: readonly IdType[] }[],
  more: Pick<Adoption, 'instances' | 'security_group'>,
): Adoption {
  const named = (type: IdType) =>
    Object.fromEntries(found.filter(({ types }) => types.includes(type)).map(({ id }) => [id, importId(type, id)]))
  return {
    ...more,
    roles: named('aws_iam_role'),
    role_policies: named('aws_iam_role_policy'),
    profiles: named('aws_iam_instance_profile'),
  }
}

/** "role clawdinator-2" and so on, for messages. */
export function adoptedNames(adopt: Adoption): string[] {
  const { instances, roles, role_policies, profiles, security_group } = adopt
  return [
    ...Object.entries(instances).map(([key, instanceId]) => `${instanceId} (${key})`),
    ...Object.keys(roles).map((id) => `role ${id}`),
    ...Object.keys(role_policies).map((id) => `policy of role ${id}`),
    ...Object.keys(profiles).map((id) => `instance profile ${id}`),
    ...(security_group ? [`security group ${security_group}`] : []),
  ]
}
