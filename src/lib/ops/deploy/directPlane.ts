import { type DeployFleetPorts, deployFleet } from './deployFleet.js'
import { type DeploysPorts, getDeploy, listDeploys } from './deploys.js'
import { fleetStatus } from './fleetStatus.js'
import { followDeploy } from './followDeploy.js'
import type { Plane } from './plane.js'
import { type ShowHostPorts, showHost } from './showHost.js'

/** How CI reaches the fleet: with AWS and OpenTofu itself. Ports are made when they are first needed. */
export function directPlane(make: {
  status(): Promise<Parameters<typeof fleetStatus>[0]>
  host(): Promise<ShowHostPorts>
  deploy(): Promise<DeployFleetPorts>
  deploys(): Promise<DeploysPorts & Omit<Parameters<typeof followDeploy>[0], 'ask'>>
}): Plane {
  return {
    fleet: async () => fleetStatus(await make.status()),
    host: async (id) => showHost(id, await make.host()),
    deploy: async (request, options) => deployFleet(request, options, await make.deploy()),
    deploys: async (limit) => listDeploys(await make.deploys(), limit),
    async follow(options) {
      const ports = await make.deploys()
      return followDeploy({ ...ports, ask: () => getDeploy(ports, options.requestId) }, options)
    },
  }
}
