import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ID_PATTERN } from '../src/lib/domain/contract/index.js'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { nearest } from '../src/lib/domain/nearest.js'
import { checkRegistry } from '../src/lib/domain/registry/registry.js'
import type { TofuChoice } from '../src/lib/domain/sandboxOptions.js'
import { parseFault } from '../src/lib/domain/sandboxOptions.js'
import { Checkout } from './checkout.js'
import type { Role } from './environment.js'
import { Sandbox } from './sandbox.js'

/** The options of `clawctl sandbox …`. */
export interface SandboxRequest {
  packageRoot: string
  /** The checkout of the current folder, or null. */
  checkout: string | null
  registry: string | undefined
  running: readonly string[] | undefined
  faults: readonly string[]
  tofu: TofuChoice
  env: NodeJS.ProcessEnv
  onNote?: (note: string) => void
  onStop?: () => void
}

const DEFAULT_RUNNING = ['clawdinator-1']

/** Starts a sandbox. @throws ClawctlError USAGE, REGISTRY_NOT_FOUND, SANDBOX_FAILED */
export async function startSandbox(request: SandboxRequest): Promise<Sandbox> {
  const registryFile = request.registry === undefined ? null : resolve(request.registry)
  if (registryFile !== null) await mustBeReadable(registryFile)
  const running = (request.running ?? DEFAULT_RUNNING).filter(
    (id, index, all) => id !== '' && all.indexOf(id) === index,
  )
  const strange = running.find((id) => !ID_PATTERN.test(id))
  if (strange !== undefined) throw new ClawctlError('USAGE', `${JSON.stringify(strange)} is not an instance id.`)
  const faults = request.faults.map(parseFault)
  const checkout = new Checkout(request.checkout ?? request.packageRoot, registryFile)
  for (const fault of faults) {
    if (fault.on === 'host' && fault.id !== null) await mustBeKnown(fault.id, checkout, running)
  }
  try {
    return await Sandbox.start({
      packageRoot: request.packageRoot,
      checkoutRoot: request.checkout ?? request.packageRoot,
      registryFile,
      runningIds: running,
      faults,
      tofu: request.tofu,
      env: request.env,
      ...(request.onNote ? { onNote: request.onNote } : {}),
      ...(request.onStop ? { onStop: request.onStop } : {}),
    })
  } catch (error) {
    if (error instanceof ClawctlError) throw error
    throw new ClawctlError('SANDBOX_FAILED', `The sandbox could not start: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

async function mustBeReadable(file: string): Promise<void> {
  try {
    await readFile(file)
  } catch (error) {
    throw new ClawctlError('REGISTRY_NOT_FOUND', `${file} can't be read (${(error as NodeJS.ErrnoException).code}).`, {
      hint: 'Pass the path of a file like nix/instances.json to --registry.',
    })
  }
}

async function knownInstances(
  checkout: Checkout,
  running: readonly string[],
): Promise<{ ids: string[]; whole: boolean }> {
  const { entries, problems } = checkRegistry(await checkout.registryText().catch(() => '{}'))
  return { ids: [...new Set([...entries.map((entry) => entry.id), ...running])], whole: problems.length === 0 }
}

async function mustBeKnown(id: string, checkout: Checkout, running: readonly string[]): Promise<void> {
  const { ids, whole } = await knownInstances(checkout, running)
  if (!whole || ids.includes(id)) return
  const near = nearest(id, ids)
  throw new ClawctlError('USAGE', `There is no instance ${JSON.stringify(id)} for the fault.`, {
    hint: near ? `Did you mean ${near}?` : `The instances are ${ids.join(', ')}.`,
  })
}

/** @throws ClawctlError USAGE for an instance that neither the registry nor EC2 has */
export async function parseRole(
  text: string,
  checkout: Checkout,
  running: readonly string[] | undefined,
): Promise<Role> {
  if (text === 'laptop' || text === 'ci') return { kind: text }
  const { ids, whole } = await knownInstances(checkout, running ?? DEFAULT_RUNNING)
  // The command reports a broken registry, not the role check.
  if (ids.includes(text) || (!whole && ID_PATTERN.test(text))) return { kind: 'instance', id: text }
  const roles = ['laptop', 'ci', ...ids]
  const near = text === '' ? null : nearest(text, roles)
  throw new ClawctlError('USAGE', `There is no role ${JSON.stringify(text)}.`, {
    hint: near ? `Did you mean --as ${near}?` : `The roles are ${roles.join(', ')}.`,
  })
}
