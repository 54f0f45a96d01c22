import type { Deploy, DeployHost, DeployRecord, DeployStatus, Image, Order } from '../../domain/contract/index.js'
import { storeOrder } from '../../domain/contract/order.js'
import { orphanIds } from '../../domain/deploy/fleet.js'
import type { Host } from '../../domain/deploy/host.js'
import { decideDeploy } from '../../domain/deploy/policy.js'
import { planRollout, type RolloutStep } from '../../domain/deploy/rollout.js'
import { deployOfRecord } from '../../domain/deploy/run.js'
import { type DeployAudit, renderDeploySummary } from '../../domain/deploy/summary.js'
import { hostsInState, prefixesInState, type StateResource, strangerTo } from '../../domain/deploy/tofuState.js'
import { asClawctlError, ClawctlError, errorBody, withPartial } from '../../domain/errors.js'
import { checkBundles } from '../bundles/checkBundles.js'
import type { BundleReader } from '../bundles/ports.js'
import type { JobReport, RegistrySource } from '../ports.js'
import { readRegistry } from '../registry/readRegistry.js'
import { deployHost, type HostDeployPorts, notInState } from './deployHost.js'
import { RecordKeeper } from './deployRecord.js'
import type { DeployOptions } from './plane.js'
import { resolveImage } from './resolveImage.js'
import { retireHost } from './retireHost.js'

export interface DeployFleetPorts extends HostDeployPorts {
  registry: RegistrySource
  bundles: BundleReader
  report: JobReport
  /** The workflow run that this is part of; nulls elsewhere. */
  run: { id: number | null; url: string | null }
}

/**
 * The direct plane's deploy: resolve the AMI, check the bundles, then one host after the other, canary first.
 * Stops at the first host that fails. Rejects with the code of the first failure and the deploy in `partial.deploy`.
 */
export async function deployFleet(request: Order, options: DeployOptions, ports: DeployFleetPorts): Promise<Deploy> {
  const keeper = await RecordKeeper.begin(ports.store, firstRecord(request, ports), (error) =>
    ports.progress.note(`The deploy's record could not be written: ${asClawctlError(error).message}`),
  )
  const audit: DeployAudit = { planLines: [], orphans: [] }
  let failure: ClawctlError | null = null
  try {
    if (request.retire) failure = await retireHost(request, options, keeper, audit, ports)
    else {
      const rollout = await prepare(request, audit, ports)
      await keeper.update({ ami: rollout.image.id, hosts: rollout.steps.map(firstHost) })
      failure = await rollOut(rollout, options, keeper, audit, ports)
    }
  } catch (error) {
    failure = asClawctlError(error)
  }
  const deploy = await finish(keeper, failure, options, audit, ports)
  if (failure) throw withPartial(failure, { deploy })
  return deploy
}

interface Rollout {
  image: Image
  steps: RolloutStep[]
  managed: Set<string>
  /** What the hosts of the state were launched with, by id. */
  prefixes: Map<string, string>
}

/** Everything that can be refused before anything is touched. */
async function prepare(request: Order, audit: DeployAudit, ports: DeployFleetPorts): Promise<Rollout> {
  const { compute, bundles, tofu, progress } = ports
  const registry = await readRegistry(ports.registry)
  const verdict = decideDeploy({ ...request, registry })
  if (!verdict.allowed) throw new ClawctlError(verdict.code, verdict.message, { hint: verdict.hint })
  const ids = verdict.scope.kind === 'all' ? registry.map((entry) => entry.id) : [verdict.scope.id]
  return progress.task('look at the fleet', async (say) => {
    const [image, hosts] = await Promise.all([
      resolveImage(compute, request.amiOverride ?? null),
      compute.describeHosts(),
    ])
    const steps = planRollout({ ids, registry, hosts, caller: request.caller ?? null })
    await checkBundles(
      bundles,
      registry.filter((entry) => ids.includes(entry.id)),
      registry,
    )
    audit.orphans = orphanIds(registry, hosts)
    if (audit.orphans.length > 0) progress.note(`Not in the registry, left running: ${audit.orphans.join(', ')}.`)
    say(`${image.id} (${image.name}) for ${steps.map((step) => `${step.id} (${step.action})`).join(', ')}`)
    await tofu.init()
    const state = await tofu.state()
    return { image, steps, managed: managedIds(state, hosts, ids), prefixes: prefixesInState(state) }
  })
}

/** Returns the failure that stopped the rollout, or null. */
async function rollOut(
  rollout: Rollout,
  options: DeployOptions,
  keeper: RecordKeeper,
  audit: DeployAudit,
  ports: DeployFleetPorts,
): Promise<ClawctlError | null> {
  const { image, steps, managed, prefixes } = rollout
  for (const step of steps) {
    prefixes.delete(step.id)
    await keeper.host(step.id, { outcome: 'deploying' })
    const onPlan = (lines: readonly string[]) => void audit.planLines.push(...lines)
    const result = await deployHost(
      step,
      {
        ...options,
        image,
        scope: steps.map(({ id }) => id),
        managed: [...managed],
        kept: Object.fromEntries(prefixes),
        onPlan,
      },
      ports,
    )
    await keeper.host(step.id, result.host)
    if (!result.ok) return result.error
    if (!options.planOnly) managed.add(step.id)
  }
  return null
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
  return deploy
}

/** The ids in the state. @throws ClawctlError NOT_IN_STATE before anything is planned */
function managedIds(resources: readonly StateResource[], hosts: readonly Host[], ids: readonly string[]): Set<string> {
  const state = hostsInState(resources)
  const stranger = strangerTo(state, hosts, ids)
  if (stranger) throw notInState(stranger, 'Nothing was changed.')
  return new Set(state.keys())
}

function firstRecord(order: Order, ports: DeployFleetPorts): DeployRecord {
  return {
    schema: 1,
    ...storeOrder(order),
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

function firstHost(step: RolloutStep): DeployHost {
  return {
    id: step.id,
    outcome: 'pending',
    ami: null,
    previousAmi: step.previousAmi,
    instanceId: step.previousInstanceId,
  }
}

function finalStatus(failure: ClawctlError | null, planOnly: boolean): DeployStatus {
  if (!failure) return planOnly ? 'planned' : 'succeeded'
  if (failure.code === 'ROLLED_BACK') return 'rolled-back'
  return failure.code === 'CANCELLED' ? 'cancelled' : 'failed'
}
