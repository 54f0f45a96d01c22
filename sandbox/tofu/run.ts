import { resolve } from 'node:path'
import { applyChanges } from './apply.js'
import { type Command, type Invocation, parseArgs } from './args.js'
import { Backend, type BackendConfig, recallBackend, rememberBackend } from './backend.js'
import { createEc2, createS3 } from './clients.js'
import { Diagnostic, formatDiagnostic } from './diagnostic.js'
import { driftOf, planChanges, planJson } from './plan.js'
import { count, planText, savedText } from './planText.js'
import { checkFresh, loadPlan, savePlan } from './savedPlan.js'
import { readStack } from './stack.js'
import { addressOf, type State, TOFU_VERSION, typeOf } from './state.js'
import { readVariables } from './variables.js'

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
  const unmodelled = [...stack.unmodelled, ...(config.dynamodb_table ? ['the lock in dynamodb_table'] : [])]
  out(`
Initializing the backend...

Successfully configured the backend "s3"! OpenTofu will automatically
use this backend unless the backend configuration changes.

This is the stand-in of the clawctl sandbox. It does not model:
${unmodelled.map((name) => `- ${name}`).join('\n')}
IAM is not called: roles and profiles exist in the state alone.

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
    const region = String(variables.get('region') ?? config.region)
    const gone = invocation.flag('refresh', true) ? await refresh(state, region, out) : new Set<string>()
    const prior = state.without(gone)
    const changes = planChanges(stack, variables, prior, {
      replace: forced,
      destroy: invocation.flag('destroy', false),
    })
    const drift = driftOf(state, gone)
    if (signal.aborted) throw new Diagnostic('execution halted')
    out(planText(changes, drift))
    const file = invocation.text('out')
    if (file !== null) {
      const json = planJson(stack, variables, prior, changes, drift)
      const { lineage, serial } = state
      savePlan(resolve(dir, file), { backend: config, lineage, serial, region, gone: [...gone], changes, json })
    }
    const { add, change, destroy } = count(changes)
    const touches = add + change + destroy > 0
    if (touches) out(savedText(file))
    return invocation.flag('detailed-exitcode', false) && touches ? 2 : 0
  } finally {
    await release()
  }
}

/** Addresses of the instances in the state that EC2 no longer has. */
async function refresh(state: State, region: string, out: (text: string) => void): Promise<Set<string>> {
  const instances = state.resources.filter(({ type }) => type === 'aws_instance')
  if (instances.length === 0) return new Set()
  for (const resource of state.resources) {
    out(`${addressOf(resource)}: Refreshing state... [id=${String(resource.attributes.id)}]\n`)
  }
  const ec2 = await createEc2(region)
  let live: Set<string>
  try {
    live = new Set((await ec2.describe(instances.map(({ attributes }) => String(attributes.id)))).map(({ id }) => id))
  } catch (error) {
    const { name, message } = error as Error
    throw new Diagnostic(`reading EC2 Instances: operation error EC2: DescribeInstances, api error ${name}: ${message}`)
  }
  return new Set(instances.filter(({ attributes }) => !live.has(String(attributes.id))).map(addressOf))
}

async function apply(context: Context): Promise<number> {
  const { invocation, dir, dataDir, signal, out } = context
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
    const state = await backend.readState()
    checkFresh(saved, state)
    const ec2 = await createEc2(saved.region)
    const save = (changed: State) => backend.writeState(changed)
    await applyChanges(saved.changes, state.without(new Set(saved.gone)), {
      ec2,
      region: saved.region,
      save,
      say,
      signal,
    })
  } finally {
    await release()
  }
  const { add, change, destroy } = count(saved.changes)
  say(`\nApply complete! Resources: ${add} added, ${change} changed, ${destroy} destroyed.`)
  return 0
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
  readStack(dir).registry()
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
    shown.map(([key, value]) => [key, { sensitive: false, type: typeOf(value), value }]),
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
