import { activeKey } from '../../domain/bundles/manifest.js'
import type { Order } from '../../domain/contract/index.js'
import { orphanIds } from '../../domain/deploy/fleet.js'
import { currentHost } from '../../domain/deploy/host.js'
import { identityOnDirectPlane } from '../../domain/deploy/identity.js'
import { latestOf } from '../../domain/deploy/image.js'
import { adoptedNames } from '../../domain/deploy/leftovers.js'
import { allowDeploy } from '../../domain/deploy/policy.js'
import type { DeployAudit } from '../../domain/deploy/summary.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import type { ObjectStore, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { findAdoptable } from './adoption.js'
import { planChange } from './applyChange.js'
import { refuseCancelled } from './cancelDeploy.js'
import type { RecordKeeper } from './deployRecord.js'
import { destroyMachine, type RemovalContext } from './hostContext.js'
import { removeHeartbeats } from './machineGate.js'
import { type Observation, observe } from './observation.js'
import type { HostDeployPorts } from './ports.js'
import { untaintAll } from './resume.js'

/** @throws ClawctlError the policy's verdict */
export async function allowRetire(request: Order, source: RegistrySource): Promise<Registry> {
  const registry = await readRegistry(source)
  allowDeploy({ ...request, registry, identity: identityOnDirectPlane(request) })
  return registry
}

/**
 * Destroys one instance that has left the registry: its machines, role, profile and policy, and nothing else. After an
 * interruption the same request again retires the rest.
 * @returns the failure that stopped it, or null
 */
export async function retireHost(
  request: Order,
  registry: Registry,
  { planOnly }: { planOnly: boolean },
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: HostDeployPorts,
): Promise<ClawctlError | null> {
  const { compute, tofu, progress, store } = ports
  const id = request.target
  const onPlan = (lines: readonly string[]) => void audit.planLines.push(...lines)
  const rollout = { requestId: request.requestId, registry, scope: [], onPlan }

  const { host, file } = await progress.task(`${id}: plan the retirement`, async (say) => {
    const gone = new Set<string>()
    const first = await observe(ports, gone)
    const host = currentHost(first.hosts, id)
    audit.orphans = orphanIds(registry, first.hosts).filter((orphan) => orphan !== id)
    if (audit.orphans.length > 0) progress.note(`Not in the registry, left running: ${audit.orphans.join(', ')}.`)
    await keeper.begun([{ id, previousAmi: host?.ami ?? null, instanceId: host?.instanceId ?? null }])
    // The stack requires one, but no machine boots it.
    const ami = (host ?? first.hosts[0])?.ami ?? latestOf(await compute.fleetImages())?.id
    if (ami === undefined) throw new ClawctlError('AMI_NOT_FOUND', 'No available AMI is tagged clawdinator=true.')
    if (!planOnly) await collectLeftovers({ turn: { id }, rollout, ports, gone }, first, ami)
    const observed = planOnly ? first : await observe(ports, gone)
    if (!isKnown(observed, id)) {
      // It existed only in EC2.
      if (host) return { host, file: null }
      throw new ClawctlError('UNKNOWN_TARGET', `Neither EC2 nor the OpenTofu state has an instance ${id}.`, {
        hint: 'See `clawctl fleet status` for the orphans.',
      })
    }
    const plan = await planChange({ kind: 'retire', id }, { ami, observed }, rollout, ports)
    say(plan.lines.join(', '))
    return { host, file: plan.file }
  })
  if (planOnly) {
    await keeper.host(id, { outcome: 'planned', ami: host?.ami ?? null })
    return null
  }

  await refuseCancelled(request.requestId, store, 'before anything was destroyed')
  await keeper.host(id, { outcome: 'deploying' })
  try {
    if (file !== null) await progress.task(`${id}: destroy`, () => tofu.apply(file))
  } catch (error) {
    await keeper.host(id, { outcome: 'failed' })
    return asClawctlError(error)
  }
  await keeper.host(id, { outcome: 'retired' })
  await removeTraces(store, id)
  return null
}

const isKnown = ({ resources }: Observation, id: string) =>
  resources.some(({ address }) => address.endsWith(`["${id}"]`) || address.endsWith(`["${id}/b"]`))

/**
 * Handles what a killed deploy left outside the state: machines are terminated by EC2; roles and profiles are imported,
 * so that the plan destroys them.
 */
async function collectLeftovers(context: RemovalContext, observed: Observation, ami: string): Promise<void> {
  const { ports, rollout, gone } = context
  const { id } = context.turn
  const known = new Set((observed.state.get(id) ?? []).map(({ instanceId }) => instanceId))
  await untaintAll(observed, new Set(), ports.tofu)
  for (const host of observed.hosts) {
    if (host.id !== id || host.state === 'shutting-down' || known.has(host.instanceId)) continue
    ports.progress.note(`${host.instanceId} is not in the state: EC2 terminates it.`)
    await destroyMachine(context, host)
  }
  const left = adoptedNames({ ...(await findAdoptable([id], {}, observed, ports)), security_group: null })
  if (left.length === 0) return
  const scoped = { ...rollout, scope: [id] }
  const plan = await planChange({ kind: 'none' }, { ami, observed: await observe(ports, gone) }, scoped, ports)
  await ports.tofu.apply(plan.file)
}

/** Deletes active/<id>.json and the heartbeats, so that a new instance of the same name starts without them. */
async function removeTraces(store: ObjectStore, id: string): Promise<void> {
  await removeHeartbeats(store, id, null)
  // Not a failure of the retirement: it is overwritten, or deleted by the next retirement.
  await store.delete(activeKey(id)).catch(() => {})
}
