import * as z from 'zod/mini'
import { toJSONSchema } from 'zod/v4/core'
import {
  checkSchema,
  deployAnswerSchema,
  deploysAnswerSchema,
  fleetAnswerSchema,
  hostAnswerSchema,
  instanceIdSchema,
  type Order,
  orderSchema,
} from '../domain/contract/index.js'
import { asClawctlError, ClawctlError, errorBody } from '../domain/errors.js'

/** Runs the command of the same name. Resolves to the document of its --json, without `ok`. */
export interface ToolWork {
  status(): Promise<object>
  show(id: string): Promise<object>
  deploy(
    asked: Omit<Order, 'requestId' | 'caller'> & { requestId?: string | undefined; code?: string | undefined },
  ): Promise<object>
  follow(requestId: string, timeoutMs: number): Promise<object>
  history(limit: number): Promise<object>
  preflight(): Promise<object>
}

/** Clients end a call after a minute by default. */
const FOLLOW_SECONDS = 50
const nothing = z.strictObject({})
const flightSchema = z.object({
  ok: z.literal(true),
  preflight: z.looseObject({ ready: z.boolean(), text: z.string(), checks: z.array(z.looseObject(checkSchema.shape)) }),
})
const limit = z.int().check(z.minimum(1), z.maximum(100))
const seconds = z.int().check(z.minimum(1), z.maximum(1800))

interface Tool {
  name: keyof ToolWork
  title: string
  description: string
  input: z.ZodMiniType
  output: z.ZodMiniType
  changes: boolean
  run(input: unknown, work: ToolWork): Promise<object>
}

function tool<T>(
  name: keyof ToolWork,
  about: { title: string; description: string; changes?: boolean },
  input: z.ZodMiniType<T>,
  output: z.ZodMiniType,
  run: (input: T, work: ToolWork) => Promise<object>,
): Tool {
  return {
    changes: false,
    ...about,
    name,
    input,
    output,
    run: (given, work) => run(parse(input, given), work),
  }
}

/**
 * The tools with the schemas of the contract. URL, token, mode and caller are not inputs, because a chat must not choose
 * them.
 */
const TOOLS: readonly Tool[] = [
  tool(
    'status',
    {
      title: 'Fleet status',
      description: 'Every instance: state, AMI, health, and what is missing, orphaned or unmanaged.',
    },
    nothing,
    fleetAnswerSchema,
    (_, work) => work.status(),
  ),
  tool(
    'show',
    {
      title: 'One instance',
      description: 'Machines of one instance, why it is healthy or not, its boot, its last deploys.',
    },
    z.strictObject({ id: instanceIdSchema }),
    hostAnswerSchema,
    ({ id }, work) => work.show(id),
  ),
  tool(
    'deploy',
    {
      title: 'Deploy',
      description:
        'Replaces one instance, or with target "all" the fleet, with the latest AMI or amiOverride; returns when it is queued. Pass the name of the requester as requestedBy. Use it only if a person asked for the deploy.',
      changes: true,
    },
    z.omit(orderSchema, { caller: true }),
    deployAnswerSchema,
    (asked, work) => work.deploy(asked),
  ),
  tool(
    'follow',
    {
      title: 'Follow a deploy',
      description: `Waits until a deploy is over, ${FOLLOW_SECONDS} seconds by default; TIMED_OUT means that the deploy goes on: follow it again.`,
    },
    z.strictObject({ requestId: z.string(), timeoutSeconds: z._default(seconds, FOLLOW_SECONDS) }),
    deployAnswerSchema,
    ({ requestId, timeoutSeconds }, work) => work.follow(requestId, timeoutSeconds * 1000),
  ),
  tool(
    'history',
    { title: 'Deploys', description: 'The deploys, newest first: target, AMI, requester, outcome.' },
    z.strictObject({ limit: z._default(limit, 20) }),
    deploysAnswerSchema,
    ({ limit: most }, work) => work.history(most),
  ),
  tool(
    'preflight',
    {
      title: 'Preflight',
      description: 'The checks before deploys from chat, with a fix for each that failed.',
    },
    nothing,
    flightSchema,
    (_, work) => work.preflight(),
  ),
]

/** @throws ClawctlError INVALID_REQUEST with the field */
function parse<T>(schema: z.ZodMiniType<T>, given: unknown): T {
  const parsed = schema.safeParse(given ?? {})
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const field = issue?.path.join('.')
  throw new ClawctlError('INVALID_REQUEST', `${field ? `${field}: ` : ''}${issue?.message ?? 'not understood'}.`, {
    hint: 'Call the tool only with the fields of its schema.',
  })
}

/** MCP clients validate with draft 7. */
function schemaOf(type: z.ZodMiniType, io: 'input' | 'output'): { type: 'object' } {
  const { $schema: _, ...schema } = toJSONSchema(type, { target: 'draft-7', io })
  return schema as { type: 'object' }
}

/** The answer to `tools/list`. */
export function listTools() {
  return TOOLS.map(({ name, title, description, input, output, changes }) => ({
    name,
    title,
    description,
    inputSchema: schemaOf(input, 'input'),
    outputSchema: schemaOf(output, 'output'),
    annotations: {
      title,
      readOnlyHint: !changes,
      destructiveHint: changes,
      idempotentHint: !changes,
      openWorldHint: false,
    },
  }))
}

/** The answer to `tools/call`: the document of --json. A failure with its code and hint is also a result. */
export async function callTool(name: string, input: unknown, work: ToolWork) {
  try {
    const found = TOOLS.find((one) => one.name === name)
    if (!found)
      throw new ClawctlError('INVALID_REQUEST', `There is no tool ${JSON.stringify(name)}.`, {
        hint: `The tools are ${TOOLS.map((one) => one.name).join(', ')}.`,
      })
    return answer({ ok: true, ...(await found.run(input, work)) }, false)
  } catch (error) {
    const failure = asClawctlError(error)
    return answer({ ok: false, error: errorBody(failure), ...failure.partial }, true)
  }
}

function answer(document: Record<string, unknown>, isError: boolean) {
  return {
    content: [{ type: 'text' as const, text: JSON.stringify(document, null, 2) }],
    // Clients validate structured content against the schema of a success, so an error has none.
    ...(isError ? { isError } : { structuredContent: document }),
  }
}
