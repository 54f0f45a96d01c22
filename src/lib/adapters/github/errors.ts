import { RequestError } from '@octokit/request-error'
import { ClawctlError } from '../../domain/errors.js'
import { HttpFailure } from '../httpClient.js'
import { parseRetryAfter, retryHint } from '../retry.js'

interface Context {
  /** "start the workflow" */
  what: string
  owner: string
  repo: string
  workflow: string
  ref: string
  isApp: boolean
  /** The permissions that the token needs; default: those of a dispatch. */
  needs?: string
  /** Null if that is unknown too. */
  repositoryVisible(): Promise<boolean | null>
}

/** https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: 403 or 429, not always with headers. */
export function isLimited(error: RequestError): boolean {
  if (error.status === 429) return true
  const hasLimitHeader = header(error, 'retry-after') !== null || isExhausted(error)
  return error.status === 403 && (hasLimitHeader || /rate limit|abuse detection/i.test(error.message))
}

const isExhausted = (error: RequestError) => header(error, 'x-ratelimit-remaining') === '0'

export function retryAfterMs(error: unknown): number {
  return error instanceof RequestError ? parseRetryAfter(header(error, 'retry-after')) : 0
}

function header(error: RequestError, name: string): string | null {
  const value = error.response?.headers[name]
  return value === undefined ? null : String(value)
}

/** The error for a maintainer, chosen by GitHub's text. The text is not passed on: it may quote the request. */
export async function explainGithub(error: unknown, context: Context): Promise<ClawctlError> {
  if (error instanceof ClawctlError) return error
  if (error instanceof RequestError && error.cause instanceof ClawctlError) return error.cause
  const { what } = context
  // Octokit gives a request without an answer the status 500.
  const failure = error instanceof RequestError ? error.cause : error
  if (!(error instanceof RequestError) || failure instanceof HttpFailure) {
    const why = failure instanceof HttpFailure ? ` (${failure.message})` : ''
    return new ClawctlError('UPSTREAM', `GitHub could not be reached to ${what}${why}.`, { cause: error })
  }
  if (isLimited(error)) return limited(error, what)
  if (error.status === 401) {
    return denied(
      `GitHub does not accept the token (401), so it could not ${what}.`,
      context.isApp
        ? "Check the GitHub App's installation."
        : 'Renew GITHUB_TOKEN: it expired, was revoked or is misspelled.',
    )
  }
  if (error.status === 403) return forbidden(error, context)
  if (error.status === 404) return missing(context)
  if (error.status === 422) return unprocessable(error, context)
  if (error.status === 410)
    return denied(`GitHub could not ${what}: the feature is disabled (410).`, "Enable it in the repository's settings.")
  const hint = retryHint(retryAfterMs(error)) ?? undefined
  return new ClawctlError('UPSTREAM', `GitHub failed to ${what} (${error.status}).`, { hint, cause: error })
}

const denied = (message: string, hint: string) => new ClawctlError('DENIED', message, { hint })

function limited(error: RequestError, what: string): ClawctlError {
  const reset = Number(header(error, 'x-ratelimit-reset'))
  if (isExhausted(error) && Number.isSafeInteger(reset) && reset > 0) {
    const at = new Date(reset * 1000).toISOString()
    return new ClawctlError('RATE_LIMITED', `The token's hourly limit at GitHub is used up, so it could not ${what}.`, {
      hint: `Try again after ${at}, and check what else uses the token.`,
    })
  }
  return new ClawctlError('RATE_LIMITED', `GitHub throttles requests, so it could not ${what}.`, {
    hint: retryHint(retryAfterMs(error)) ?? 'Wait a minute, then try again.',
  })
}

/** The permissions that GitHub asks for: `actions=write; contents=read, metadata=read`. */
const ACCEPTED = /^[a-z_]+=[a-z]+(?:[,;] ?[a-z_]+=[a-z]+)*$/

function forbidden(
  error: RequestError,
  { what, owner, repo, needs = 'actions: write and contents: read' }: Context,
): ClawctlError {
  const where = `${owner}/${repo}`
  const message = `GitHub refused to ${what} in ${where} (403).`
  if (header(error, 'x-github-sso') !== null || /SAML/i.test(error.message)) {
    return denied(message, `Authorize the token for the organization ${owner}: it enforces single sign-on.`)
  }
  if (/archived/i.test(error.message)) return denied(message, `${where} is archived: unarchive it.`)
  if (/suspended/i.test(error.message))
    return denied(message, "The GitHub App's installation is suspended: unsuspend it.")
  if (/IP allow list/i.test(error.message)) return denied(message, `The IP allow list of ${owner} blocks this machine.`)
  const accepted = header(error, 'x-accepted-github-permissions')
  const asked =
    accepted !== null && accepted.length < 200 && ACCEPTED.test(accepted) ? ` GitHub asks for ${accepted}.` : ''
  return denied(message, `The token needs ${needs} on this repository.${asked}`)
}

async function missing({ what, owner, repo, workflow, repositoryVisible }: Context): Promise<ClawctlError> {
  const where = `${owner}/${repo}`
  const visible = await repositoryVisible()
  if (visible === false) {
    return denied(
      `The repository ${where} does not exist, or the token has no access to it (404).`,
      "Check GITHUB_REPO and the token's repository access.",
    )
  }
  if (visible === true) {
    return denied(
      `GitHub could not ${what}: ${where} has no ${workflow} on its default branch, or the token has no access to it (404).`,
      "Check GITHUB_WORKFLOW, and that the token may read the repository's actions.",
    )
  }
  return denied(
    `${where} has no ${workflow}, or the token has no access to it (404).`,
    "Check GITHUB_REPO, GITHUB_WORKFLOW and the token's repository access.",
  )
}

/** Known error texts of GitHub, each with problem and hint. */
const UNPROCESSABLE: readonly [RegExp, (context: Context) => [problem: string, hint: string]][] = [
  [
    /no ref found/i,
    ({ ref }) => [`there is no ref ${ref}`, 'Check GITHUB_REF: a branch or tag that has the workflow.'],
  ],
  [
    /does not have 'workflow_dispatch'/i,
    ({ workflow, ref }) => [`${workflow} on ${ref} has no workflow_dispatch trigger`, 'Add it, or check GITHUB_REF.'],
  ],
  [
    /unexpected inputs|required input|inputs? .*(?:not provided|is not)/i,
    ({ workflow, ref }) => [
      `${workflow} on ${ref} has other inputs than this version sends`,
      'Deploy the Control API and the workflow in the same version.',
    ],
  ],
  [/disabled workflow/i, ({ workflow }) => [`${workflow} is disabled`, 'Enable it in the Actions tab.']],
  [
    /actions has been disabled/i,
    ({ owner, repo }) => [`Actions are disabled in ${owner}/${repo}`, "Enable them in the repository's settings."],
  ],
  [
    /parse workflow|invalid workflow|workflow is not valid/i,
    ({ workflow, ref }) => [`${workflow} on ${ref} is not a valid workflow`, 'The Actions tab shows what is wrong.'],
  ],
]

function unprocessable(error: RequestError, context: Context): ClawctlError {
  const { what, workflow, ref } = context
  const known = UNPROCESSABLE.find(([words]) => words.test(error.message))
  if (known) {
    const [problem, hint] = known[1](context)
    return denied(`GitHub refused to ${what}: ${problem} (422).`, hint)
  }
  return denied(
    `GitHub refused to ${what} (422).`,
    `Check ${workflow} on ${ref} in the Actions tab: GitHub must be able to parse it, and it must have workflow_dispatch with the inputs of this version.`,
  )
}
