import { activeKey, HEARTBEAT_PREFIX } from '../../domain/bundles/manifest.js'
import type { Order } from '../../domain/contract/index.js'
import { orphanIds } from '../../domain/deploy/fleet.js'
import { currentHost } from '../../domain/deploy/host.js'
import { latestOf } from '../../domain/deploy/image.js'
import { decideDeploy } from '../../domain/deploy/policy.js'
import type { DeployAudit } from '../../domain/deploy/summary.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { ObjectStore, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { planChange } from './applyChange.js'
import type { RecordKeeper } from './deployRecord.js'
import { takePicture } from './picture.js'
import type { HostDeployPorts } from './ports.js'

/**
 * Destroys one instance that has left the registry: its machines, role, profile and policy, and nothing else. What a run
 * left behind that died half-way is retired by asking again.
 * @returns the failure that stopped it, or null
 */
export async function retireHost(
  request: Order,
  options: { planOnly: boolean },
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: HostDeployPorts & { registry: RegistrySource },
): Promise<ClawctlError | null> {
  const { compute, tofu, progress, store } = ports
  const id = request.target
  const registry = await readRegistry(ports.registry)
  const verdict = decideDeploy({ ...request, registry })
  if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })

  const { host, file } = await progress.task(`${id}: plan its end`, async (say) => {
    const picture = await takePicture(ports, new Set())
    const { hosts, resources, state } = picture
    const host = currentHost(hosts, id)
    audit.orphans = orphanIds(registry, hosts).filter((orphan) => orphan !== id)
    if (audit.orphans.length > 0) progress.note(`Not in the registry, left running: ${audit.orphans.join(', ')}.`)
    const known = new Set((state.get(id) ?? []).map(({ instanceId }) => instanceId))
    const unknown = hosts.find((one) => one.id === id && one.state !== 'shutting-down' && !known.has(one.instanceId))
    if (unknown) {
      throw new ClawctlError(
        'NOT_IN_STATE',
        `EC2 runs ${unknown.instanceId} as ${id}, but the OpenTofu state does not know it. Nothing was changed.`,
        { hint: `\`clawctl fleet recover ${id}\` brings it there, then retire ${id} again.` },
      )
    }
    if (!resources.some(({ address }) => address.endsWith(`["${id}"]`) || address.endsWith(`["${id}/b"]`))) {
      throw new ClawctlError('UNKNOWN_TARGET', `Neither EC2 nor the OpenTofu state has an instance ${id}.`, {
        hint: 'See `clawctl fleet status` for the orphans.',
      })
    }
    await keeper.begun([{ id, previousAmi: host?.ami ?? null, instanceId: host?.instanceId ?? null }])
    // Nothing boots it: the stack asks for one.
    const ami = (host ?? hosts[0])?.ami ?? latestOf(await compute.fleetImages())?.id
    if (ami === undefined) throw new ClawctlError('AMI_NOT_FOUND', 'No available AMI is tagged clawdinator=true.')
    const onPlan = (lines: readonly string[]) => void audit.planLines.push(...lines)
    const rollout = { requestId: request.requestId, registry, scope: [], onPlan }
    const plan = await planChange({ kind: 'retire', id }, { ami, picture }, rollout, ports)
    say(plan.lines.join(', '))
    return { host, file: plan.file }
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
  await removeTraces(store, id)
  return null
}

/** Who may act and what its machines said: a new instance of the same name begins anew. */
async function removeTraces(store: ObjectStore, id: string): Promise<void> {
  try {
    const beats = await store.list(`${HEARTBEAT_PREFIX}${id}/`)
    for (const key of [activeKey(id), ...beats.map((object) => object.key)]) await store.delete(key)
  } catch {
    // The instance is gone; what is left of it in the bucket is overwritten, or named by the next retirement.
  }
}
