import type {
  Deploy,
  DeployHost,
  DeployRecord,
  DeployStatus,
  HostEvidence,
  Order,
} from '../../domain/contract/index.js'
import { storeOrder } from '../../domain/contract/order.js'
import { orphanIds } from '../../domain/deploy/fleet.js'
import { refuseFrozen } from '../../domain/deploy/freeze.js'
import { currentHost, type Host } from '../../domain/deploy/host.js'
import { identityOnDirectPlane } from '../../domain/deploy/identity.js'
import type { FleetImage } from '../../domain/deploy/image.js'
import { allowDeploy } from '../../domain/deploy/policy.js'
import { planRollout, type RolloutStep } from '../../domain/deploy/rollout.js'
import { attemptId, deployOfRecord } from '../../domain/deploy/run.js'
import { type DeployAudit, renderDeploySummary } from '../../domain/deploy/summary.js'
import { asClawctlError, ClawctlError, errorBody, withPartial } from '../../domain/errors.js'
import type { Registry } from '../../domain/registry/registry.js'
import { checkBundles } from '../bundles/checkBundles.js'
import type { BundleReader } from '../bundles/ports.js'
import type { ItemProgress, JobReport, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { refuseCancelled } from './cancelDeploy.js'
import { RecordKeeper } from './deployRecord.js'
import { readFreezes } from './freeze.js'
import { handOver } from './handOver.js'
import { HostSteps } from './hostSteps.js'
import { removeHeartbeats } from './machineGate.js'
import type { DeployOptions } from './plane.js'
import type { Announce, HostDeployPorts, LockPorts, Rollout } from './ports.js'
import { replaceHost } from './replaceHost.js'
import { chooseImages } from './resolveImage.js'
import { restoreRoles } from './resume.js'
import { allowRetire, retireHost } from './retireHost.js'
import { withState } from './unwrittenState.js'

export interface DeployFleetPorts extends HostDeployPorts, LockPorts {
  registry: RegistrySource
  bundles: BundleReader
  report: JobReport
  /** Null if no webhook is configured. */
  announce?: Announce | null
  /** The workflow run that this is part of; nulls elsewhere. */
  run: { id: number | null; url: string | null; attempt?: number }
  /** The repository's default. */
  defaultStrategy: NonNullable<Order['strategy']>
}

/**
 * The direct plane's deploy: chooses the AMI, checks what can be checked, then deploys one host after the other, the
 * canary first. Stops at the first host that fails, and rejects with its code and the deploy in `partial.deploy`.
 */
export async function deployFleet(asked: Order, options: DeployOptions, ports: DeployFleetPorts): Promise<Deploy> {
  const order = { ...asked, requestId: attemptId(asked.requestId, ports.run.attempt) }
  const keeper = await RecordKeeper.begin(ports.store, firstRecord(order, ports), (error) =>
    ports.progress.note(`The deploy's record could not be written: ${asClawctlError(error).message}`),
  )
  const audit: DeployAudit = { planLines: [], orphans: [], lost: [] }
  let failure: ClawctlError | null = null
  try {
    await refuseCancelled(order.requestId, ports.store, 'before it began')
    refuseFrozen(await readFreezes(ports), order.target)
    if (order.retire) {
      const registry = await allowRetire(order, ports.registry)
      failure = await withState(options, ports, () => retireHost(order, registry, options, keeper, audit, ports))
    } else failure = await deployHosts(order, options, keeper, audit, ports)
  } catch (error) {
    failure = asClawctlError(error)
  }
  const deploy = await finish(keeper, failure, options, audit, ports)
  if (failure) throw withPartial(failure, { deploy })
  return deploy
}

/** Returns the failure that stopped it, or null. */
async function deployHosts(
  order: Order,
  options: DeployOptions,
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: DeployFleetPorts,
): Promise<ClawctlError | null> {
  const { registry, ids, first } = await prepare(order, audit, ports)
  const begin = async ({ steps, images, hosts }: View) => {
    await keeper.begun(
      steps.map(({ id, previousAmi, previousInstanceId }) => ({ id, previousAmi, instanceId: previousInstanceId })),
      leftOut(order, hosts),
    )
    await keeper.update({ ami: images.values().next().value?.id ?? null })
  }
  await begin(first)
  return withState(options, ports, async () => {
    // Another deploy may have ended while this one waited for the lock.
    const view = await readView(order, registry, ids, ports)
    await begin(view)
    if (!options.planOnly) await restoreRoles(view.hosts, order.requestId, ports)
    return rollOut(order, { registry, ...view }, options, keeper, audit, ports)
  })
}

/** The caller of a deploy of all, as a skipped host. */
function leftOut({ target, caller }: Order, hosts: readonly Host[]): DeployHost[] {
  if (target !== 'all' || !caller) return []
  const host = currentHost(hosts, caller)
  const ami = host?.ami ?? null
  const reason = `${caller} sent the request, and no instance replaces itself: request it from another instance, or from a laptop.`
  return [{ id: caller, outcome: 'skipped', ami, previousAmi: ami, instanceId: host?.instanceId ?? null, reason }]
}

/** The fleet and its images at one moment. */
interface View {
  steps: RolloutStep[]
  /** By id. */
  images: Map<string, FleetImage>
  hosts: Host[]
}

async function readView(
  order: Order,
  registry: Registry,
  ids: readonly string[],
  { compute }: Pick<DeployFleetPorts, 'compute'>,
): Promise<View> {
  const entries = registry.filter((entry) => ids.includes(entry.id))
  const [images, hosts] = await Promise.all([
    chooseImages(compute, entries, order.amiOverride || null),
    compute.describeHosts(),
  ])
  return { images, hosts, steps: planRollout({ ids, registry, hosts }) }
}

/** Checks that change nothing. */
async function prepare(
  order: Order,
  audit: DeployAudit,
  ports: DeployFleetPorts,
): Promise<{ registry: Registry; ids: string[]; first: View }> {
  const { bundles, progress } = ports
  const registry = await readRegistry(ports.registry)
  const scope = allowDeploy({ ...order, registry, identity: identityOnDirectPlane(order) })
  const ids = scope.kind === 'all' ? registry.map((entry) => entry.id).filter((id) => id !== scope.except) : [scope.id]
  return progress.task('check the fleet', async (say) => {
    const first = await readView(order, registry, ids, ports)
    const { hosts, images, steps } = first
    const entries = registry.filter((entry) => ids.includes(entry.id))
    await checkBundles(bundles, entries, registry)
    audit.orphans = orphanIds(registry, hosts)
    if (audit.orphans.length > 0) progress.note(`Not in the registry, left running: ${audit.orphans.join(', ')}.`)
    audit.lost = registry
      .map(({ id }) => id)
      .filter((id) => !ids.includes(id) && !hosts.some((host) => host.id === id && host.state !== 'shutting-down'))
    if (audit.lost.length > 0) progress.note(`Missing, and not part of this deploy: ${audit.lost.join(', ')}.`)
    const names = [...new Set([...images.values()].map((image) => `${image.id} (${image.name})`))]
    say(`${names.join(', ')} for ${steps.map((step) => `${step.id} (${step.action})`).join(', ')}`)
    return { registry, ids, first }
  })
}

/** Returns the failure that stopped the rollout, or null. */
async function rollOut(
  order: Order,
  { registry, steps, images }: View & { registry: Registry },
  options: DeployOptions,
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: DeployFleetPorts,
): Promise<ClawctlError | null> {
  const rollout: Rollout = {
    requestId: order.requestId,
    configRevision: order.configRevision,
    registry,
    scope: steps.map(({ id }) => id),
    planOnly: options.planOnly,
    onFailure: options.onFailure,
    healthTimeoutMs: options.healthTimeoutMs,
    onPlan: (lines) => void audit.planLines.push(...lines),
  }
  const strategy = order.strategy ?? ports.defaultStrategy
  const gone = new Set<string>()
  /** AMIs with which a host of this rollout is healthy. */
  const good = new Set<string>()
  const deployOne = async ({ id }: RolloutStep, list: ItemProgress) => {
    const image = images.get(id)
    if (!image) throw new ClawctlError('INTERNAL', `No image was chosen for ${id}.`)
    const steps = new HostSteps(id, { keeper, clock: ports.clock, list })
    await keeper.host(id, { outcome: 'deploying', startedAt: ports.clock.now().toISOString() })
    const keepEvidence = (evidence: HostEvidence) => keeper.host(id, { evidence })
    const work = { turn: { id, image, at: steps.at.bind(steps), keepEvidence }, rollout, ports, gone }
    const result = await (strategy === 'replace' ? replaceHost(work) : handOver(work))
    const error = result.ok ? null : result.error
    await steps.end(error?.message)
    const finishedAt = ports.clock.now().toISOString()
    await keeper.host(id, { ...result.host, step: null, reason: error?.message ?? null, finishedAt })
    if (result.ok) {
      good.add(image.id)
      // Also the heartbeats of machines that were lost or replaced.
      if (!rollout.planOnly) await removeHeartbeats(ports.store, id, result.host.instanceId)
    } else await markFailed(image, result.host.ami, result.error, good, order.requestId, ports)
    return error
  }
  return ports.progress.list(rollout.scope, async (list) => {
    for (const step of steps) {
      await refuseCancelled(order.requestId, ports.store, 'before its next host')
      const error = await deployOne(step, list)
      if (error) return error
    }
    return null
  })
}

/** Marks an AMI as failed, so that the next deploy does not choose it; not one with which another host is healthy. */
async function markFailed(
  image: FleetImage,
  stays: string | null,
  error: ClawctlError,
  good: ReadonlySet<string>,
  requestId: string,
  { machines, progress }: DeployFleetPorts,
): Promise<void> {
  const cause = error.cause instanceof ClawctlError ? error.cause : error
  const isItsFault = cause.code === 'HEALTH_FAILED' && (error.code === 'KEPT' || error.code === 'ROLLED_BACK')
  if (!isItsFault || good.has(image.id) || stays === image.id) return
  try {
    await machines.markFailed(image.id, requestId)
  } catch (failure) {
    progress.note(`${image.id} could not be marked as failed: ${asClawctlError(failure).message}`)
  }
}

async function finish(
  keeper: RecordKeeper,
  failure: ClawctlError | null,
  options: DeployOptions,
  audit: DeployAudit,
  ports: DeployFleetPorts,
): Promise<Deploy> {
  await keeper.update({
    status: finalStatus(failure, options.planOnly),
    finishedAt: ports.clock.now().toISOString(),
    hosts: keeper.record.hosts.map((host) =>
      host.outcome === 'pending' ? { ...host, outcome: 'skipped', ami: host.previousAmi } : host,
    ),
    error: failure && errorBody(failure),
  })
  const deploy = deployOfRecord(keeper.record)
  try {
    await ports.report.summary(renderDeploySummary(deploy, audit))
    await ports.report.output('status', deploy.status)
    if (deploy.ami) await ports.report.output('ami', deploy.ami)
  } catch (error) {
    ports.progress.note(`The step summary could not be written: ${asClawctlError(error).message}`)
  }
  // A plan changes nothing, so it is not announced.
  const failures = options.planOnly || !ports.announce ? [] : await ports.announce(deploy).catch(() => ['it failed'])
  for (const problem of failures) ports.progress.note(`The end of the deploy could not be posted: ${problem}.`)
  return deploy
}

function firstRecord(order: Order, ports: DeployFleetPorts): DeployRecord {
  return {
    schema: 1,
    // It must stay one line in logs and summaries.
    ...storeOrder({ ...order, target: order.target.replace(/[\p{C}\s]+/gu, ' ') }),
    ami: order.amiOverride ?? null,
    status: 'running',
    runId: ports.run.id,
    runUrl: ports.run.url,
    createdAt: ports.clock.now().toISOString(),
    finishedAt: null,
    hosts: [],
    error: null,
  }
}

function finalStatus(failure: ClawctlError | null, planOnly: boolean): DeployStatus {
  if (!failure) return planOnly ? 'planned' : 'succeeded'
  if (failure.code === 'ROLLED_BACK') return 'rolled-back'
  if (failure.code === 'KEPT') return 'kept'
  return failure.code === 'CANCELLED' ? 'cancelled' : 'failed'
}
