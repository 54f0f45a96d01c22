import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as z from 'zod/mini'
import { Diagnostic } from './diagnostic.js'
import { attribute, type Block, HclError, nestedBlocks, topLevelBlocks } from './hcl.js'

/** One entry of the registry, as the stack's `local.hosts` sees it. */
export interface StackHost {
  host: string
  instanceType: string
  bootstrapPrefix: string
}

export interface StackVariable {
  name: string
  type: string
  required: boolean
  fallback: unknown
  /** For messages: the file and line that declare it. */
  origin: string
  line: number
}

/** What the stand-in reads of the fleet stack's files. */
export interface Stack {
  dir: string
  variables: readonly StackVariable[]
  /** Whether `lifecycle.ignore_changes` of the instances names this attribute. */
  ignores(attribute: string): boolean
  /** Arguments of `backend "s3"`, strings and booleans only; null where no S3 backend is declared. */
  backend: ReadonlyMap<string, string> | null
  /** Declared resources that the stand-in leaves out. */
  unmodelled: readonly string[]
  registry(): ReadonlyMap<string, StackHost>
  userData(values: Readonly<Record<string, string>>): string | null
}

export const MODELLED_TYPES = ['aws_iam_role', 'aws_iam_instance_profile', 'aws_instance'] as const

const registrySchema = z.record(
  z.string(),
  z.object({
    host: z.optional(z.string()),
    instanceType: z.optional(z.string()),
    bootstrapPrefix: z.optional(z.string()),
  }),
)

function blocksOf(dir: string, file: string) {
  try {
    return topLevelBlocks(readFileSync(join(dir, file), 'utf8')).map((block) => ({ ...block, file }))
  } catch (error) {
    if (!(error instanceof HclError)) throw error
    throw new Diagnostic(error.message, `on ${file} line ${error.line}`)
  }
}

/**
 * Reads the stack in `dir`.
 * @throws Diagnostic where it is not the fleet stack: the stand-in knows no other and never pretends about one
 */
export function readStack(dir: string): Stack {
  const files = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.tf')) : []
  const blocks = files.flatMap((file) => blocksOf(dir, file))
  if (blocks.length === 0) {
    throw new Diagnostic('No configuration files', `The directory ${dir} contains no OpenTofu configuration files.`)
  }
  const resources = blocks.filter((block) => block.type === 'resource')
  const isModelled = ({ labels: [type, name] }: Block) =>
    name === 'clawdinator' && MODELLED_TYPES.some((modelled) => modelled === type)
  const instances = resources.find((block) => isModelled(block) && block.labels[0] === 'aws_instance')
  const registryFile = /jsondecode\(\s*file\(\s*"\$\{path\.module\}\/([^"$]+)"/.exec(
    blocks.map((block) => block.body).join('\n'),
  )?.[1]
  if (!instances || !attribute(instances.body, 'for_each') || !registryFile) {
    throw new Diagnostic(
      'Not the fleet stack',
      `${dir} does not declare resource "aws_instance" "clawdinator" with for_each over the registry. This is the stand-in of the clawctl sandbox: it models that stack and no other. Install the real OpenTofu for this one.`,
    )
  }
  const ignored = attribute(instances.body, 'ignore_changes') ?? ''
  const ignoredNames = ignored.replace(/^\[|\]$/g, '').split(/[\s,]+/)
  const backend = blocks
    .filter((block) => block.type === 'terraform')
    .flatMap((block) => nestedBlocks(block.body))
    .find((block) => block.type === 'backend' && block.labels[0] === 's3')
  return {
    dir,
    variables: blocks.filter((block) => block.type === 'variable').map(readVariable),
    ignores: (name) => ignored === 'all' || ignoredNames.includes(name),
    backend: backend ? readArguments(backend) : null,
    unmodelled: [
      ...resources.filter((block) => !isModelled(block)).map((block) => block.labels.join('.')),
      ...blocks.filter((block) => block.type === 'module').map((block) => `module.${block.labels[0]}`),
    ],
    registry: () => readRegistry(resolve(dir, registryFile)),
    userData: (values) => render(join(dir, 'user-data.sh.tftpl'), values),
  }
}

function readVariable(block: Block & { file: string }): StackVariable {
  const fallback = attribute(block.body, 'default')
  return {
    name: block.labels[0] ?? '',
    type: attribute(block.body, 'type') ?? 'any',
    required: fallback === null,
    fallback: fallback === null ? null : literal(fallback),
    origin: block.file,
    line: block.line,
  }
}

function readArguments(block: Block): Map<string, string> {
  const pairs = [...block.body.matchAll(/^[ \t]*([a-z_]+)[ \t]*=[ \t]*(.*?)[ \t]*$/gm)]
  return new Map(pairs.map(([, name, value]) => [name ?? '', String(literal(value ?? ''))]))
}

/** A literal of HCL that is also one of JSON; anything else is not evaluated. */
function literal(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function readRegistry(path: string): Map<string, StackHost> {
  let entries: z.infer<typeof registrySchema>
  try {
    entries = registrySchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new Diagnostic('Error in function call', `The registry ${path} can't be read: ${(error as Error).message}`)
  }
  return new Map(Object.entries(entries).map(([id, entry]) => [id, { ...retained(id), ...entry }]))
}

/** What the stack's `merge` takes for an id that left the registry. */
export function retained(id: string): StackHost {
  return { host: id, instanceType: 't3.large', bootstrapPrefix: `bootstrap/${id}` }
}

/** `templatefile` for a template of plain `${name}`; null where there is no template. */
function render(path: string, values: Readonly<Record<string, string>>): string | null {
  if (!existsSync(path)) return null
  return readFileSync(path, 'utf8').replace(/(\$?)\$\{([^}]*)\}/g, (all, escaped: string, name: string) => {
    if (escaped) return all.slice(1)
    const value = values[name.trim()]
    if (value !== undefined) return value
    throw new Diagnostic('Error in function call', `${path}: vars map does not contain key "${name.trim()}".`)
  })
}
