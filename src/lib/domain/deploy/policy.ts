import type { Order } from '../contract/order.js'
import { AMI_PATTERN, ID_PATTERN } from '../contract/patterns.js'
import { ClawctlError, type Code } from '../errors.js'
import { nearest } from '../nearest.js'
import { findEntry, type Registry } from '../registry/registry.js'
import { type Identity, identityOf, identityOnDirectPlane, isPersonName } from './identity.js'

export interface DeployQuestion {
  target: string
  amiOverride?: string | null | undefined
  strategy?: Order['strategy'] | null | undefined
  configRevision?: Order['configRevision'] | null | undefined
  /** The instance that sends the request, if any. */
  caller?: string | null | undefined
  /** The requester; a caller without one is a bot acting on its own. */
  requestedBy?: string | null | undefined
  /** Absent: caller and requester are claimed. */
  identity?: Identity | undefined
  /** Whether a person is enrolled: then a claimed name is not enough. */
  enrolled?: boolean | undefined
  /** Absent if it is not known yet: then the existence of the target is not checked. */
  registry?: Registry | undefined
  /** Destroy the target, which must have left the registry, instead of deploying it. */
  retire?: boolean | undefined
}

export type Refusal = {
  allowed: false
  code: Extract<
    Code,
    | 'INVALID_TARGET'
    | 'INVALID_AMI'
    | 'INVALID_REQUEST'
    | 'SELF_DEPLOY'
    | 'BOT_DEPLOY_ALL'
    | 'BOT_RETIRE'
    | 'PERSON_REQUIRED'
    | 'CODE_REQUIRED'
    | 'STILL_REGISTERED'
    | 'UNKNOWN_TARGET'
    | 'UNKNOWN_CALLER'
  >
  message: string
  hint: string
}

export type DeployVerdict =
  /** `except`: the caller, which a deploy of all skips. */
  { allowed: true; scope: { kind: 'all'; except: string | null } | { kind: 'instance'; id: string } } | Refusal

const refuse = (code: Refusal['code'], message: string, hint: string): Refusal => ({
  allowed: false,
  code,
  message,
  hint,
})

/**
 * The only policy: the CLI applies it before it sends a request, the Control API before it dispatches, CI before it plans.
 * - Any caller may deploy one instance other than itself with the latest AMI.
 * - Only a person may deploy all instances, choose another AMI or strategy, or retire an instance; once a person is
 *   enrolled, only a verified one.
 * - An instance never replaces itself, also for a person: a deploy of all skips it.
 * - Only an instance that has left the registry is retired, one at a time.
 */
export function decideDeploy(question: DeployQuestion): DeployVerdict {
  const { target, amiOverride, caller, registry } = question
  const ids = registry?.map((entry) => entry.id) ?? []
  const didYouMean = () => {
    // Never suggests `all`: a typing error must not lead to a deploy of the whole fleet.
    const near = nearest(target, ids)
    if (near) return `Did you mean ${near}?`
    return ids.length > 0 ? `Known instances: ${list(ids)}.` : 'Name `all` or an instance id such as clawdinator-1.'
  }

  if (!ID_PATTERN.test(target)) {
    return refuse(
      'INVALID_TARGET',
      `${quote(target)} is not a target: it is neither "all" nor an instance id.`,
      didYouMean(),
    )
  }
  if (amiOverride && !AMI_PATTERN.test(amiOverride)) {
    return refuse(
      'INVALID_AMI',
      `${quote(amiOverride)} is not an AMI id.`,
      'An AMI id is "ami-" and 8 or 17 hexadecimal digits; `clawctl fleet status` shows the ones in use.',
    )
  }
  if (caller && target === caller) return refuseSelf(caller)
  const asker = refuseAsker(question) ?? refusePerson(question)
  if (asker) return asker
  if (question.retire) {
    if (target === 'all') {
      return refuse('INVALID_TARGET', '"all" can\'t be retired.', 'Name the one instance that has left the registry.')
    }
    if (amiOverride) {
      return refuse('INVALID_AMI', `${target} is to be destroyed, so it boots no AMI.`, 'Leave --ami out.')
    }
    if (registry && findEntry(registry, target)) {
      return refuse(
        'STILL_REGISTERED',
        `${target} is in the registry, so it is not retired.`,
        'Remove its entry first (`clawctl registry remove`), and merge that; or deploy it to replace it.',
      )
    }
    return { allowed: true, scope: { kind: 'instance', id: target } }
  }
  if (target === 'all') {
    if (caller && ids.length > 0 && ids.every((id) => id === caller)) return refuseSelf(caller)
    return { allowed: true, scope: { kind: 'all', except: caller ?? null } }
  }
  if (registry && !findEntry(registry, target)) {
    return refuse('UNKNOWN_TARGET', `There is no instance ${quote(target)} in the registry.`, didYouMean())
  }
  return { allowed: true, scope: { kind: 'instance', id: target } }
}

/** @throws ClawctlError with the code of the refusal */
export function allowDeploy(question: DeployQuestion): Extract<DeployVerdict, { allowed: true }>['scope'] {
  const verdict = decideDeploy(question)
  if (verdict.allowed) return verdict.scope
  throw refused(verdict)
}

/** The ids of `all` or of one instance, for work that no caller asks for. @throws ClawctlError INVALID_TARGET, UNKNOWN_TARGET */
export function targetIds(target: string, registry: Registry): string[] {
  const scope = allowDeploy({ target, registry, identity: identityOnDirectPlane({}) })
  return scope.kind === 'all' ? registry.map(({ id }) => id) : [scope.id]
}

export const refused = ({ code, message, hint }: Refusal) => new ClawctlError(code, message, { hint })

const refuseSelf = (caller: string) =>
  refuse(
    'SELF_DEPLOY',
    `${caller} may not deploy itself: it would be destroyed before it could report the outcome.`,
    'Request it from another instance, or from a laptop.',
  )

/** Why caller or requester are not valid, or null. */
export function refuseAsker({ caller, requestedBy, registry }: Omit<DeployQuestion, 'target'>): Refusal | null {
  if (caller && registry && !findEntry(registry, caller)) {
    return refuse(
      'UNKNOWN_CALLER',
      `The caller ${quote(caller)} is not an instance of the registry.`,
      'On a host, check /etc/clawdinator/instance-name; on a laptop, unset CLAWDINATOR_INSTANCE_NAME.',
    )
  }
  const ids = [...(registry?.map(({ id }) => id) ?? []), ...(caller ? [caller] : [])]
  const name = requestedBy?.trim()
  if (name && !isPersonName(name, ids)) {
    return refuse(
      'INVALID_REQUEST',
      `${quote(name)} can't be the name of a person.`,
      'Pass the name of the requester, or none.',
    )
  }
  return null
}

/** What only a person may request here, as in "only a person may ask …", or null. */
export function personNeeded(question: DeployQuestion): string | null {
  const { target, retire, amiOverride, strategy, configRevision } = question
  if (retire) return 'to retire an instance'
  if (target === 'all') return 'to deploy the whole fleet'
  if (amiOverride) return 'to choose the AMI'
  if (strategy) return 'to choose the strategy'
  return configRevision === 'newest' ? 'to choose the configuration' : null
}

function refusePerson(question: DeployQuestion): Refusal | null {
  const { target, retire, caller, enrolled = false } = question
  const what = personNeeded(question)
  if (what === null) return null
  const identity = question.identity ?? identityOf({ caller, requestedBy: question.requestedBy?.trim() })
  const refusal = requirePerson(identity, enrolled, what)
  if (refusal?.code !== 'PERSON_REQUIRED' || !caller) return refusal
  if (retire) return { ...refusal, code: 'BOT_RETIRE', message: `${caller} may not retire an instance on its own.` }
  if (target !== 'all') return refusal
  return { ...refusal, code: 'BOT_DEPLOY_ALL', message: `${caller} may not deploy the whole fleet on its own.` }
}

/**
 * @param enrolled whether a person is enrolled
 * @param what as in "only a person may ask …"
 */
export function requirePerson({ person }: Identity, enrolled: boolean, what: string): Refusal | null {
  if (person === 'verified' || (person === 'claimed' && !enrolled)) return null
  if (person === 'none') {
    return refuse(
      'PERSON_REQUIRED',
      `Only a person may ask ${what}, and no person is named.`,
      `If a person asked for it, pass the name with --requested-by NAME${enrolled ? ' and their one-time code with --code' : ''}; otherwise do not request it.`,
    )
  }
  return refuse(
    'CODE_REQUIRED',
    `Only a verified person may ask ${what}, and a name without a code is not verified.`,
    'Pass the code of their authenticator: --requested-by NAME --code 123456.',
  )
}

/** Input is shortened and escaped, so that it can't control a terminal or a chat. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

function list(ids: readonly string[]): string {
  return ids.length > 10 ? `${ids.slice(0, 10).join(', ')} and ${ids.length - 10} more` : ids.join(', ')
}
