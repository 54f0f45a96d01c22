import type { Order } from '../../domain/contract/index.js'
import { orphanIds } from '../../domain/deploy/fleet.js'
import { currentHost } from '../../domain/deploy/host.js'
import { guardPlan } from '../../domain/deploy/planGuard.js'
import { decideDeploy } from '../../domain/deploy/policy.js'
import type { DeployAudit } from '../../domain/deploy/summary.js'
import { hostsInState, prefixesInState, strangerTo } from '../../domain/deploy/tofuState.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { type HostDeployPorts, notInState } from './deployHost.js'
import type { RecordKeeper } from './deployRecord.js'
import type { DeployOptions } from './plane.js'
import { resolveImage } from './resolveImage.js'

/**
 * Destroys one instance that has left the registry, with its role, profile and policy, and nothing else. What a run
 * left behind that died half-way is retired by asking again.
 * @returns the failure that stopped it, or null
 */
export async function retireHost(
  request: Order,
  options: Pick<DeployOptions, 'planOnly'>,
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: HostDeployPorts & { registry: RegistrySource },
): Promise<ClawctlError | null> {
  const { compute, tofu, progress } = ports
  const id = request.target
  const registry = await readRegistry(ports.registry)
  const verdict = decideDeploy({ ...request, registry })
  if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })

  const file = ports.planFile(id)
  const host = await progress.task(`${id}: plan its end`, async (say) => {
    const hosts = await compute.describeHosts()
    const host = currentHost(hosts, id)
    audit.orphans = orphanIds(registry, hosts).filter((orphan) => orphan !== id)
    if (audit.orphans.length > 0) progress.note(`Not in the registry, left running: ${audit.orphans.join(', ')}.`)
    await tofu.init()
    const resources = await tofu.state()
    const stranger = strangerTo(hostsInState(resources), hosts, [id])
    if (stranger) throw notInState(stranger, 'Nothing was changed.')
    if (!resources.some(({ address }) => address.endsWith(`["${id}"]`))) {
      throw new ClawctlError('UNKNOWN_TARGET', `Neither EC2 nor the OpenTofu state has an instance ${id}.`, {
        hint: 'See `clawctl fleet status` for the orphans.',
      })
    }
    await keeper.update({
      hosts: [
        {
          id,
          outcome: 'pending',
          ami: null,
          previousAmi: host?.ami ?? null,
          instanceId: host?.instanceId ?? null,
        },
      ],
    })
    const prefixes = prefixesInState(resources)
    prefixes.delete(id)
    const plan = await tofu.plan({
      file,
      // Nothing boots it: the stack asks for one.
      ami: (host ?? hosts[0])?.ami ?? (await resolveImage(compute, null)).id,
      instances: [...hostsInState(resources).keys()].filter((managed) => managed !== id).sort(),
      kept: Object.fromEntries(prefixes),
      replace: null,
    })
    const summary = guardPlan(plan, { id, action: 'retire' })
    audit.planLines.push(...summary.lines)
    say(summary.lines.join(', '))
    return host
  })
  if (options.planOnly) {
    await keeper.host(id, { outcome: 'planned', ami: host?.ami ?? null })
    return null
  }

  await keeper.host(id, { outcome: 'deploying' })
  try {
    await progress.task(`${id}: destroy`, () => tofu.apply(file))
  } catch (error) {
    await keeper.host(id, { outcome: 'failed' })
    return asClawctlError(error)
  }
  await keeper.host(id, { outcome: 'retired' })
  return null
}
