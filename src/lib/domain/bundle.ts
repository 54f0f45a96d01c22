import { bundleMarkerSchema } from './contract.js'
import { parseJson } from './json.js'
import type { RegistryEntry } from './registry.js'

export const MARKER_NAME = 'config.json'
export const markerKey = (entry: RegistryEntry) => `${entry.bootstrapPrefix}/${MARKER_NAME}`
export const HEARTBEAT_PREFIX = 'heartbeats/'
export const heartbeatKey = (id: string) => `${HEARTBEAT_PREFIX}${id}.json`

/**
 * What keeps the host from booting with its bundle, as clauses for people; empty where the bundle is whole.
 * Compares names and sizes only: contents are compared by the digest when the bundle is verified in full.
 */
export function bundleProblems(
  entry: RegistryEntry,
  markerText: string | null,
  objects: readonly { key: string; size: number }[],
): string[] {
  if (markerText === null) return [`there is no ${markerKey(entry)}`]
  const marker = bundleMarkerSchema.safeParse(parseJson(markerText))
  if (!marker.success) return [`${markerKey(entry)} is not a bundle's marker`]
  if (marker.data.instance.id !== entry.id) {
    return [`${markerKey(entry)} belongs to ${JSON.stringify(marker.data.instance.id)}`]
  }
  const { discordTokenSecret } = marker.data.instance
  if (discordTokenSecret !== entry.discordTokenSecret) {
    return [`it was made with ${discordTokenSecret}, and the registry now names ${entry.discordTokenSecret}`]
  }
  const sizes = new Map(objects.map((object) => [object.key, object.size]))
  return marker.data.objects.flatMap(({ key, size }) => {
    const found = sizes.get(`${entry.bootstrapPrefix}/${key}`)
    if (found === undefined) return [`${key} is missing`]
    return found === size ? [] : [`${key} has ${found} bytes instead of ${size}`]
  })
}
