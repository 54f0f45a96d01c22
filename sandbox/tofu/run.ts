import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import pMap from 'p-map'
import { applyChanges } from './apply.js'
import { type Command, parseArgs } from './args.js'
import { type Backend, recallBackend, rememberBackend } from './backend.js'
import { createEc2, createIam } from './clients.js'
import { type Context, type Io, locked, openBackend, reportError, takeArguments } from './context.js'
import { Diagnostic, formatDiagnostic } from './diagnostic.js'
import { plain } from './evaluate.js'
import { Module } from './module.js'
import { driftOf, planChanges, planJson } from './plan.js'
import { count, planText, savedText } from './planText.js'
import { Provider } from './provider.js'
import { Clock } from './resources.js'
import { checkFresh, loadPlan, savePlan } from './savedPlan.js'
import { readStack } from './stack.js'
import { addressOf, type Resource, State, TOFU_VERSION } from './state.js'
import { forceUnlock, output, show, stateList, statePull, statePush, untaint } from './stateCommands.js'
import { readVariables, restoreVariables } from './variables.js'

/** Runs one command of the stand-in and returns its exit code. */
export async function runTofu(argv: readonly string[], io: Io): Promise<number> {
  try {
    const invocation = parseArgs(argv)
    const dir = resolve(io.cwd, invocation.chdir ?? '.')
    const dataDir = resolve(dir, io.env.TF_DATA_DIR || '.terraform')
    return await HANDLERS[invocation.command]({ ...io, invocation, dir, dataDir })
  } catch (error) {
    reportError(io, error)
    return 1
  }
}

const HANDLERS: Record<Command, (context: Context) => number | Promise<number>> = {
  version,
  init,
  plan,
  apply,
  show,
  'state list': stateList,
  'state pull': statePull,
  'state push': statePush,
  untaint,
  'force-unlock': forceUnlock,
  validate,
  output,
}

function version({ invocation, out }: Context): number {
  const json = { terraform_version: TOFU_VERSION, platform: 'stand-in of the clawctl sandbox', provider_selections: {} }
  out(
    invocation.flag('json', false)
      ? `${JSON.stringify(json, null, 2)}\n`
      : `OpenTofu v${TOFU_VERSION} (stand-in of the clawctl sandbox)\n`,
  )
  return 0
}

function init({ invocation, dir, dataDir, out }: Context): number {
  takeArguments(invocation, 0)
  const stack = readStack(dir)
  if (!stack.backend) throw new Diagnostic('Not the fleet stack', 'It declares no backend "s3".')
  const config = rememberBackend(dataDir, stack.backend, invocation.list('backend-config'))
  out(`
Initializing the backend...

Successfully configured the backend "s3"! OpenTofu will automatically
use this backend unless the backend configuration changes.

This is the stand-in of the clawctl sandbox.${config.dynamodb_table ? ' It does not model the lock in dynamodb_table.' : ''}

OpenTofu has been successfully initialized!
`)
  return 0
}

async function plan(context: Context): Promise<number> {
  const { invocation, dir, dataDir, env, signal, out, err } = context
  takeArguments(invocation, 0)
  const forced = invocation.list('replace')
  forced.forEach(checkReplaceAddress)
  const stack = readStack(dir)
  const config = recallBackend(dataDir, stack.backend)
  const warn = (summary: string, detail: string) => err(formatDiagnostic('Warning', summary, detail))
  const variables = readVariables(stack, invocation.vars, env, warn)
  const backend = await openBackend(config)
  return locked(context, backend, 'OperationTypePlan', async () => {
    const state = await backend.readState()
    const region = String((stack.region ? new Module(stack, variables).evaluate(stack.region) : null) ?? config.region)
    const provider = await providerOf(region, context)
    const prior = invocation.flag('refresh', true) ? await refresh(state, provider, out) : state
    const changes = await planChanges(stack, variables, prior, {
      replace: forced,
      destroy: invocation.flag('destroy', false),
      import: (type, address, id) => provider.import(type, address, id),
    })
    const drift = driftOf(state, prior)
    if (signal.aborted) throw new Diagnostic('execution halted')
    out(planText(changes, drift))
    const file = invocation.text('out')
    if (file !== null) {
      const json = planJson(stack, variables, prior, changes, drift)
      const { lineage, serial } = state
      const given = Object.fromEntries([...variables].map(([name, value]) => [name, plain(value)]))
      const saved = { backend: config, lineage, serial, region, prior: prior.text(), variables: given, changes, json }
      savePlan(resolve(dir, file), saved)
    }
    const { import: imported, add, change, destroy } = count(changes)
    const touches = imported + add + change + destroy > 0
    if (touches) out(savedText(file))
    return invocation.flag('detailed-exitcode', false) && touches ? 2 : 0
  })
}

/** OpenTofu's own parallelism. */
const PARALLEL = 10

/** The state after a refresh, without resources that are gone. */
async function refresh(state: State, provider: Provider, out: (text: string) => void): Promise<State> {
  const read = await pMap(
    state.resources,
    async (resource): Promise<Resource[]> => {
      out(`${addressOf(resource)}: Refreshing state... [id=${String(resource.attributes.id)}]\n`)
      const attributes = await provider.read(resource.type, addressOf(resource), resource.attributes)
      return attributes === null ? [] : [{ ...resource, attributes }]
    },
    { concurrency: PARALLEL },
  )
  return state.with(read.flat())
}

async function cloudOf(region: string) {
  const [ec2, iam] = await Promise.all([createEc2(region), createIam(region)])
  return { ec2, iam, region }
}

async function providerOf(region: string, { env, signal }: Pick<Context, 'env' | 'signal'>): Promise<Provider> {
  return new Provider(await cloudOf(region), { clock: new Clock(speedOf(env), signal), signal, still: () => {} })
}

/** Hosts boot some fifty times faster in the sandbox, so its OpenTofu's clock is faster, too. */
const SPEED = 50
/** OpenTofu writes its state at most this often during an apply. */
const PERSIST_SECONDS = 20

function speedOf(env: Context['env']): number {
  const speed = Number(env.CLAWCTL_TOFU_SPEED ?? SPEED)
  return Number.isFinite(speed) && speed > 0 ? speed : SPEED
}

async function apply(context: Context): Promise<number> {
  const { invocation, dir, dataDir, env, signal, out } = context
  const [file] = takeArguments(invocation, 1)
  if (file === undefined) {
    throw new Diagnostic(
      'The stand-in of the clawctl sandbox applies saved plans only',
      'Run "tofu plan -out=FILE", check the plan, then "tofu apply FILE". An unsaved plan is never applied, even with -auto-approve.',
    )
  }
  if (invocation.vars.length > 0) {
    throw new Diagnostic(
      `Can't set variables when applying a saved plan`,
      'A saved plan includes the variable values that were set when it was created.',
    )
  }
  const saved = loadPlan(resolve(dir, file), file)
  const stack = readStack(dir)
  recallBackend(dataDir, stack.backend)
  const backend = await openBackend(saved.backend)
  const say = (line: string) => out(`${line}\n`)
  await locked(context, backend, 'OperationTypeApply', async () => {
    checkFresh(saved, await backend.readState())
    const state = State.parse(saved.prior)
    const variables = restoreVariables(stack, saved.variables)
    const clock = new Clock(speedOf(env), signal)
    let written = clock.seconds
    const changed = async () => {
      if (clock.seconds - written < PERSIST_SECONDS) return
      written = clock.seconds
      // A failed write is repeated at the end.
      await backend.writeState(state).catch(() => {})
    }
    let failure: unknown = null
    try {
      const ports = { cloud: await cloudOf(saved.region), changed, say, signal, clock }
      await applyChanges(saved.changes, { stack, variables }, state, ports)
    } catch (error) {
      failure = error
    }
    // Resources that were being created are in the state, tainted.
    await lastWrite(backend, state, dir).catch((error) => {
      if (failure !== null) reportError(context, failure)
      throw error
    })
    if (failure !== null) throw failure
  })
  const { import: imported, add, change, destroy } = count(saved.changes)
  say(
    `\nApply complete! Resources: ${imported > 0 ? `${imported} imported, ` : ''}${add} added, ${change} changed, ${destroy} destroyed.`,
  )
  return 0
}

/** @throws Diagnostic if S3 refuses; the state is then in errored.tfstate */
async function lastWrite(backend: Backend, state: State, dir: string): Promise<void> {
  try {
    await backend.writeState(state)
  } catch (error) {
    const { summary, detail } = error as Diagnostic
    writeFileSync(resolve(dir, 'errored.tfstate'), state.text(), { mode: 0o600 })
    throw new Diagnostic(
      'Failed to persist state to backend',
      `${summary}: ${detail}\n\nThe error shown above has prevented OpenTofu from writing the updated state to the configured backend. To allow for recovery, the state has been written to the file "errored.tfstate" in the current working directory.\n\nRunning "tofu apply" again at this point will create a forked state, making it harder to recover.\n\nTo retry writing this state, use the following command:\n    tofu state push errored.tfstate\n`,
    )
  }
}

function validate({ invocation, dir, out }: Context): number {
  takeArguments(invocation, 0)
  readStack(dir)
  out('Success! The configuration is valid.\n')
  return 0
}

function checkReplaceAddress(address: string): void {
  if (/^[a-z_][\w]*\.[\w-]+(?:\["[^"]*"\]|\[\d+\])?$/.test(address)) return
  throw new Diagnostic(`Invalid force-replace address "${address}"`, 'Resource instance address expected.')
}
