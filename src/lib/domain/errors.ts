/** The meaning of each exit code, the same for every command. */
export const EXIT_CODES = {
  0: 'done',
  1: 'failed',
  2: 'usage or bad input',
  3: 'refused by policy or guard',
  4: 'a service could not be reached, or denied access',
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
    meaning: 'The command line is incomplete or invalid.',
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
    next: 'Fix the entry that the message names, then run `clawctl registry check`.',
  },
  REGISTRY_CONFLICT: {
    exit: 2,
    meaning:
      'The edit conflicts with what exists: an id, token, prefix or host in use, or a branch with commits of others.',
    next: 'Use another value, or follow the hint. Nothing was changed.',
  },
  REGISTRY_LOCKED: {
    exit: 4,
    meaning: 'Another clawctl is editing the registry of this checkout.',
    next: 'Wait for it, or end it. The lock of a killed process is released automatically.',
  },
  NOT_WRITABLE: {
    exit: 1,
    http: 500,
    meaning: 'A file, or the output of a command, cannot be written.',
    next: 'Check its permissions and the free space, then run the command again: it resumes.',
  },
  REGISTRY_NOT_FOUND: {
    exit: 2,
    http: 422,
    meaning: 'nix/instances.json does not exist.',
    next: 'Run the command in a checkout, or set CLAWCTL_CHECKOUT; on the server, check GITHUB_REPO and GITHUB_REF.',
  },
  INVALID_TARGET: {
    exit: 2,
    http: 400,
    meaning: 'The target is neither `all` nor a valid instance id.',
    next: 'Name `all` or an id as `clawctl registry list` prints it.',
  },
  UNKNOWN_TARGET: {
    exit: 2,
    http: 404,
    meaning: 'The target is not in the registry.',
    next: 'Use an id from `clawctl registry list`, or add the instance to nix/instances.json first.',
  },
  INVALID_AMI: {
    exit: 2,
    http: 400,
    meaning: 'The AMI id is not `ami-` with 8 or 17 hexadecimal digits.',
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
    meaning: 'An instance requested its own deploy.',
    next: 'Request it from another instance or from a laptop.',
  },
  BOT_DEPLOY_ALL: {
    exit: 3,
    http: 403,
    meaning: 'A bot requested a deploy of the whole fleet without naming a person.',
    next: 'Pass the name of the requester with --requested-by, or name one instance.',
  },
  BOT_RETIRE: {
    exit: 3,
    http: 403,
    meaning: 'A bot requested a retirement without naming a person.',
    next: 'Pass the name of the requester with --requested-by.',
  },
  PERSON_REQUIRED: {
    exit: 3,
    http: 403,
    meaning: 'Only a person may request this, and none is named: all, an AMI, a strategy, a retirement, a freeze.',
    next: 'Pass the name of the requester with --requested-by, or deploy one instance with the latest AMI.',
  },
  CODE_REQUIRED: {
    exit: 3,
    http: 403,
    meaning: 'People are enrolled, and the request has a name without a one-time code.',
    next: 'Ask the person for the code of their authenticator, and pass it with --code.',
  },
  CODE_WRONG: {
    exit: 3,
    http: 403,
    meaning: 'The one-time code is wrong, used or expired, or the name is not enrolled.',
    next: 'Wait for the next code; check the name with `clawctl people list`, and the clock of the phone.',
  },
  CODE_LOCKED: {
    exit: 3,
    http: 429,
    meaning: 'Five wrong codes locked the name for 15 minutes.',
    next: 'Wait until the time that the message names; find out who tried.',
  },
  UNKNOWN_CALLER: {
    exit: 3,
    http: 403,
    meaning: 'The request names a caller that the registry does not have.',
    next: 'Use an id of the registry, or none on a laptop.',
  },
  READ_ONLY: {
    exit: 3,
    http: 403,
    meaning: 'The token may only read.',
    next: 'Use the token of an instance or of a maintainer.',
  },
  FROZEN: {
    exit: 3,
    http: 409,
    meaning: 'A person froze the target: nothing is deployed until the freeze ends.',
    next: 'See `clawctl fleet status` for who, why and until when; `clawctl fleet unfreeze` ends it.',
  },
  STILL_REGISTERED: {
    exit: 3,
    http: 409,
    meaning: 'The instance to be retired is still in the registry.',
    next: 'Remove its entry from nix/instances.json and merge that, then retire it.',
  },
  CALLER_MISMATCH: {
    exit: 3,
    http: 403,
    meaning: 'The token belongs to another instance than the caller that the request names.',
    next: 'Use the token of that instance.',
  },
  NOT_CI: {
    exit: 3,
    meaning: 'The command or option exists only in ci mode: it uses AWS directly.',
    next: 'Run it in the workflow, or request a deploy through the Control API.',
  },
  ON_AGENT_HOST: {
    exit: 3,
    meaning: 'ci mode was requested on a fleet host, which never holds an AWS credential.',
    next: 'Unset CLAWCTL_MODE, CI and GITHUB_ACTIONS, or drop --mode ci.',
  },
  PLAN_OUT_OF_SCOPE: {
    exit: 3,
    meaning: 'The saved plan would change, replace or delete something that the request does not name.',
    next: 'Read the addresses, reconcile state and code, then deploy again. Nothing was applied.',
  },
  AMI_REFUSED: {
    exit: 3,
    http: 422,
    meaning:
      'The AMI must not be booted: it is from another account, withdrawn, for another architecture, or too large.',
    next: 'Name another AMI, or fix what the message names. Nothing was changed.',
  },
  AMI_FAILED_BEFORE: {
    exit: 3,
    http: 409,
    meaning: 'The latest AMI failed its checks in an earlier deploy.',
    next: 'Build a new image, or deploy the rollback target with `clawctl fleet rollback`. --ami deploys this one anyway.',
  },
  LAUNCH_REFUSED: {
    exit: 3,
    meaning: 'EC2 refuses to launch the planned machine: one of its parameters is wrong.',
    next: 'Fix what EC2 names, in the registry, the stack or the variables. Nothing was changed.',
  },
  NOT_IN_STATE: {
    exit: 3,
    meaning:
      'EC2 or IAM has an object of an instance that the OpenTofu state does not have, and a person must decide what to do.',
    next: '`clawctl fleet recover` shows it; the hint names the next command.',
  },
  DRIFT: {
    exit: 3,
    meaning: 'The fleet differs from the registry, the stack or the last deploy.',
    next: 'Read the differences; deploy what is missing or changed, retire what is orphaned.',
  },
  BUNDLE_INCOMPLETE: {
    exit: 3,
    meaning: "The instance's bootstrap bundle is missing or incomplete.",
    next: 'Upload the bundle, then deploy again. Nothing was replaced.',
  },
  BUNDLE_CONFLICT: {
    exit: 3,
    meaning: 'Another upload replaced the bundle meanwhile. That bundle is complete and in place.',
    next: 'Check which one is newer, then upload again if needed.',
  },
  OBJECT_CONFLICT: {
    exit: 3,
    meaning: 'Another process changed the same object of the bucket meanwhile.',
    next: 'Look at the other change, then make yours again. Nothing was written.',
  },
  INVALID_SECRETS: {
    exit: 2,
    meaning: 'A secret or an identity is missing, unreadable, shared by mistake, or not an age file.',
    next: 'Fix what the message names; `clawctl secrets check` shows what each instance needs. Nothing was uploaded.',
  },
  UNAUTHORIZED: {
    exit: 4,
    http: 401,
    meaning: 'The bearer token is missing or wrong.',
    next: 'Check the control token. After a rotation, fetch the bundle again.',
  },
  DENIED: {
    exit: 4,
    http: 502,
    meaning: 'AWS or GitHub refused the call: the credential lacks a permission, or the name does not exist.',
    next: 'Follow the hint: grant a permission, correct a name, or fix a workflow that GitHub cannot parse.',
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
    next: 'Try again in a minute. If it fails again, check the service itself.',
  },
  RATE_LIMITED: {
    exit: 4,
    http: 429,
    meaning: 'A service still throttled the request after the retries.',
    next: 'Wait a minute, then try again.',
  },
  STATE_LOCKED: {
    exit: 4,
    meaning: 'Another process, which may be alive, holds the lock of the OpenTofu state.',
    next: 'Wait for it. If it no longer runs: `clawctl fleet recover --unlock LOCK_ID`.',
  },
  TOOL_MISSING: {
    exit: 4,
    meaning: 'A program that the command runs is not installed.',
    next: 'Install it, or add it to PATH.',
  },
  NOT_FOUND: {
    exit: 2,
    http: 404,
    meaning: 'The route or the deploy does not exist.',
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
    meaning: 'The request id belongs to another deploy, or the image exists already with other settings.',
    next: 'Use a new request id; for an image, follow the hint.',
  },
  INVALID_IMAGE: {
    exit: 2,
    meaning: 'The image does not exist, changed while it was read, or cannot be imported.',
    next: 'Follow the hint; `clawctl image build` makes an image.',
  },
  BUILD_FAILED: {
    exit: 1,
    meaning: 'Nix could not build the image, or the result is not usable.',
    next: "Read nix's output, fix the configuration or the machine, then build again.",
  },
  IMPORT_FAILED: {
    exit: 1,
    meaning: 'The import, the snapshot or the registration of an image failed in EC2.',
    next: 'Read the reason in the message, then run the command again to resume. No unfinished AMI was tagged.',
  },
  PLAN_FAILED: {
    exit: 1,
    meaning: 'OpenTofu could not plan.',
    next: "Read OpenTofu's output in the log. Nothing was changed.",
  },
  APPLY_FAILED: {
    exit: 1,
    meaning: 'OpenTofu could not apply the guarded plan.',
    next: "Read OpenTofu's output in the log, then run the deploy again: it resumes.",
  },
  HEALTH_FAILED: {
    exit: 1,
    meaning: 'A host did not become healthy and was left as it is.',
    next: 'Inspect the host, or deploy it with the AMI that worked.',
  },
  NO_ROLLBACK_TARGET: {
    exit: 2,
    meaning: 'No record names a rollback target, or the instances have different ones.',
    next: 'Name the AMI with `clawctl fleet deploy --ami`, or roll back one instance at a time.',
  },
  KEPT: {
    exit: 6,
    meaning: 'The candidate failed its checks before the handover. The old machine was not touched and keeps serving.',
    next: 'Read the reason: the image, the bundle or a token. The AMI is deployed again only if you name it.',
  },
  ROLLED_BACK: {
    exit: 6,
    meaning: 'The host did not become healthy after the handover. The old machine or the previous AMI serves again.',
    next: 'Check the new image before the next deploy.',
  },
  NO_CAPACITY: {
    exit: 4,
    meaning: 'EC2 cannot start one more machine: no capacity, or the vCPU limit is reached.',
    next: 'Try later, or raise the limit. --strategy replace stops the old machine first and needs no additional one.',
  },
  FENCE_FAILED: {
    exit: 4,
    meaning: 'EC2 could not stop or start a machine during a handover.',
    next: 'Check the machine in EC2, then deploy again: the deploy resumes.',
  },
  ROLE_LOST: {
    exit: 4,
    meaning: 'Another deploy named the active machine of the instance meanwhile.',
    next: 'Check `clawctl fleet status`, then deploy again.',
  },
  ROLE_UNREADABLE: {
    exit: 1,
    meaning: 'The object that names the active machine of an instance is not valid.',
    next: 'Check active/ID.json in the bucket. If it is missing, the next deploy writes it.',
  },
  ROLLBACK_FAILED: {
    exit: 1,
    meaning: 'The host did not become healthy, neither with the new AMI nor with the previous one.',
    next: 'Deploy it with an AMI that is known to work: `clawctl fleet deploy ID --ami AMI`.',
  },
  DEPLOY_FAILED: {
    exit: 1,
    meaning: 'The run failed and reported no reason.',
    next: "Open the run's log.",
  },
  PREFLIGHT_FAILED: {
    exit: 1,
    meaning: 'A preflight check failed. The checks are listed with the error.',
    next: 'Follow the advice below each failed check, then run `clawctl preflight` again.',
  },
  CANCELLED: {
    exit: 1,
    http: 503,
    meaning: 'The run was cancelled, or the command that waited for it was interrupted.',
    next: 'Check the outcome with `clawctl fleet history` before you try again.',
  },
  TIMED_OUT: {
    exit: 5,
    http: 504,
    meaning: 'The operation did not finish within its time limit.',
    next: 'The deploy itself may still run: check `clawctl fleet history`.',
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

/** HTTP status for a code; 500 for a code that only the CLI raises. */
export function httpStatusOf(code: Code): number {
  const entry: CodeEntry = CODES[code]
  return entry.http ?? 500
}

/** The one error type that carries a code. `message` states what failed and why, `hint` what to type next. Never holds a secret. */
export class ClawctlError extends Error {
  override readonly name = 'ClawctlError'
  readonly code: Code
  readonly hint: string | undefined
  /** Further lines for people, printed below the message. */
  readonly details: readonly string[]
  /** Results up to the failure, printed with the error (a deploy with its hosts, for example). */
  readonly partial: Record<string, unknown> | undefined
  /** Seconds until the next attempt, if known. */
  readonly retryAfterS: number | undefined

  constructor(
    code: Code,
    message: string,
    options: {
      hint?: string
      cause?: unknown
      details?: readonly string[]
      partial?: Record<string, unknown>
      retryAfterS?: number
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? []
    this.partial = options.partial
    this.retryAfterS = options.retryAfterS
  }
}

/** The same error with partial results, and with another hint if one is given. */
export function withPartial(error: ClawctlError, partial: Record<string, unknown>, hint = error.hint): ClawctlError {
  const { code, message, details, retryAfterS } = error
  return new ClawctlError(code, message, {
    hint,
    details,
    retryAfterS,
    cause: error,
    partial: { ...error.partial, ...partial },
  })
}

export interface ErrorBody {
  code: Code
  message: string
  hint?: string
}

export function errorBody(error: ClawctlError): ErrorBody {
  return { code: error.code, message: error.message, ...(error.hint ? { hint: error.hint } : {}) }
}

/** NOT_WRITABLE for what a full disk has stopped. */
export function fullDisk(what: string, cause: unknown): ClawctlError {
  return new ClawctlError('NOT_WRITABLE', `${what}: there is no space left on this machine.`, {
    hint: 'Free some space, or set TMPDIR to a folder with more, then run the command again.',
    cause,
  })
}

/** The same for Node's error of a full disk or a used-up quota; null for any other error. */
export function asFullDisk(error: unknown, what?: string): ClawctlError | null {
  const { code, path } = Object(error) as { code?: unknown; path?: unknown }
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return null
  return fullDisk(what ?? `${path ?? 'A file'} can't be written`, error)
}

/** Any other error is a defect of clawctl: INTERNAL, without its stack. */
export function asClawctlError(error: unknown): ClawctlError {
  if (error instanceof ClawctlError) return error
  const full = asFullDisk(error)
  if (full !== null) return full
  const message = error instanceof Error ? error.message : String(error)
  return new ClawctlError('INTERNAL', message, { cause: error })
}
