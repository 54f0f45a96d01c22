/** A repository that hosts boot with. */
export interface Seed {
  name: string
  url: string
  branch: string
}

export const SEEDS_PATH = 'clawdinator/repos.tsv'

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/
/** Refuses options, globs and traversal; git checks the rest. */
const BRANCH = /^(?!.*(?:\.\.|@\{|\/\/|\/$|\.lock$))[A-Za-z0-9_][A-Za-z0-9_./+-]{0,199}$/
const PROTOCOLS = new Set(['https:', 'ssh:', 'file:'])

/**
 * Reads `NAME<tab>URL<tab>BRANCH` lines; `#` begins a comment, empty lines are skipped.
 * @returns the seeds, and every problem with its line
 */
export function parseSeeds(text: string): { seeds: Seed[]; problems: string[] } {
  const seeds: Seed[] = []
  const problems: string[] = []
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const report = (message: string) => problems.push(`line ${index + 1}: ${message}`)
    const [name = '', url = '', branch = '', ...more] = line.split(/\t+/).map((field) => field.trim())
    if (branch === '' || more.length > 0) {
      report('must hold a name, a URL and a branch with tabs between them')
      continue
    }
    const found = [nameProblem(name), urlProblem(url), branchProblem(branch)].filter((problem) => problem !== null)
    if (seeds.some((seed) => seed.name === name)) found.push(`the name ${name} occurs twice`)
    for (const problem of found) report(problem)
    if (found.length === 0) seeds.push({ name, url, branch })
  }
  if (seeds.length === 0 && problems.length === 0) problems.push('no repository is named')
  return { seeds, problems }
}

export function nameProblem(name: string): string | null {
  return NAME.test(name)
    ? null
    : `${JSON.stringify(name)} is not a valid name: use a-z, 0-9, ".", "_" and "-", at most 64 characters`
}

export function branchProblem(branch: string): string | null {
  return BRANCH.test(branch) ? null : `${JSON.stringify(branch)} is not a branch name`
}

/** A problem never contains the URL, because the URL may hold a credential. */
function urlProblem(url: string): string | null {
  if (!URL.canParse(url)) return 'the URL is not valid; write https://…, ssh://… or file:///…'
  const { protocol, hostname, username, password } = new URL(url)
  const loopback = protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(hostname)
  if (!PROTOCOLS.has(protocol) && !loopback)
    return `the URL begins with ${protocol}, but only https:, ssh: and file: are allowed`
  if (password !== '' || (username !== '' && protocol !== 'ssh:')) {
    return 'the URL holds credentials; a token comes from GITHUB_TOKEN'
  }
  return null
}
