import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import pMap from 'p-map'
import { applyChanges } from './apply.js'
import { type Command, type Invocation, parseArgs } from './args.js'
import { Backend, type BackendConfig, recallBackend, rememberBackend } from './backend.js'
import { createEc2, createIam, createS3 } from './clients.js'
import { Diagnostic, formatDiagnostic } from './diagnostic.js'
import { plain } from './evaluate.js'
import { Module } from './module.js'
import { driftOf, planChanges, planJson } from './plan.js'
import { count, planText, savedText } from './planText.js'
import { Provider } from './provider.js'
import { checkFresh, loadPlan, savePlan } from './savedPlan.js'
import { readStack } from './stack.js'
import { addressOf, ctyOf, type Resource, State, TOFU_VERSION } from './state.js'
import { readVariables, restoreVariables } from './variables.js'

export interface Io {
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  out(text: string): void
  err(text: string): void
  /** Aborted by the first interrupt. */
  signal: AbortSignal
}

interface Context extends Io {
  invocation: Invocation
  /** The stack's directory: -chdir, else the working directory. */
  dir: string
  dataDir: string
}

/** Runs one command of the stand-in and returns its exit code. */
export async function runTofu(argv: readonly string[], io: Io): Promise<number> {
  try {
    const invocation = parseArgs(argv)
    const dir = resolve(io.cwd, invocation.chdir ?? '.')
    const dataDir = resolve(dir, io.env.TF_DATA_DIR || '.terraform')
    return await HANDLERS[invocation.command]({ ...io, invocation, dir, dataDir })
  } catch (error) {
    const { summary, detail } =
      error instanceof Diagnostic ? error : { summary: (error as Error).message || String(error), detail: '' }
    io.err(formatDiagnostic('Error', summary, detail))
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
  const config = recallBackend(dataDir)
  const warn = (summary: string, detail: string) => err(formatDiagnostic('Warning', summary, detail))
  const variables = readVariables(stack, invocation.vars, env, warn)
  const backend = await openBackend(config)
  const release = invocation.flag('lock', true)
    ? await backend.lock('OperationTypePlan', invocation.lockTimeoutMs, signal, (line) => out(`${line}\n`))
    : async () => {}
  try {
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
  } finally {
    await release()
  }
}

/** OpenTofu's own parallelism. */
const PARALLEL = 10

/** The state as AWS has it now: without what is gone. */
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
  return new Provider(await cloudOf(region), { speed: speedOf(env), signal, still: () => {} })
}

/** Hosts boot some fifty times faster in the sandbox, and so goes the clock of its OpenTofu. */
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
      'Run "tofu plan -out=FILE", look at it, then "tofu apply FILE". What was not looked at is not applied, with -auto-approve or without.',
    )
  }
  if (invocation.vars.length > 0) {
    throw new Diagnostic(
      `Can't set variables when applying a saved plan`,
      'A saved plan includes the variable values that were set when it was created.',
    )
  }
  const saved = loadPlan(resolve(dir, file), file)
  recallBackend(dataDir)
  const backend = await openBackend(saved.backend)
  const say = (line: string) => out(`${line}\n`)
  const release = invocation.flag('lock', true)
    ? await backend.lock('OperationTypeApply', invocation.lockTimeoutMs, signal, say)
    : async () => {}
  try {
    checkFresh(saved, await backend.readState())
    const state = State.parse(saved.prior)
    const stack = readStack(dir)
    const variables = restoreVariables(stack, saved.variables)
    const speed = speedOf(env)
    let [written, pending] = [Date.now(), false]
    const changed = async () => {
      pending = true
      if (((Date.now() - written) / 1000) * speed < PERSIST_SECONDS) return
      await backend.writeState(state)
      written = Date.now()
      pending = false
    }
    try {
      const ports = { cloud: await cloudOf(saved.region), changed, say, signal, speed }
      await applyChanges(saved.changes, { stack, variables }, state, ports)
      pending = true
    } catch (error) {
      // What a create had begun is in the state, tainted.
      pending = true
      throw error
    } finally {
      if (pending) await lastWrite(backend, state, dir)
    }
  } finally {
    await release()
  }
  const { import: imported, add, change, destroy } = count(saved.changes)
  say(
    `\nApply complete! Resources: ${imported > 0 ? `${imported} imported, ` : ''}${add} added, ${change} changed, ${destroy} destroyed.`,
  )
  return 0
}

/** @throws Diagnostic where S3 refuses: the state is then in errored.tfstate */
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

async function show(context: Context): Promise<number> {
  const { invocation, dir, out } = context
  const [file = invocation.text('plan')] = takeArguments(invocation, 1)
  const json = invocation.flag('json', false)
  if (file) {
    const saved = loadPlan(resolve(dir, file), file)
    out(json ? `${JSON.stringify(saved.json)}\n` : planText(saved.changes, []))
    return 0
  }
  const state = await readState(context)
  const lines = state.resources.map((resource) => `# ${addressOf(resource)}: ${String(resource.attributes.id)}`)
  out(json ? `${JSON.stringify(state.toJson())}\n` : `${lines.join('\n') || 'No state.'}\n`)
  return 0
}

async function stateList(context: Context): Promise<number> {
  const wanted = context.invocation.positional
  const addresses = (await readState(context)).resources.map(addressOf)
  const listed = addresses.filter(
    (address) => wanted.length === 0 || wanted.some((w) => address === w || address.startsWith(`${w}[`)),
  )
  context.out(listed.map((address) => `${address}\n`).join(''))
  return 0
}

async function statePull(context: Context): Promise<number> {
  takeArguments(context.invocation, 0)
  const state = await readState(context)
  if (state.lineage !== '') context.out(state.text())
  return 0
}

async function statePush(context: Context): Promise<number> {
  const [file] = takeArguments(context.invocation, 1)
  if (file === undefined) throw new Diagnostic('Exactly one argument expected', 'Path to the state to push')
  const pushed = State.parse(readFileSync(file === '-' ? 0 : resolve(context.dir, file), 'utf8'))
  await withState(context, async (backend, state) => {
    if (!context.invocation.flag('force', false) && state.lineage !== '') {
      const summary = 'Failed to write state'
      if (state.lineage !== pushed.lineage) {
        throw new Diagnostic(
          summary,
          `cannot import state with lineage "${pushed.lineage}" over unrelated state with lineage "${state.lineage}"`,
        )
      }
      if (state.serial > pushed.serial) {
        throw new Diagnostic(
          summary,
          `cannot import state with serial ${pushed.serial} over newer state with serial ${state.serial}`,
        )
      }
    }
    await backend.pushState(pushed)
  })
  return 0
}

async function untaint(context: Context): Promise<number> {
  const [address] = takeArguments(context.invocation, 1)
  if (address === undefined) throw new Diagnostic('The untaint command expects exactly one argument.')
  await withState(context, async (backend, state) => {
    const resource = state.get(address)
    if (!resource) {
      throw new Diagnostic(
        'No such resource instance',
        `There is no resource instance in the state with the address ${address}.`,
      )
    }
    if (!resource.tainted) {
      throw new Diagnostic(
        'Resource instance is not tainted',
        `Resource instance ${address} is not currently tainted, and so it cannot be untainted.`,
      )
    }
    const { tainted: _, ...whole } = resource
    state.put(whole)
    await backend.writeState(state)
  })
  context.out(`Resource instance ${address} has been successfully untainted.\n`)
  return 0
}

/** Under the lock. */
async function withState(context: Context, work: (backend: Backend, state: State) => Promise<void>): Promise<void> {
  const { invocation, dir, dataDir, signal, out } = context
  readStack(dir)
  const backend = await openBackend(recallBackend(dataDir))
  const release = invocation.flag('lock', true)
    ? await backend.lock('OperationTypeInvalid', invocation.lockTimeoutMs, signal, (line) => out(`${line}\n`))
    : async () => {}
  try {
    await work(backend, await backend.readState())
  } finally {
    await release()
  }
}

async function forceUnlock({ invocation, dataDir, out }: Context): Promise<number> {
  const [id] = takeArguments(invocation, 1)
  if (id === undefined) throw new Diagnostic('Wrong number of arguments', 'Expected a single argument: LOCK_ID')
  if (!invocation.flag('force', false)) {
    throw new Diagnostic('The stand-in of the clawctl sandbox asks no questions', 'Say -force.')
  }
  await (await openBackend(recallBackend(dataDir))).unlock(id)
  out('OpenTofu state has been successfully unlocked!\n')
  return 0
}

function validate({ invocation, dir, out }: Context): number {
  takeArguments(invocation, 0)
  readStack(dir)
  out('Success! The configuration is valid.\n')
  return 0
}

async function output(context: Context): Promise<number> {
  const { invocation, out } = context
  const [name] = takeArguments(invocation, 1)
  const { outputs } = await readState(context)
  const shown = Object.entries(outputs).filter(([key]) => name === undefined || key === name)
  if (name !== undefined && shown.length === 0) throw new Diagnostic(`Output "${name}" not found`)
  const described = Object.fromEntries(
    shown.map(([key, value]) => [key, { sensitive: false, type: ctyOf(value), value }]),
  )
  if (name !== undefined) out(`${JSON.stringify(outputs[name], null, 2)}\n`)
  else if (invocation.flag('json', false)) out(`${JSON.stringify(described, null, 2)}\n`)
  else out(shown.map(([key, value]) => `${key} = ${JSON.stringify(value, null, 2)}\n`).join(''))
  return 0
}

async function readState({ dir, dataDir }: Context): Promise<State> {
  readStack(dir)
  return (await openBackend(recallBackend(dataDir))).readState()
}

async function openBackend(config: BackendConfig): Promise<Backend> {
  const s3 = await createS3(config.region ?? '', config.use_path_style === 'true')
  return new Backend(s3, config)
}

function takeArguments({ positional }: Invocation, most: number): readonly string[] {
  if (positional.length <= most) return positional
  throw new Diagnostic('Too many command line arguments', 'To specify a working directory, use the global -chdir flag.')
}

function checkReplaceAddress(address: string): void {
  if (/^[a-z_][\w]*\.[\w-]+(?:\["[^"]*"\]|\[\d+\])?$/.test(address)) return
  throw new Diagnostic(`Invalid force-replace address "${address}"`, 'Resource instance address expected.')
}
