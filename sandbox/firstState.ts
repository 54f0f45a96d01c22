import { ClawctlError } from '../src/lib/domain/errors.js'
import { FLEET_STACK_PATH } from '../src/lib/domain/paths.js'
import { checkRegistry, type Registry } from '../src/lib/domain/registry/registry.js'
import type { Instance, World } from './aws/world.js'
import { putBundles } from './bundles.js'
import type { Checkout } from './checkout.js'
import { configured } from './tofu/plan.js'
import { readStack } from './tofu/stack.js'
import { type Resource, State } from './tofu/state.js'

export const BUCKET = 'clawdinators-sandbox'
export const REGION = 'eu-central-1'
const DAY_MS = 86_400_000

/** Made up, and the same each time, so that a screen in the documentation is the screen that one gets. */
const OLDER_IMAGE = { id: 'ami-0a1c1aad1e5000001', revision: '3f8e21c94b7a60d5f2e1c8b7a6950d4e3c2b1a09', days: 21 }
const LATEST_IMAGE = { id: 'ami-0a1c1aad1e5000002', revision: '9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9', days: 1 }
const NEXT_IMAGE = { id: 'ami-0a1c1aad1e5000003', revision: 'e04ab71d52c98f3a6b7c8d9e0f1a2b3c4d5e6f70' }

function addImage(world: World, image: { id: string; revision: string }, createdAt: Date): void {
  const day = createdAt.toISOString().slice(0, 10)
  world.addImage({
    id: image.id,
    name: `clawdinator-${day}-${image.revision.slice(0, 12)}`,
    createdAt,
    tags: [
      ['clawdinator', 'true'],
      ['clawdinator:revision', image.revision],
    ],
  })
}

/** An image newer than all: what a later image build leaves. */
export function publishNextImage(world: World): string {
  addImage(world, NEXT_IMAGE, world.now())
  return NEXT_IMAGE.id
}

export interface FirstState {
  registry: Registry
  /** Running instances, for the hosts to adopt. */
  running: Instance[]
}

/**
 * What the sandbox starts with: the checkout's registry, an older and a newer image, complete bundles for all, and
 * `running` (clawdinator-1 unless asked otherwise) on the older image, known to the OpenTofu state. A registry that does
 * not parse is left to the commands to report.
 */
export async function firstState(input: {
  world: World
  checkout: Checkout
  runningIds: readonly string[]
  stackDir: string
  stateKey: string
  controlApiUrl: string
}): Promise<FirstState> {
  const { world, checkout } = input
  world.createBucket(BUCKET)
  const now = world.now().getTime()
  for (const image of [OLDER_IMAGE, LATEST_IMAGE]) addImage(world, image, new Date(now - image.days * DAY_MS))

  const registry = checkRegistry(await checkout.registryText().catch(() => '{}')).entries
  await putBundles(world, BUCKET, registry, LATEST_IMAGE.revision)

  const running = input.runningIds.map((id) => {
    const entry = registry.find((e) => e.id === id)
    return world.launch({
      imageId: OLDER_IMAGE.id,
      instanceType: entry?.instanceType ?? 't3.large',
      state: 'running',
      launchTime: new Date(now - (OLDER_IMAGE.days - 1) * DAY_MS),
      tags: [
        ['app', 'clawdinator'],
        ['Name', id],
        ['clawdinator:id', id],
        ['clawdinator:bootstrap-prefix', entry?.bootstrapPrefix ?? `bootstrap/${id}`],
      ],
    })
  })
  for (const instance of running) instance.checks = 'ok'
  world.putObject(BUCKET, input.stateKey, stateOf(input, running).serialize())
  return { registry, running }
}

/** @throws ClawctlError SANDBOX_FAILED for a checkout without the stack, or with one that can't be read */
function readFleetStack(folder: string): ReturnType<typeof readStack> {
  try {
    return readStack(folder)
  } catch (error) {
    const { detail } = error as { detail?: string }
    throw new ClawctlError(
      'SANDBOX_FAILED',
      `The fleet stack can't be read: ${(error as Error).message}. ${detail ?? ''}`.trim(),
      {
        hint: `The checkout needs ${FLEET_STACK_PATH}; outside of a checkout, clawctl brings its own.`,
        cause: error,
      },
    )
  }
}

/** The state that the deploys of the running instances would have left. */
function stateOf(input: { stackDir: string; controlApiUrl: string }, running: readonly Instance[]): State {
  const stack = readFleetStack(input.stackDir)
  const resources = running.flatMap((instance) => {
    const id = instance.tags.get('clawdinator:id') ?? ''
    const variables = new Map<string, unknown>([
      ['ami_id', instance.imageId],
      ['region', REGION],
      ['bucket', BUCKET],
      ['control_api_url', input.controlApiUrl],
    ])
    return configured(stack, variables, id).map(
      (resource): Resource => ({
        ...resource,
        attributes: { ...resource.attributes, ...computedOf(resource.type, id, instance) },
      }),
    )
  })
  return new State('', 0, resources)
}

function computedOf(type: string, id: string, instance: Instance) {
  if (type !== 'aws_instance')
    return { id, arn: `arn:aws:iam::000000000000:${type.replace('aws_iam_', '')}/clawdinator/${id}` }
  return {
    id: instance.id,
    arn: `arn:aws:ec2:${REGION}:000000000000:instance/${instance.id}`,
    instance_state: 'running',
    public_ip: instance.publicIp,
    private_ip: instance.privateIp,
  }
}
