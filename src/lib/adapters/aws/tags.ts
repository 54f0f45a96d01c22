import type { ResourceType } from '@aws-sdk/client-ec2'
import type { Tags } from '../../ops/images/ports.js'

export const tagListOf = (tags: Tags) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))

export const tagsOf = (tags: readonly { Key?: string; Value?: string }[] | undefined): Record<string, string> =>
  Object.fromEntries((tags ?? []).map(({ Key, Value }) => [Key ?? '', Value ?? '']))

export const filtersOf = (tags: Tags) =>
  Object.entries(tags).map(([name, value]) => ({ Name: `tag:${name}`, Values: [value] }))

export function tagSpecification(type: ResourceType, tags: Tags) {
  return [{ ResourceType: type, Tags: tagListOf(tags) }]
}
