import * as z from 'zod/mini'
import { REQUEST_ID_PATTERN } from '../../domain/contract/patterns.js'
import { type Adoption, expectPlan } from '../../domain/deploy/expectation.js'
import type { FleetImage } from '../../domain/deploy/image.js'
import { adoptedNames, missingTypes } from '../../domain/deploy/leftovers.js'
import { guardPlan } from '../../domain/deploy/planGuard.js'
import { type Change, type FleetState, instanceAddress, planInputs } from '../../domain/deploy/slots.js'
import { findAdoptable } from './adoption.js'
import type { Observation } from './observation.js'
import type { HostDeployPorts, LaunchParameters, Rollout } from './ports.js'

export interface GuardedPlan {
  file: string
  json: unknown
  lines: string[]
}

/**
 * Plans one change and guards it. The plan's inputs come from the state, the guard's expectation from request, state and
 * EC2. The same plan adopts what a killed deploy left outside the state.
 * @param options.instances machines to adopt, EC2's id by the stack's key
 * @throws ClawctlError PLAN_OUT_OF_SCOPE, PLAN_FAILED, NOT_IN_STATE. Nothing was applied.
 */
export async function planChange(
  change: Change,
  options: {
    ami: string
    instances?: Adoption['instances']
    observed: Pick<Observation, 'hosts' | 'state' | 'gone' | 'resources'>
  },
  rollout: Pick<Rollout, 'requestId' | 'configRevision' | 'registry' | 'scope' | 'onPlan'>,
  ports: HostDeployPorts,
): Promise<GuardedPlan> {
  const { observed, ami, instances = {} } = options
  const { gone } = observed
  const state = withAdopted(observed, instances, change.kind === 'none' ? rollout.scope : [])
  const inputs = planInputs(state, gone, change)
  const adopt = await findAdoptable(inputs.instances, instances, observed, ports)
  for (const name of adoptedNames(adopt)) ports.progress.note(`Adopts ${name}: it exists, but not in the state.`)
  const file = ports.planFile(change.kind === 'none' ? 'recover' : change.id)
  const json = await ports.tofu.plan({
    file,
    ami,
    requestId: REQUEST_ID_PATTERN.test(rollout.requestId) ? rollout.requestId : null,
    configRevision: rollout.configRevision,
    ...inputs,
    adopt,
    replace: change.kind === 'replace' ? instanceAddress(change.id, change.slot) : null,
  })
  const registered = Object.fromEntries(rollout.registry.map(({ id, bootstrapPrefix }) => [id, bootstrapPrefix]))
  // Every plan also creates roles, policies and profiles that are missing.
  const incomplete = inputs.instances.filter((id) => missingTypes(observed.resources, id).length > 0)
  const scope = [...new Set([...rollout.scope, ...incomplete])]
  const prefixes = Object.fromEntries(scope.map((id) => [id, registered[id] ?? `bootstrap/${id}`]))
  const { lines } = guardPlan(json, expectPlan({ change, scope, state, gone, adopt, prefixes }))
  rollout.onPlan(lines)
  return { file, json, lines }
}

/** The state as it will be after the adoption. A machine keeps the bundle of its launch, so its role must match that. */
function withAdopted(
  { state, hosts }: Pick<Observation, 'state' | 'hosts'>,
  instances: Adoption['instances'],
  ids: readonly string[],
): FleetState {
  const all = new Map(state)
  for (const id of ids) all.set(id, all.get(id) ?? [])
  for (const [key, instanceId] of Object.entries(instances)) {
    const [id = key, slot] = key.split('/')
    const prefix = hosts.find((host) => host.instanceId === instanceId)?.bootstrapPrefix ?? null
    const placed = { slot: slot === 'b' ? 'b' : 'a', instanceId, prefix } as const
    all.set(id, [...(all.get(id) ?? []), placed])
  }
  return all
}

const text = z.catch(z.nullish(z.string()), null)
const machineSchema = z.object({
  ami: z.string(),
  instance_type: z.string(),
  subnet_id: text,
  iam_instance_profile: text,
  user_data: text,
  tags: z.catch(z.nullish(z.record(z.string(), z.string())), null),
  vpc_security_group_ids: z.catch(z.nullish(z.array(z.string())), null),
  root_block_device: z.catch(z.nullish(z.array(z.object({ volume_size: z.catch(z.nullish(z.number()), null) }))), null),
})
const planSchema = z.object({
  resource_changes: z.array(
    z.object({
      address: z.string(),
      change: z.object({ after: z.optional(z.unknown()), actions: z.array(z.string()) }),
    }),
  ),
})

/** The launch at this address in the plan; null if there is none. */
export function launchOf(json: unknown, address: string, image: FleetImage): LaunchParameters | null {
  const changes = planSchema.safeParse(json).data?.resource_changes ?? []
  const machine = machineSchema.safeParse(changes.find((one) => one.address === address)?.change.after).data
  if (!machine) return null
  const profileIsNew = changes.some(
    (one) => one.address.startsWith('aws_iam_instance_profile.') && one.change.actions.includes('create'),
  )
  return {
    ami: machine.ami,
    instanceType: machine.instance_type,
    subnetId: machine.subnet_id ?? null,
    securityGroupIds: machine.vpc_security_group_ids ?? [],
    profile: profileIsNew ? null : (machine.iam_instance_profile ?? null),
    userData: machine.user_data ?? null,
    rootGib: machine.root_block_device?.[0]?.volume_size ?? null,
    rootDevice: image.rootDevice,
    tags: machine.tags ?? {},
  }
}
