import type { Check } from '../contract/index.js'
import { CODES } from '../errors.js'
import { BUNDLE_WORKFLOW, DEPLOY_WORKFLOW, IMAGE_WORKFLOW } from '../paths.js'

/** One of the runbook's checks, with what the server and this machine found for it. */
export interface FlightCheck extends Check {
  parts: Check[]
}

interface Group {
  id: string
  title: string
  /** Ids of the checks that belong to it, of the server and of this machine. */
  parts: readonly string[]
  /** Those whose evidence says enough where all is well. */
  tells: readonly string[]
  /** Without having seen this one nobody can say that the check holds. */
  decides?: string
}

/** The runbook's "Before a flight", in its order. */
const GROUPS: readonly Group[] = [
  {
    id: 'control-api',
    title: 'The Control API answers, and its URL is known',
    parts: ['control-api-url', 'control-api-answers'],
    tells: ['control-api-url'],
  },
  {
    id: 'control-token',
    title: 'The control token is here, accepted, encrypted, and in the bundles',
    parts: [
      'token-known',
      'token-accepted',
      'control-token',
      'control-secrets',
      'own-tokens',
      'token-secret',
      'token-bundles',
    ],
    tells: ['token-known', 'token-accepted', 'token-secret', 'token-bundles'],
    decides: 'token-accepted',
  },
  {
    id: 'workflow',
    title: 'The deploy workflow is there and can be dispatched',
    parts: ['github-token', 'github-dispatch', 'workflow', 'credentials-apart'],
    tells: ['workflow'],
  },
  {
    id: 'registry',
    title: 'The registry has every instance that is wanted',
    parts: ['registry', 'local-registry', 'registry-deployed'],
    tells: ['local-registry', 'registry-deployed'],
  },
  {
    id: 'discord-tokens',
    title: 'The Discord tokens are encrypted, and in the bundles',
    parts: ['discord-secrets', 'bundles'],
    tells: ['discord-secrets', 'bundles'],
  },
  {
    id: 'latest-ami',
    title: 'There is an image to deploy',
    parts: ['latest-ami'],
    tells: ['latest-ami'],
  },
  {
    id: 'fleet-status',
    title: 'The fleet can be seen',
    parts: ['ec2', 'fleet', 'freeze'],
    tells: ['fleet'],
  },
]

/** What to type where a check failed, beside what its own fix says. */
const COMMANDS = new Map(
  Object.entries({
    workflow: `gh workflow view ${DEPLOY_WORKFLOW}`,
    registry: 'clawctl registry check',
    'local-registry': 'clawctl registry check',
    bundles: `gh workflow run ${BUNDLE_WORKFLOW} -f target=all`,
    'token-bundles': `gh workflow run ${BUNDLE_WORKFLOW} -f target=all`,
    'latest-ami': `gh workflow run ${IMAGE_WORKFLOW}`,
    ec2: 'clawctl fleet status',
    fleet: 'clawctl fleet status',
  }),
)

/**
 * The runbook's checks from what was found: each holds where nothing that belongs to it failed and something was seen.
 * What belongs to none of them (a newer server knows more) stands for itself, after them.
 * @param unseen why nothing was found for a check, where nothing was
 */
export function groupChecks(found: readonly Check[], unseen: string): FlightCheck[] {
  const grouped = new Set(GROUPS.flatMap((group) => group.parts))
  return [
    ...GROUPS.map((group) => {
      const parts = found.filter((check) => group.parts.includes(check.id))
      return combine(group, parts, unseen)
    }),
    ...found.filter((check) => !grouped.has(check.id)).map((check) => ({ ...check, parts: [check] })),
  ]
}

function combine({ id, title, tells, decides }: Group, parts: Check[], unseen: string): FlightCheck {
  const having = (status: Check['status']) => parts.filter((part) => part.status === status)
  const [failed, passed] = [having('fail'), having('pass')]
  if (failed.length > 0) {
    const fix = lines(failed.flatMap((part) => [part.fix, commandFor(part)]))
    return { id, title, status: 'fail', evidence: words(failed), fix, parts }
  }
  const undecided = having('skip').filter((part) => part.id === decides)
  if (passed.length > 0 && undecided.length === 0) {
    // What is to be done is said with what was seen.
    const telling = passed.filter((part) => tells.includes(part.id) || part.fix !== null)
    const evidence = words(telling.length > 0 ? telling : passed)
    return { id, title, status: 'pass', evidence, fix: lines(passed.map((part) => part.fix)), parts }
  }
  const seen = undecided.length > 0 ? [...passed, ...undecided] : parts
  const evidence = seen.length > 0 ? words(seen) : unseen
  return { id, title, status: 'skip', evidence, fix: lines(parts.map((part) => part.fix)), parts }
}

/** A service that was not reached has not said that anything is to be mended. */
function commandFor({ id, fix }: Check): string | null {
  if (fix === CODES.UPSTREAM.next || fix === CODES.RATE_LIMITED.next) return null
  return COMMANDS.get(id) ?? null
}

function words(parts: readonly Check[]): string {
  return [...new Set(parts.map((part) => part.evidence))].join(' ')
}

function lines(fixes: readonly (string | null)[]): string | null {
  const said = [...new Set(fixes.filter((fix) => fix !== null && fix !== ''))]
  return said.length > 0 ? said.join('\n') : null
}

export interface Verdict {
  /** Nothing failed. What could not be looked at keeps nobody on the ground, and is said. */
  ready: boolean
  failed: number
  skipped: number
  text: string
}

export function verdictOf(checks: readonly Pick<Check, 'status'>[]): Verdict {
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
  const [failed, skipped] = [count('fail'), count('skip')]
  const unseen = skipped > 0 ? `${skipped} could not be made` : null
  if (failed === 0) return { ready: true, failed, skipped, text: `Ready to fly${unseen ? `: ${unseen}` : ''}.` }
  const text = `Not ready: ${failed} of ${checks.length} checks failed${unseen ? `, ${unseen}` : ''}.`
  return { ready: false, failed, skipped, text }
}
