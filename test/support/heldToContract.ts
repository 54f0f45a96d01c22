import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Answered, answered, type Reply } from '../../sandbox/http.js'
import type { Description } from './openapi.js'

/**
 * Every request and answer of the emulated GitHub during a file's tests is checked against GitHub's own description,
 * what the Control API's server said against ours. Loaded by .mocharc.json for every test.
 */
const seen: Answered[] = []
/** A mark and no list of ours: mocha loads this module once, the tests import it once more. */
const MADE = Symbol.for('clawctl: made up by a test')

answered.subscribe((message) => {
  const one = message as Answered
  if (one.service === 'github' || one.service === 'api') seen.push(one)
})

/** An answer that a test made up, which is to be odd. */
export function madeUp(reply: Reply): Reply {
  return Object.defineProperty(reply, MADE, { value: true, configurable: true, writable: true })
}

let github: Promise<Description> | undefined

/** GitHub's own description, cut to what is used: see scripts/githubSchema.ts. */
export function githubDescription(): Promise<Description> {
  github ??= (async () => {
    const { Description } = await import('./openapi.js')
    return new Description(JSON.parse(readFileSync(join(import.meta.dirname, 'github-openapi.json'), 'utf8')))
  })()
  return github
}

const FAILURE = ['components', 'schemas', 'basic-error']

/** What is wrong with one exchange. Our code says who it is; what a test itself asks may be wrong on purpose. */
export async function githubProblems({ exchange, reply, struck }: Answered): Promise<string[]> {
  const description = await githubDescription()
  const { method } = exchange
  const url = new URL(exchange.url)
  // The document calls it a date; its words, and GitHub itself, take a range.
  if (/^<=\d{4}-\d\d-\d\dT[\d:]+Z$/.test(url.searchParams.get('created') ?? '')) url.searchParams.delete('created')
  const ours = /^clawctl/.test(exchange.headers['user-agent'] ?? '')
  const problems = ours ? description.request({ method, url, body: exchange.body.toString() }) : []
  // A path that GitHub itself does not know, or the page that `html_url` leads to.
  const known = description.operationOf(method, url.pathname) !== null
  if (
    !known &&
    (reply.status >= 400 || /^\/(?:job-logs|[\w.-]+\/[\w.-]+\/(?:actions\/runs|pull))\/\d+/.test(url.pathname))
  )
    return problems
  if (struck || MADE in reply) return problems
  const answer = { status: reply.status, type: reply.headers?.['content-type'] ?? '', body: String(reply.body ?? '') }
  // A defect of the emulation is no answer of GitHub's: its stack says more than a missing media type.
  if (answer.body.startsWith('sandbox defect')) return [...problems, answer.body]
  return [...problems, ...description.answer({ method, url }, answer, FAILURE)]
}

let ours: Promise<Description> | undefined

/** docs/control-api.openapi.yaml, whose objects may here hold nothing that it does not name; clients are lenient. */
export function controlApiDescription(): Promise<Description> {
  ours ??= (async () => {
    const [{ closed, Description }, { openApi }] = await Promise.all([
      import('./openapi.js'),
      import('../../scripts/openapi.js'),
    ])
    return new Description(closed(openApi()) as unknown as ConstructorParameters<typeof Description>[0])
  })()
  return ours
}

/** What is wrong with an answer of the Control API, by our own document. What it does not know is refused in its form. */
export async function answerProblems(method: string, url: URL, status: number, body: string): Promise<string[]> {
  const description = await controlApiDescription()
  const answer = { status, type: 'application/json', body }
  if (description.operationOf(method, url.pathname)) return description.answer({ method, url }, answer)
  const fits = [400, 401, 404, 405].includes(status)
  return fits ? description.value('Failure', JSON.parse(body)) : [`${method} ${url.pathname} answers ${status}`]
}

/** The same of the server in front of the handler; what the Function URL says for itself has no media type. */
async function controlApiProblems({ exchange, reply, struck }: Answered): Promise<string[]> {
  const { method, url, headers, body } = exchange
  const asked = /^clawctl/.test(headers['user-agent'] ?? '')
    ? (await controlApiDescription()).request({ method, url, body: body.toString() })
    : []
  if (struck || reply.headers?.['content-type'] !== 'application/json') return asked
  return [...asked, ...(await answerProblems(method, url, reply.status, String(reply.body)))]
}

/** What else has to hold after each file, by its title. Of all copies of this module, too. */
const CHECKS = Symbol.for('clawctl: checks at the end of a file')
const shared = globalThis as { [CHECKS]?: Map<string, () => Promise<void>> }
const checks = shared[CHECKS] ?? new Map<string, () => Promise<void>>()
shared[CHECKS] = checks

export function atEndOfFile(title: string, check: () => Promise<void>): void {
  checks.set(title, check)
}

export const mochaHooks = {
  async afterAll(this: Mocha.Context) {
    for (const check of checks.values()) await check()
    const problems = new Set<string>()
    for (const one of seen.splice(0)) {
      const found = one.service === 'github' ? await githubProblems(one) : await controlApiProblems(one)
      for (const problem of found) problems.add(problem)
    }
    if (problems.size > 0) throw new Error(`Not as described:\n${[...problems].join('\n')}`)
  },
}
