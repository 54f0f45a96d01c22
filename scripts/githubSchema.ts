import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * GitHub's own OpenAPI description, cut down to the operations that clawctl calls and the sandbox emulates:
 *  npm run github-schema writes test/support/github-openapi.json, with which the tests validate requests and answers.
 * The package is 385 MB unpacked, so it is fetched here only to update the version, and is not a dependency.
 */
const PACKAGE = '@octokit/openapi@23.0.2'
const OUT = fileURLToPath(new URL('../test/support/github-openapi.json', import.meta.url))

/** Add an operation here before code calls it: a test fails if one is missing. */
const OPERATIONS = [
  'GET /app',
  'GET /repos/{owner}/{repo}/installation',
  'POST /app/installations/{installation_id}/access_tokens',
  'GET /rate_limit',
  'GET /repos/{owner}/{repo}',
  'GET /repos/{owner}/{repo}/contents/{path}',
  'PUT /repos/{owner}/{repo}/contents/{path}',
  'GET /repos/{owner}/{repo}/git/ref/{ref}',
  'POST /repos/{owner}/{repo}/git/refs',
  'PATCH /repos/{owner}/{repo}/git/refs/{ref}',
  'DELETE /repos/{owner}/{repo}/git/refs/{ref}',
  'GET /repos/{owner}/{repo}/git/commits/{commit_sha}',
  'POST /repos/{owner}/{repo}/git/commits',
  'POST /repos/{owner}/{repo}/git/trees',
  'POST /repos/{owner}/{repo}/pulls',
  'GET /repos/{owner}/{repo}/pulls',
  'GET /repos/{owner}/{repo}/pulls/{pull_number}',
  'PATCH /repos/{owner}/{repo}/pulls/{pull_number}',
  'GET /repos/{owner}/{repo}/issues',
  'POST /repos/{owner}/{repo}/issues',
  'PATCH /repos/{owner}/{repo}/issues/{issue_number}',
  'POST /repos/{owner}/{repo}/issues/{issue_number}/comments',
  'GET /repos/{owner}/{repo}/actions/runs',
  'GET /repos/{owner}/{repo}/actions/runs/{run_id}',
  'POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel',
  'GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs',
  'GET /repos/{owner}/{repo}/actions/jobs/{job_id}',
  'GET /repos/{owner}/{repo}/actions/jobs/{job_id}/logs',
  'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}',
  'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs',
  'POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches',
  'GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations',
] as const

type Json = Record<string, unknown>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Keys that only readers or generators of clients use. */
const PROSE = new Set(['description', 'summary', 'example', 'examples', 'externalDocs', 'tags', 'title', 'deprecated'])
/** Below these, keys are names and not keywords. */
const NAMED = new Set(['properties', 'patternProperties', 'schemas', 'parameters', 'responses', 'headers'])

/** Without prose, and in the words of JSON Schema 2020-12: OpenAPI 3.0's `nullable` becomes a type or an enum's null. */
function cut(value: unknown, named = false): unknown {
  if (Array.isArray(value)) return value.map((one) => cut(one))
  if (!isObject(value)) return value
  const kept = Object.entries(value).flatMap(([key, child]): [string, unknown][] => {
    if (!named && (PROSE.has(key) || key.startsWith('x-') || key === 'nullable')) return []
    const literal = !named && (key === 'enum' || key === 'default' || key === 'const')
    return [[key, literal ? child : cut(child, !named && NAMED.has(key))]]
  })
  const result = Object.fromEntries(kept)
  if (named || value.nullable !== true) return result
  if (Array.isArray(result.enum) && !result.enum.includes(null)) result.enum = [...result.enum, null]
  if (typeof result.type === 'string') return { ...result, type: [result.type, 'null'] }
  return { anyOf: [result, { type: 'null' }] }
}

/** Every `$ref` below a value. */
function refsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(refsOf)
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, child]) =>
    key === '$ref' && typeof child === 'string' ? [child] : refsOf(child),
  )
}

function resolve(document: Json, ref: string): { group: string; name: string; value: unknown } {
  const [, group = '', name = ''] = /^#\/components\/(\w+)\/(.+)$/.exec(ref) ?? []
  const value = ((document.components as Json)[group] as Json | undefined)?.[name]
  if (value === undefined) throw new Error(`${ref} leads nowhere.`)
  return { group, name, value }
}

function extract(document: Json, operations: readonly string[]): Json {
  const paths: Record<string, Json> = {}
  for (const operation of operations) {
    const [method = '', path = ''] = operation.split(' ')
    const found = ((document.paths as Json)[path] as Json | undefined)?.[method.toLowerCase()]
    if (!isObject(found)) throw new Error(`GitHub describes no ${operation}.`)
    const { operationId, parameters, requestBody, responses } = found
    paths[path] = { ...paths[path], [method.toLowerCase()]: cut({ operationId, parameters, requestBody, responses }) }
  }
  const components: Record<string, Record<string, unknown>> = {}
  const waiting = [...refsOf(paths), '#/components/schemas/basic-error']
  for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
    const { group, name, value } = resolve(document, ref)
    if (components[group]?.[name] !== undefined) continue
    const short = cut(value)
    components[group] = { ...components[group], [name]: short }
    waiting.push(...refsOf(short))
  }
  const sorted = <T>(record: Record<string, T>) =>
    Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
  return {
    openapi: '3.1.0',
    info: { title: 'The part of GitHub’s REST API that clawctl calls and the sandbox emulates', version: PACKAGE },
    paths: sorted(paths),
    components: sorted(Object.fromEntries(Object.entries(components).map(([group, all]) => [group, sorted(all)]))),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = mkdtempSync(join(tmpdir(), 'clawctl-github-schema-'))
  try {
    const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder, PACKAGE], { encoding: 'utf8' })
    const [{ filename = '' } = {}] = JSON.parse(packed) as { filename?: string }[]
    const member = 'package/generated/api.github.com.json'
    execFileSync('tar', ['-xzf', join(folder, filename), '-C', folder, member])
    const document = JSON.parse(readFileSync(join(folder, member), 'utf8')) as Json
    const text = `${JSON.stringify(extract(document, OPERATIONS), null, 1)}\n`
    writeFileSync(OUT, text)
    process.stdout.write(`${OUT}: ${OPERATIONS.length} operations, ${Math.round(text.length / 1000)} KB\n`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
