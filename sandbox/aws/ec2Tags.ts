import type { Query } from './ec2Query.js'
import { taggable } from './ec2Resources.js'
import type { World } from './world.js'

/** CreateTags: on every resource or on none. */
export function createTags(world: World, query: Query) {
  const ids = query.list('ResourceId')
  const tags = query.tags('Tag')
  query.refuseUnread()
  if (ids.length === 0) query.require('ResourceId.1')
  if (tags.length === 0) query.require('Tag.1.Key')
  for (const resource of ids.map((id) => taggable(world, id))) {
    for (const [key, value] of tags) resource.tags.set(key, value)
  }
  return { return: true }
}

/** DeleteTags: by key, or by key and value; without any tag, all. */
export function deleteTags(world: World, query: Query) {
  const ids = query.list('ResourceId')
  const wanted = query
    .indexes('Tag')
    .map((n): [string, string | undefined] => [query.require(`Tag.${n}.Key`), query.get(`Tag.${n}.Value`)])
  query.refuseUnread()
  if (ids.length === 0) query.require('ResourceId.1')
  for (const { tags } of ids.map((id) => taggable(world, id))) {
    if (wanted.length === 0) tags.clear()
    for (const [key, value] of wanted) if (value === undefined || tags.get(key) === value) tags.delete(key)
  }
  return { return: true }
}
