import type { Check } from '../contract/index.js'
import { CODES } from '../errors.js'
import { BUNDLE_WORKFLOW, DEPLOY_WORKFLOW, IMAGE_WORKFLOW } from '../paths.js'

/** One of the runbook's checks, combined from findings of the server and of this machine. */
export interface PreflightCheck extends Check {
  parts: Check[]
}

interface Group {
  id: string
  title: string
  /** Ids of the findings that belong to it. */
  parts: readonly string[]
  /** Findings whose evidence is shown when the check passes. */
  shows: readonly string[]
  /** The check passes only if one of these findings passes: without them, a part of the title is not tested. */
  decides?: readonly string[]
}

/** The runbook's "Before a flight", in its order. */
const GROUPS: readonly Group[] = [
  {
    id: 'control-api',
    title: 'The Control API answers, and its URL is known',
    parts: ['control-api-url', 'control-api-answers'],
    shows: ['control-api-url'],
  },
  {
    id: 'control-token',
    title: 'The control token is set, accepted, encrypted, and in the bundles',
    parts: [
      'token-known',
      'token-accepted',
      'control-token',
      'control-secrets',
      'own-tokens',
      'token-secret',
      'token-bundles',
    ],
    shows: ['token-known', 'token-accepted', 'token-secret', 'token-bundles'],
    // In ci mode no token is sent; only the server's token-bundles decides there.
    decides: ['token-accepted', 'token-bundles'],
  },
  {
    id: 'workflow',
    title: 'The deploy workflow exists and can be dispatched',
    parts: ['github-token', 'github-dispatch', 'workflow', 'credentials-apart'],
    shows: ['workflow'],
  },
  {
    id: 'registry',
    title: 'The registry is valid and deployed',
    parts: ['registry', 'local-registry', 'registry-deployed'],
    shows: ['local-registry', 'registry-deployed'],
    decides: ['registry'],
  },
  {
    id: 'discord-tokens',
    title: 'The Discord tokens are encrypted, and in the bundles',
    parts: ['discord-secrets', 'bundles'],
    shows: ['discord-secrets', 'bundles'],
    decides: ['bundles'],
  },
  {
    id: 'latest-ami',
    title: 'There is an image to deploy',
    parts: ['latest-ami'],
    shows: ['latest-ami'],
  },
  {
    id: 'fleet-status',
    title: 'The fleet can be described, and not all of it is frozen',
    parts: ['ec2', 'fleet', 'freeze'],
    shows: ['fleet'],
  },
]

/** The command to type for a failed check, in addition to its own fix. */
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
 * Combines findings into the runbook's checks. A check passes if none of its findings failed and at least one passed.
 * If the check has a deciding finding, that one must have passed. A finding that belongs to no check (of a newer
 * server) becomes a check of its own, after the others.
 * @param unseen the evidence of a check without findings
 */
export function groupChecks(found: readonly Check[], unseen: string): PreflightCheck[] {
  const grouped = new Set(GROUPS.flatMap((group) => group.parts))
  return [
    ...GROUPS.map((group) => {
      const parts = found.filter((check) => group.parts.includes(check.id))
      return combine(group, parts, unseen)
    }),
    ...found.filter((check) => !grouped.has(check.id)).map((check) => ({ ...check, parts: [check] })),
  ]
}

function combine({ id, title, shows, decides }: Group, parts: Check[], unseen: string): PreflightCheck {
  const having = (status: Check['status']) => parts.filter((part) => part.status === status)
  const [failed, passed] = [having('fail'), having('pass')]
  if (failed.length > 0) {
    const fix = lines(failed.flatMap((part) => [part.fix, commandFor(part)]))
    return { id, title, status: 'fail', evidence: words(failed), fix, parts }
  }
  if (passed.length > 0 && (decides === undefined || passed.some((part) => decides.includes(part.id)))) {
    // A passed part with something to do is shown too.
    const shown = passed.filter((part) => shows.includes(part.id) || part.fix !== null)
    const evidence = words(shown.length > 0 ? shown : passed)
    return { id, title, status: 'pass', evidence, fix: lines(passed.map((part) => part.fix)), parts }
  }
  const undecided = having('skip').filter((part) => decides?.includes(part.id))
  const seen = passed.length > 0 ? [...passed, ...undecided] : parts
  const evidence = [words(seen), undecided.length === 0 && (passed.length > 0 || parts.length === 0) ? unseen : '']
  return {
    id,
    title,
    status: 'skip',
    evidence: evidence.filter(Boolean).join(' '),
    fix: lines(parts.map((part) => part.fix)),
    parts,
  }
}

/** No command if the service was only unreachable or busy: there may be nothing to fix. */
function commandFor({ id, fix }: Check): string | null {
  if (fix === CODES.UPSTREAM.next || fix === CODES.RATE_LIMITED.next) return null
  return COMMANDS.get(id) ?? null
}

function words(parts: readonly Check[]): string {
  return [...new Set(parts.map((part) => part.evidence))].join(' ')
}

function lines(fixes: readonly (string | null)[]): string | null {
  const distinct = [...new Set(fixes.filter((fix) => fix !== null && fix !== ''))]
  return distinct.length > 0 ? distinct.join('\n') : null
}

export interface PreflightVerdict {
  /** No check failed. Skipped checks are counted, but do not count as failures. */
  ready: boolean
  failed: number
  skipped: number
  text: string
}

export function verdictOf(checks: readonly Pick<Check, 'status'>[]): PreflightVerdict {
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
  const [failed, skipped] = [count('fail'), count('skip')]
  const unseen = skipped > 0 ? `${skipped} skipped` : null
  if (failed === 0) return { ready: true, failed, skipped, text: `Ready to fly${unseen ? `: ${unseen}` : ''}.` }
  const text = `Not ready: ${failed} of ${checks.length} checks failed${unseen ? `, ${unseen}` : ''}.`
  return { ready: false, failed, skipped, text }
}
