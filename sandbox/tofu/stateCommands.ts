import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Backend } from './backend.js'
import { type Context, initialized, locked, readState, takeArguments } from './context.js'
import { Diagnostic } from './diagnostic.js'
import { planText } from './planText.js'
import { loadPlan } from './savedPlan.js'
import { addressOf, ctyOf, State } from './state.js'

export async function show(context: Context): Promise<number> {
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

export async function stateList(context: Context): Promise<number> {
  const wanted = context.invocation.positional
  const addresses = (await readState(context)).resources.map(addressOf)
  const listed = addresses.filter(
    (address) => wanted.length === 0 || wanted.some((w) => address === w || address.startsWith(`${w}[`)),
  )
  context.out(listed.map((address) => `${address}\n`).join(''))
  return 0
}

export async function statePull(context: Context): Promise<number> {
  takeArguments(context.invocation, 0)
  const state = await readState(context)
  if (state.lineage !== '') context.out(state.text())
  return 0
}

export async function statePush(context: Context): Promise<number> {
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

export async function untaint(context: Context): Promise<number> {
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

export async function forceUnlock(context: Context): Promise<number> {
  const [id] = takeArguments(context.invocation, 1)
  if (id === undefined) throw new Diagnostic('Wrong number of arguments', 'Expected a single argument: LOCK_ID')
  if (!context.invocation.flag('force', false)) {
    throw new Diagnostic('The stand-in of the clawctl sandbox asks no questions', 'Say -force.')
  }
  await (await initialized(context)).unlock(id)
  context.out('OpenTofu state has been successfully unlocked!\n')
  return 0
}

export async function output(context: Context): Promise<number> {
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

async function withState(context: Context, work: (backend: Backend, state: State) => Promise<void>): Promise<void> {
  const backend = await initialized(context)
  await locked(context, backend, 'OperationTypeInvalid', async () => work(backend, await backend.readState()))
}
