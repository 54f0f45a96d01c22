import { readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { execa } from 'execa'
import * as z from 'zod/mini'
import type { StateResource } from '../../domain/deploy/slots.js'
import { parseStateHead } from '../../domain/deploy/stateLock.js'
import { ClawctlError, type Code } from '../../domain/errors.js'
import type { Tofu } from '../../ops/ports.js'
import {
  tofuApplyArgs,
  tofuInitArgs,
  tofuPlanArgs,
  tofuShowPlanArgs,
  tofuStatePullArgs,
  tofuStatePushArgs,
  tofuUntaintArgs,
} from './tofuArgs.js'
import { failureWords, jsonAmong } from './tofuText.js'

export interface TofuOptions {
  /** The program, `tofu` by default. */
  binary?: string
  /** Directory of the fleet stack. */
  dir: string
  /** Added to the process's own environment. */
  env?: Readonly<Record<string, string>>
  /** bucket, key, region and optionally dynamodb_table of the S3 backend. */
  backendConfig: Readonly<Record<string, string>>
  /** Variables of the stack, without those that list the machines: these come with each plan. */
  vars: Readonly<Record<string, string>>
  /** Called with every line that init, plan and apply print, errors included. */
  onOutput?: (line: string) => void
  /** Aborted when clawctl is being stopped. */
  signal?: AbortSignal
}

interface Finished {
  stdout: string
  stderr: string
  /** Null if a signal ended it. */
  exitCode: number | null
}

interface RunOptions {
  /** Its output is data and not shown. */
  quiet?: true
  /** For its stdin. */
  input?: string
}

/** The file in the stack's folder with a state that OpenTofu could not store. */
const UNWRITTEN = 'errored.tfstate'

/**
 * Variables that would change what OpenTofu does: further arguments, values for the stack's variables, another workspace
 * and thus another state.
 */
const CLEARED = /^TF_(?:CLI_ARGS(?:_\w+)?|VAR_\w+|WORKSPACE)$/

/** OpenTofu as a child process. */
export function createTofu(options: TofuOptions): Tofu {
  const binary = options.binary ?? 'tofu'
  const dir = resolve(options.dir)
  const unwritten = join(dir, UNWRITTEN)
  const env: Record<string, string | undefined> = {
    TF_IN_AUTOMATION: '1',
    CHECKPOINT_DISABLE: '1',
    ...Object.fromEntries(Object.keys(process.env).flatMap((name) => (CLEARED.test(name) ? [[name, undefined]] : []))),
    ...options.env,
  }

  async function run(args: readonly string[], { quiet, input }: RunOptions): Promise<Finished> {
    if (options.signal?.aborted) throw cancelled('OpenTofu was not started.')
    // OpenTofu gets its own process group. A terminal sends Ctrl-C to the whole foreground group, so OpenTofu would get
    // two interrupts, the terminal's and ours, and exits without saving at the second.
    const child = execa(binary, args, {
      env,
      ...(input === undefined ? { stdin: 'ignore' } : { input }),
      reject: false,
      detached: true,
      cleanup: false,
      // Execa's default limit is 100 MB of output, above which it would kill a running apply.
      maxBuffer: Number.POSITIVE_INFINITY,
    })
    const stop = () => child.kill('SIGINT')
    options.signal?.addEventListener('abort', stop, { once: true })
    if (!quiet && options.onOutput) {
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', options.onOutput)
    }
    const result = await child.finally(() => options.signal?.removeEventListener('abort', stop))
    if (result.exitCode === undefined && result.signal === undefined) throw notStarted(binary, result.cause ?? result)
    return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode ?? null }
  }

  /** Runs OpenTofu, and turns a failure into a ClawctlError. */
  async function succeed(code: Code, what: string, args: readonly string[], how: RunOptions = {}): Promise<Finished> {
    const finished = await run(args, how)
    const { stderr, exitCode } = finished
    if (exitCode === 0) return finished
    if (options.signal?.aborted) throw cancelled(`OpenTofu was interrupted in ${what} and ended.`)
    const words = failureWords(stderr) || `it ended with ${exitCode === null ? 'a signal' : `exit code ${exitCode}`}`
    if (/^Error: Saved plan (?:is stale|does not match)/.test(words)) {
      throw new ClawctlError(code, `The saved plan is stale: the state changed after it was made.\n${words}`, {
        hint: 'Run the deploy again: it makes a new plan. This one changed nothing.',
      })
    }
    // OpenTofu's own advice is to edit the lock table by hand.
    const hasStaleDigest = /does not have the expected content/.test(words)
    const hint = hasStaleDigest
      ? '`clawctl fleet recover` corrects it, and so does the next deploy.'
      : /no space left on device/.test(words)
        ? 'Free some space on this machine, then run the command again.'
        : undefined
    throw new ClawctlError(code, `OpenTofu failed in ${what}: ${words}`, { hint })
  }

  /** The JSON document in OpenTofu's output; null if the output is empty. */
  async function printed(args: readonly string[], what: string, has: string): Promise<unknown> {
    const { stdout, stderr } = await succeed('PLAN_FAILED', what, args, { quiet: true })
    if (stdout.trim() === '') return null
    const document = jsonAmong(stdout, (found) => typeof found === 'object' && found !== null && has in found)
    if (document !== null) return document
    const words = failureWords(`${stdout}\n${stderr}`)
    throw new ClawctlError('PLAN_FAILED', `OpenTofu printed no JSON that clawctl can read in ${what}: ${words}`)
  }

  /** Before the first apply there is no state, and OpenTofu prints nothing. */
  const pull = () => printed(tofuStatePullArgs({ dir }), 'state pull', 'version')

  return {
    async init() {
      await succeed('PLAN_FAILED', 'init', tofuInitArgs({ dir, backendConfig: options.backendConfig }))
    },

    async state() {
      const state = stateSchema.safeParse(await pull())
      if (state.success) return (state.data?.resources ?? []).flatMap(resourcesOf)
      throw new ClawctlError('PLAN_FAILED', `OpenTofu's state has an unknown shape: ${z.prettifyError(state.error)}`)
    },

    async head() {
      return parseStateHead(JSON.stringify(await pull()))
    },

    async plan(request) {
      const file = resolve(request.file)
      const vars = {
        ...options.vars,
        ami_id: request.ami,
        instance_ids: request.instances,
        kept_prefixes: request.kept,
        slots: request.slots,
        adopt: request.adopt,
        request_id: request.requestId ?? '',
        ...(request.configRevision ? { config_revision: request.configRevision } : {}),
      }
      await succeed('PLAN_FAILED', 'plan', tofuPlanArgs({ dir, file, vars, replace: request.replace }))
      const plan = await printed(tofuShowPlanArgs({ dir, file }), 'show of the plan', 'format_version')
      if (plan !== null) return plan
      throw new ClawctlError('PLAN_FAILED', 'OpenTofu printed nothing in show of the plan.')
    },

    async apply(file) {
      await succeed('APPLY_FAILED', 'apply', tofuApplyArgs({ dir, file: resolve(file) }))
    },

    async untaint(address) {
      await succeed('APPLY_FAILED', 'untaint', tofuUntaintArgs({ dir, address }))
    },

    async push(state) {
      await succeed('APPLY_FAILED', 'state push', tofuStatePushArgs({ dir }), { input: state })
    },

    async unwritten() {
      const text = await readFile(unwritten, 'utf8').catch(() => null)
      return text === null ? null : { file: unwritten, text }
    },

    dropUnwritten: () => rm(unwritten, { force: true }),
  }
}

/**
 * The parts of the state file, format 4, that are used. A deposed object is what a replacement left, not the
 * resource.
 */
const resourceSchema = z.object({
  mode: z.string(),
  type: z.string(),
  name: z.string(),
  module: z.optional(z.string()),
  instances: z.array(
    z.object({
      index_key: z.optional(z.union([z.string(), z.number()])),
      status: z.optional(z.string()),
      deposed: z.optional(z.string()),
      attributes: z.catch(
        z.nullish(
          z.object({
            id: z.catch(z.nullish(z.string()), null),
            tags: z.catch(z.nullish(z.record(z.string(), z.string())), null),
          }),
        ),
        null,
      ),
    }),
  ),
})
const stateSchema = z.nullable(z.object({ version: z.literal(4), resources: z.optional(z.array(resourceSchema)) }))

function resourcesOf({ mode, type, name, module, instances }: z.infer<typeof resourceSchema>): StateResource[] {
  if (mode !== 'managed') return []
  const address = `${module ? `${module}.` : ''}${type}.${name}`
  return instances
    .filter(({ deposed }) => deposed === undefined)
    .map(({ index_key, status, attributes }) => ({
      address: index_key === undefined ? address : `${address}[${JSON.stringify(index_key)}]`,
      id: attributes?.id ?? null,
      ...(attributes?.tags ? { tags: attributes.tags } : {}),
      ...(status === 'tainted' ? { tainted: true } : {}),
    }))
}

function cancelled(message: string): ClawctlError {
  return new ClawctlError('CANCELLED', message, {
    hint: 'Deploy again: it resumes what was interrupted. Or see what is left: `clawctl fleet recover --plan-only`.',
  })
}

function notStarted(binary: string, cause: unknown): ClawctlError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const why = code === 'ENOENT' ? 'is not installed, or not in PATH' : `could not be started (${String(code)})`
  return new ClawctlError('TOOL_MISSING', `${binary} ${why}.`, {
    hint: 'Install OpenTofu 1.10 or newer.',
    cause,
  })
}
