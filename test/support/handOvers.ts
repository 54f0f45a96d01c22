import { expect } from 'chai'
import type { Deploy, Order } from '../../src/lib/domain/contract/index.js'
import { parseActive } from '../../src/lib/domain/deploy/active.js'
import { deployFleet } from '../../src/lib/ops/deploy/deployFleet.js'
import type { DeployOptions } from '../../src/lib/ops/deploy/plane.js'
import { failureOf } from './failure.js'
import type { Boot } from './fakeCloud.js'
import { deployOptions, fakeDirectPlane } from './fakeDirectPlane.js'
import { NEW, REQUEST_ID, registryOf } from './fakes.js'

export type Plane = ReturnType<typeof fakeDirectPlane>

/** A fleet on the old image; the new image boots as the test says. */
export function fleet(boot: Boot = 'healthy', existing = ['a', 'b'], registry = ['a', 'b']) {
  const plane = fakeDirectPlane(registryOf(...registry), existing)
  plane.cloud.boots.set(NEW.id, boot)
  return plane
}

export const deploy = (plane: Plane, order: Partial<Order> = {}, options: Partial<DeployOptions> = {}) =>
  deployFleet({ target: 'a', requestId: REQUEST_ID, ...order }, deployOptions(options), plane.ports)

export async function fail(plane: Plane, order: Partial<Order> = {}, options: Partial<DeployOptions> = {}) {
  const error = await failureOf(deploy(plane, order, options))
  const done = error.partial?.deploy as Deploy
  const { hosts, status } = done
  return { error, status, hosts: hosts.map((host) => `${host.id} ${host.outcome} ${host.ami} ${host.instanceId}`) }
}

export const applied = ({ cloud }: Plane) => cloud.log.filter((line) => /^(?:apply|stop|start|terminate)/.test(line))
export const holder = ({ store }: Plane, id = 'a') =>
  parseActive(store.objects.get(`active/${id}.json`)?.text ?? '')?.instanceId
export const machines = ({ cloud }: Plane, id = 'a') =>
  cloud.hosts.filter((host) => host.id === id).map((host) => host.instanceId)
/** Never two gateways of an id connected at once, whenever. */
export function expectOneGateway({ cloud }: Plane) {
  const connected = new Map<string, string>()
  for (const { id, instanceId, event } of cloud.gateways) {
    if (event === 'stop') connected.delete(id)
    else {
      expect(connected.get(id), `connected when ${instanceId} connects`).to.equal(undefined)
      connected.set(id, instanceId)
    }
  }
}
