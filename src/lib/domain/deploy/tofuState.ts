import type { Host } from './host.js'

/** A resource of the OpenTofu state, as far as anyone here looks at it. */
export interface StateResource {
  address: string
  /** The provider's id, an EC2 instance id for a host; null where there is none. */
  id: string | null
  /** Tags as of the last refresh, where the resource has some. */
  tags?: Readonly<Record<string, string>>
}

/** Instance ids of the hosts that the state knows, by registry id. */
export function hostsInState(resources: readonly StateResource[]): Map<string, string | null> {
  const hosts = new Map<string, string | null>()
  for (const { address, id } of resources) {
    const key = /^aws_instance\.clawdinator\["([^"]+)"\]$/.exec(address)?.[1]
    if (key !== undefined) hosts.set(key, id)
  }
  return hosts
}

/**
 * Bootstrap prefixes, by registry id, that the hosts of the state were launched with: the stack's own tag says it. What
 * is not being deployed keeps its own, so that a changed or removed registry entry touches nobody's role.
 */
export function prefixesInState(resources: readonly StateResource[]): Map<string, string> {
  const prefixes = new Map<string, string>()
  for (const resource of resources) {
    const [id] = hostsInState([resource]).keys()
    const prefix = resource.tags?.['clawdinator:bootstrap-prefix']
    if (id !== undefined && prefix) prefixes.set(id, prefix)
  }
  return prefixes
}

/**
 * A machine that runs as one of these ids and is not the one in the state. A deploy would leave it running beside the
 * new one, with the same Discord token.
 */
export function strangerTo(
  state: ReadonlyMap<string, string | null>,
  hosts: readonly Host[],
  ids: readonly string[],
): Host | null {
  const isStranger = (host: Host) => {
    if (!ids.includes(host.id) || host.state === 'shutting-down') return false
    const known = state.get(host.id)
    return known === undefined || (known !== null && known !== host.instanceId)
  }
  return hosts.find(isStranger) ?? null
}
