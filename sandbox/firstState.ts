import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { FLEET_STACK_PATH, REGISTRY_PATH } from '../src/lib/domain/paths.js'
import { checkRegistry, type Registry } from '../src/lib/domain/registry/registry.js'
import type { Instance, World } from './aws/world.js'
import { putBundles } from './bundles.js'
import type { Checkout } from './checkout.js'
import { applyChanges } from './tofu/apply.js'
import { planChanges } from './tofu/plan.js'
import { Clock } from './tofu/resources.js'
import { readStack } from './tofu/stack.js'
import { State } from './tofu/state.js'
import { readVariables } from './tofu/variables.js'
import { worldCloud } from './worldCloud.js'

export const BUCKET = 'clawdinators-sandbox'
export const REGION = 'eu-central-1'
const DAY_MS = 86_400_000

/** Invented and constant, so that output in the documentation matches. */
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

/** An image newer than all others, like that of a later build. */
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
 * The initial state: the checkout's registry, an older and a newer image, complete bundles for all, and
 * `running` (clawdinator-1 unless asked otherwise) on the older image, in the OpenTofu state. A registry that does
 * not parse is reported by the commands.
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

  const state = input.runningIds.length === 0 ? new State() : await deployed(input, registry, now)
  world.putObject(BUCKET, input.stateKey, state.serialize())
  return { registry, running: [...world.instances.values()] }
}

/** The error for a checkout without a stack that can be deployed. */
function unreadable(error: unknown): ClawctlError {
  if (error instanceof ClawctlError) return error
  const { message, detail = '' } = error as Error & { detail?: string }
  return new ClawctlError('SANDBOX_FAILED', `The fleet stack can't be deployed: ${message}. ${detail}`.trim(), {
    hint: `The checkout needs ${FLEET_STACK_PATH}; outside of a checkout, clawctl brings its own.`,
    cause: error,
  })
}

/** Applies the stack for the running instances, as their deploys would have, and returns the state. */
async function deployed(
  { world, runningIds, stackDir, controlApiUrl }: Parameters<typeof firstState>[0],
  registry: Registry,
  now: number,
): Promise<State> {
  const parent = world.folder ?? tmpdir()
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'first-'))
  const dir = join(folder, FLEET_STACK_PATH)
  try {
    // The stack reads the registry beside it, but the sandbox may use another one.
    cpSync(stackDir, dir, { recursive: true, filter: (source) => !source.endsWith('.terraform') })
    mkdirSync(join(folder, dirname(REGISTRY_PATH)), { recursive: true })
    writeFileSync(join(folder, REGISTRY_PATH), JSON.stringify(Object.fromEntries(registry.map((e) => [e.id, e]))))
    const stack = readStack(dir)
    const values = { ami_id: OLDER_IMAGE.id, region: REGION, bucket: BUCKET, control_api_url: controlApiUrl }
    const vars = Object.entries({ ...values, instance_ids: JSON.stringify(runningIds) })
    const given = vars.map(([name, value]) => ({ flag: 'var' as const, value: `${name}=${value}` }))
    const variables = readVariables(stack, given, {}, () => {})
    const state = new State()
    const none = () => Promise.reject(new Error('there is nothing to import'))
    const changes = await planChanges(stack, variables, state, { replace: [], destroy: false, import: none })
    const { signal } = new AbortController()
    const launchTime = new Date(now - (OLDER_IMAGE.days - 1) * DAY_MS)
    await applyChanges(changes, { stack, variables }, state, {
      cloud: worldCloud(world, launchTime),
      changed: async () => {},
      say: () => {},
      signal,
      clock: new Clock(Number.POSITIVE_INFINITY, signal),
    })
    return state
  } catch (error) {
    throw unreadable(error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
