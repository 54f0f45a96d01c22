import type { CancelRequest, IdentityText } from '../../domain/contract/index.js'
import { formatRunTitle } from '../../domain/contract/order.js'
import { formatIdentity, nameAsker } from '../../domain/deploy/identity.js'
import { type Asker, identify, identifyPerson, type PeoplePorts } from '../people/people.js'
import type { Runs } from '../ports.js'
import { cancelDeploy } from './cancelDeploy.js'
import { type DeployFleetPorts, deployFleet } from './deployFleet.js'
import { type DeploysPorts, getDeploy, listDeploys } from './deploys.js'
import { fleetStatus } from './fleetStatus.js'
import { followDeploy } from './followDeploy.js'
import { freezeFleet, unfreezeFleet } from './freeze.js'
import type { Plane } from './plane.js'
import { type ShowHostPorts, showHost } from './showHost.js'

/** Without a token, the instance is only claimed. */
const askerOf = ({ caller, requestedBy, code }: CancelRequest): Asker => ({
  host: caller === undefined ? 'none' : 'claimed',
  requestedBy,
  code,
})

/** Checks a given code. Without one, the order's identity does not change. */
async function identityWithCode(
  request: CancelRequest,
  purpose: string,
  ports: () => Promise<PeoplePorts>,
): Promise<{ identity?: IdentityText }> {
  if (request.code === undefined) return {}
  const { identity } = await identify(askerOf(request), { purpose, needed: true }, await ports())
  return { identity: formatIdentity(identity) }
}

/** Ci mode: CI reaches the fleet with AWS and OpenTofu. Ports are constructed when they are first needed. */
export function directPlane(make: {
  status(): Promise<Parameters<typeof fleetStatus>[0]>
  host(): Promise<ShowHostPorts>
  deploy(): Promise<DeployFleetPorts>
  deploys(): Promise<DeploysPorts & { runs: Runs } & Omit<Parameters<typeof followDeploy>[0], 'ask'>>
  freeze(): Promise<Parameters<typeof freezeFleet>[1] & PeoplePorts>
}): Plane {
  return {
    fleet: async () => fleetStatus(await make.status()),
    host: async (id) => showHost(id, await make.host()),
    async deploy(order, options) {
      const asked = { ...order, code: options.code }
      const identity = await identityWithCode(asked, formatRunTitle(order), make.freeze)
      return deployFleet({ ...order, ...identity }, options, await make.deploy())
    },
    deploys: async (limit) => (await listDeploys(await make.deploys(), { limit })).deploys,
    history: async (page) => listDeploys(await make.deploys(), page),
    async freeze({ code, ...request }) {
      const ports = await make.freeze()
      const what = { purpose: `freeze ${request.target}: ${request.reason}`, what: 'for a freeze' }
      const identity = formatIdentity(await identifyPerson(askerOf({ ...request, code }), what, ports))
      return freezeFleet({ ...request, identity }, ports)
    },
    async unfreeze(request) {
      const ports = await make.freeze()
      const what = { purpose: `unfreeze ${request.target}`, what: 'to end a freeze' }
      await identifyPerson(askerOf(request), what, ports)
      return unfreezeFleet(request, ports)
    },
    async cancel(requestId, { code, ...asker }) {
      const identity = await identityWithCode({ ...asker, code }, `cancel ${requestId}`, make.freeze)
      return cancelDeploy(requestId, nameAsker({ ...asker, ...identity }), await make.deploys())
    },
    async follow(options) {
      const ports = await make.deploys()
      return followDeploy({ ...ports, ask: async () => (await getDeploy(ports, options.requestId)).deploy }, options)
    },
  }
}
