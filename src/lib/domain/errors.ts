/** What the process's exit code says; every command keeps to it. */
export const EXIT_CODES = {
  0: 'done',
  1: 'failed',
  2: 'usage or bad input',
  3: 'refused by policy or guard',
  4: 'a service could not be reached or denied us',
  5: 'timed out',
  6: 'rolled back',
} as const

/** The closed list of codes: one table for the CLI's exit codes, the Control API's HTTP statuses and docs/errors.md. */
interface CodeEntry {
  exit: Exclude<keyof typeof EXIT_CODES, 0>
  /** HTTP status when the Control API answers with this code; absent where only the CLI can raise it. */
  http?: number
  meaning: string
  next: string
}

export const CODES = {
  USAGE: {
    exit: 2,
    meaning: 'The command line is not complete or not understood.',
    next: 'Run the command with --help and correct it.',
  },
  INVALID_REQUEST: {
    exit: 2,
    http: 400,
    meaning: 'A request or an option has a value of the wrong form.',
    next: 'Correct the value that the message names.',
  },
  INVALID_REGISTRY: {
    exit: 2,
    http: 422,
    meaning: 'nix/instances.json is not valid: broken JSON, an unknown key, a bad or a repeated value.',
    next: 'Mend the entry that the message names; `clawctl registry check` says when it is well.',
  },
  REGISTRY_CONFLICT: {
    exit: 2,
    meaning:
      'The edit does not fit what is there: an id, token, prefix or host in use, or a branch with work of others.',
    next: 'Use another value, or do with what is there as the hint says. Nothing was changed.',
  },
  REGISTRY_LOCKED: {
    exit: 4,
    meaning: 'Another clawctl is editing the registry of this checkout.',
    next: 'Wait for it, or end it; a lock that was left by a killed process is taken over by itself.',
  },
  NOT_WRITABLE: {
    exit: 1,
    meaning: 'A file of the checkout, or of the outputs of a job, can not be written.',
    next: 'Check its permissions and the free space, then run the command again: it resumes.',
  },
  REGISTRY_NOT_FOUND: {
    exit: 2,
    http: 422,
    meaning: 'There is no nix/instances.json to read.',
    next: 'Run the command in a checkout, or set CLAWCTL_CHECKOUT; on the server, check GITHUB_REPO and GITHUB_REF.',
  },
  INVALID_TARGET: {
    exit: 3,
    http: 400,
    meaning: 'The target is neither `all` nor the form of an instance id.',
    next: 'Name `all` or an id as `clawctl registry list` prints it.',
  },
  UNKNOWN_TARGET: {
    exit: 3,
    http: 404,
    meaning: 'The target is not in the registry.',
    next: 'Take an id from `clawctl registry list`, or add the instance to nix/instances.json first.',
  },
  INVALID_AMI: {
    exit: 3,
    http: 400,
    meaning: 'The AMI is not of the form ami- and 8 or 17 hexadecimal digits.',
    next: 'Copy the id from `clawctl fleet status` or from the history.',
  },
  AMI_NOT_FOUND: {
    exit: 2,
    http: 422,
    meaning: 'The AMI does not exist, is not available, or no image is tagged clawdinator=true.',
    next: 'Check the id and the region, or build and import an image first.',
  },
  SELF_DEPLOY: {
    exit: 3,
    http: 403,
    meaning: 'An instance asked to deploy itself.',
    next: 'Ask from another instance or from a laptop.',
  },
  BOT_DEPLOY_ALL: {
    exit: 3,
    http: 403,
    meaning: 'A bot asked to deploy the whole fleet on its own.',
    next: 'Pass the name of the person who asked with --requested-by, or name one instance.',
  },
  BOT_RETIRE: {
    exit: 3,
    http: 403,
    meaning: 'A bot asked to retire an instance on its own.',
    next: 'Pass the name of the person who asked with --requested-by.',
  },
  STILL_REGISTERED: {
    exit: 3,
    http: 409,
    meaning: 'An instance was to be retired that the registry still has.',
    next: 'Remove its entry from nix/instances.json and merge that, then retire it.',
  },
  CALLER_MISMATCH: {
    exit: 3,
    http: 403,
    meaning: 'The request names a caller that its token does not belong to.',
    next: 'Use the token of that instance.',
  },
  NOT_CI: {
    exit: 3,
    meaning: 'The command or option exists only in ci mode: it needs the direct plane.',
    next: 'Run it in the workflow, or ask for a deploy through the Control API.',
  },
  ON_AGENT_HOST: {
    exit: 3,
    meaning: 'ci mode was asked for on a fleet host, which never holds an AWS credential.',
    next: 'Unset CLAWCTL_MODE, CI and GITHUB_ACTIONS, or drop --mode ci.',
  },
  PLAN_OUT_OF_SCOPE: {
    exit: 3,
    meaning: 'The saved plan would change, replace or delete something that the request does not name.',
    next: 'Read the addresses; reconcile state and code first, then deploy again. Nothing was applied.',
  },
  AMI_REFUSED: {
    exit: 3,
    http: 422,
    meaning: 'The AMI may not be booted: of another account, withdrawn, for another architecture, or too large.',
    next: 'Name another AMI, or mend what the message names. Nothing was changed.',
  },
  AMI_FAILED_BEFORE: {
    exit: 3,
    http: 409,
    meaning: 'The latest AMI failed its checks in an earlier deploy.',
    next: 'Build a new image; `clawctl fleet rollback` goes to the AMI before; --ami takes this one all the same.',
  },
  LAUNCH_REFUSED: {
    exit: 3,
    meaning: 'EC2 would not launch the planned machine: a parameter of it is wrong.',
    next: 'Mend what EC2 names in the registry, the stack or the variables. Nothing was changed.',
  },
  NOT_IN_STATE: {
    exit: 3,
    meaning:
      'EC2 or IAM has something of an instance that the OpenTofu state does not know, and that no deploy may decide about.',
    next: '`clawctl fleet recover` shows it; the hint says which of both to end.',
  },
  DRIFT: {
    exit: 3,
    meaning: 'What runs differs from the registry, from the stack, or from the last deploy.',
    next: 'Read the differences; deploy what is missing or changed, retire what is orphaned.',
  },
  BUNDLE_INCOMPLETE: {
    exit: 3,
    meaning: "The instance's bootstrap bundle is missing or not whole.",
    next: 'Upload the bundle, then deploy again. Nothing was replaced.',
  },
  BUNDLE_CONFLICT: {
    exit: 3,
    meaning: 'Another upload replaced the bundle while ours was under way; theirs is in place, whole.',
    next: 'Look at which is the newer one, then upload again.',
  },
  INVALID_SECRETS: {
    exit: 2,
    meaning: 'A secret or an identity is missing, unreadable, shared by mistake, or no age file.',
    next: 'Mend what the message names; `clawctl secrets check` shows who needs what. Nothing was uploaded.',
  },
  UNAUTHORIZED: {
    exit: 4,
    http: 401,
    meaning: 'The bearer token is missing or wrong.',
    next: 'Check the control token; after a rotation fetch the bundle again.',
  },
  DENIED: {
    exit: 4,
    http: 502,
    meaning: 'AWS or GitHub knows us and refuses the call.',
    next: 'Do what the hint says: a permission, a renamed repository, or a workflow that GitHub can not read.',
  },
  NOT_CONFIGURED: {
    exit: 4,
    http: 500,
    meaning: 'A setting that the command or the server needs is missing or malformed.',
    next: 'Set the variable or write the file that the message names.',
  },
  UPSTREAM: {
    exit: 4,
    http: 502,
    meaning: 'A service could not be reached or failed after the retries.',
    next: 'Try again in a minute; if it stays, look at the service itself.',
  },
  RATE_LIMITED: {
    exit: 4,
    http: 429,
    meaning: 'A service asked us to slow down and went on doing so.',
    next: 'Wait a minute, then try again.',
  },
  STATE_LOCKED: {
    exit: 4,
    meaning: 'Something that may be alive holds the lock of the OpenTofu state.',
    next: 'Wait for it; where nothing of it runs any more, `clawctl fleet recover --unlock LOCK_ID`.',
  },
  TOOL_MISSING: {
    exit: 4,
    meaning: 'A program that the command runs is not installed.',
    next: 'Install it or put it into PATH.',
  },
  NOT_FOUND: {
    exit: 2,
    http: 404,
    meaning: 'There is no such route or deploy.',
    next: 'Check the request id with `clawctl fleet history`.',
  },
  METHOD_NOT_ALLOWED: {
    exit: 2,
    http: 405,
    meaning: 'The route exists, but not with this method.',
    next: 'Use the method that the message names.',
  },
  PAYLOAD_TOO_LARGE: {
    exit: 2,
    http: 413,
    meaning: 'The request body is larger than 16 KiB.',
    next: 'Send only the fields of the contract.',
  },
  REQUEST_CONFLICT: {
    exit: 2,
    http: 409,
    meaning: 'The same request id was used for another deploy, or an image is there or under way in another shape.',
    next: 'Use a new request id; for an image do what the hint says.',
  },
  INVALID_IMAGE: {
    exit: 2,
    meaning: 'The image does not exist, changes while it is read, or is none that can be imported.',
    next: 'Do what the hint says; `clawctl image build` makes an image.',
  },
  BUILD_FAILED: {
    exit: 1,
    meaning: 'Nix could not build the image, or built none that can be used.',
    next: 'Read what nix said, mend the configuration or the machine, and build again.',
  },
  IMPORT_FAILED: {
    exit: 1,
    meaning: 'EC2 ended the import, the snapshot or the registration of an image without success.',
    next: 'Read the reason in the message. Nothing half-made was tagged; run the command again to resume.',
  },
  PLAN_FAILED: {
    exit: 1,
    meaning: 'OpenTofu could not plan.',
    next: "Read OpenTofu's own words in the log. Nothing was changed.",
  },
  APPLY_FAILED: {
    exit: 1,
    meaning: 'OpenTofu could not apply the guarded plan.',
    next: "Read OpenTofu's own words in the log, then run the deploy again: it resumes.",
  },
  HEALTH_FAILED: {
    exit: 1,
    meaning: 'A host did not become healthy and was left as it is.',
    next: 'Look at the host, or deploy it with the AMI that worked.',
  },
  NO_ROLLBACK_TARGET: {
    exit: 2,
    meaning: 'No record names an AMI to go back to, or the instances need different ones.',
    next: 'Name the AMI with `clawctl fleet deploy --ami`, or roll back one instance after the other.',
  },
  KEPT: {
    exit: 6,
    meaning: "A host's successor did not pass its checks before the handover; the host was never touched and serves.",
    next: 'Look at the reason: the image, the bundle or a token. The AMI is not offered again by itself.',
  },
  ROLLED_BACK: {
    exit: 6,
    meaning: 'A host did not become healthy after the handover; its predecessor or its previous AMI serves again.',
    next: 'Look at the new image before the next deploy.',
  },
  NO_CAPACITY: {
    exit: 4,
    meaning: 'EC2 has no room for one machine more: no capacity, or the limit of vCPUs.',
    next: 'Try later or raise the limit; --strategy replace needs no machine more, and stops the old one first.',
  },
  FENCE_FAILED: {
    exit: 4,
    meaning: 'EC2 could not stop or start a machine during a handover.',
    next: 'Look at the machine in EC2, then deploy again: it goes on from what stands.',
  },
  ROLE_LOST: {
    exit: 4,
    meaning: 'Another deploy said meanwhile which machine is to act for the instance.',
    next: 'See `clawctl fleet status`, then deploy again.',
  },
  ROLE_UNREADABLE: {
    exit: 1,
    meaning: 'The object that names the active machine of an instance is none.',
    next: 'Look at active/ID.json in the bucket; a deploy writes it anew where it is missing.',
  },
  ROLLBACK_FAILED: {
    exit: 1,
    meaning: 'A host did not become healthy, neither with the new AMI nor back on the previous one.',
    next: 'Deploy it by hand with an AMI that is known to work.',
  },
  DEPLOY_FAILED: {
    exit: 1,
    meaning: 'The run ended without success and without saying more.',
    next: "Open the run's log.",
  },
  PREFLIGHT_FAILED: {
    exit: 1,
    meaning: 'Something that a flight needs does not hold; the checks are beside the error.',
    next: 'Do what stands below each check that failed, then run `clawctl preflight` again.',
  },
  CANCELLED: {
    exit: 1,
    http: 503,
    meaning: 'The run was cancelled, or the command that waited for it was interrupted.',
    next: 'See `clawctl fleet history` for what became of it before you ask again.',
  },
  TIMED_OUT: {
    exit: 5,
    http: 504,
    meaning: 'It was not over when the time was up.',
    next: 'The deploy itself may go on: see `clawctl fleet history`.',
  },
  SANDBOX_FAILED: {
    exit: 1,
    meaning: 'The sandbox could not start or keep running.',
    next: 'Read the message; `clawctl sandbox run --help` shows the options.',
  },
  INTERNAL: {
    exit: 1,
    http: 500,
    meaning: 'A defect of clawctl itself.',
    next: 'Report it with the command and the message.',
  },
} as const satisfies Record<string, CodeEntry>

export type Code = keyof typeof CODES
export const CODE_NAMES = Object.keys(CODES) as [Code, ...Code[]]

export function exitCodeOf(code: Code): CodeEntry['exit'] {
  return CODES[code].exit
}

/** HTTP status for a code. A code that only the CLI knows is a defect when the server raises it: 500. */
export function httpStatusOf(code: Code): number {
  const entry: CodeEntry = CODES[code]
  return entry.http ?? 500
}

/** The one error type that carries a code. `message` says what and why, `hint` what to type next. Never holds a secret. */
export class ClawctlError extends Error {
  override readonly name = 'ClawctlError'
  readonly code: Code
  readonly hint: string | undefined
  /** More lines for people, below the message. */
  readonly details: readonly string[]
  /** What had been done when it failed, printed beside the error (a deploy with its hosts, say). */
  readonly partial: Record<string, unknown> | undefined

  constructor(
    code: Code,
    message: string,
    options: { hint?: string; cause?: unknown; details?: readonly string[]; partial?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? []
    this.partial = options.partial
  }
}

/** The same failure with what had been done beside it, and another hint where there is one. */
export function withPartial(error: ClawctlError, partial: Record<string, unknown>, hint = error.hint): ClawctlError {
  const { code, message, details } = error
  return new ClawctlError(code, message, { hint, details, cause: error, partial: { ...error.partial, ...partial } })
}

export interface ErrorBody {
  code: Code
  message: string
  hint?: string
}

export function errorBody(error: ClawctlError): ErrorBody {
  return { code: error.code, message: error.message, ...(error.hint ? { hint: error.hint } : {}) }
}

/** What is not ours is a defect, and says so without its stack. */
export function asClawctlError(error: unknown): ClawctlError {
  if (error instanceof ClawctlError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ClawctlError('INTERNAL', message, { cause: error })
}
