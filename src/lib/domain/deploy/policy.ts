import type { Order } from '../contract/order.js'
import { AMI_PATTERN, ID_PATTERN } from '../contract/patterns.js'
import { ClawctlError, type Code } from '../errors.js'
import { nearest } from '../nearest.js'
import { findEntry, type Registry } from '../registry/registry.js'
import { type Identity, identityOf, isPersonName } from './identity.js'

export interface DeployQuestion {
  target: string
  amiOverride?: string | null | undefined
  strategy?: Order['strategy'] | null | undefined
  configRevision?: Order['configRevision'] | null | undefined
  /** The instance that sends the request, where one does. */
  caller?: string | null | undefined
  /** The person who asked; a caller without one is a bot acting on its own. */
  requestedBy?: string | null | undefined
  /** What is known of both. Absent: what is named is claimed. */
  identity?: Identity | undefined
  /** Whether anybody can be verified as a person: a claimed name opens nothing then. */
  enrolled?: boolean | undefined
  /** Absent where it is not known yet: then the target's existence is left to whoever knows it. */
  registry?: Registry | undefined
  /** Destroy the target instead of deploying it: only what has left the registry. */
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
  /** `except`: the instance that asked, which a deploy of all leaves out. */
  { allowed: true; scope: { kind: 'all'; except: string | null } | { kind: 'instance'; id: string } } | Refusal

const refuse = (code: Refusal['code'], message: string, hint: string): Refusal => ({
  allowed: false,
  code,
  message,
  hint,
})

/**
 * The one policy, asked by the CLI before it sends, by the Control API before it dispatches, and by CI before it plans.
 * Anybody may deploy one instance with the latest AMI, except the instance they ask from. For all of them, for another
 * AMI or strategy, and to retire one, a person has to ask: a verified one as soon as anybody is enrolled. No name lets an
 * instance replace itself: a deploy of all leaves it out. Only what has left the registry is retired, one at a time.
 */
export function decideDeploy(question: DeployQuestion): DeployVerdict {
  const { target, amiOverride, caller, registry } = question
  const ids = registry?.map((entry) => entry.id) ?? []
  const didYouMean = () => {
    // Never `all`: a slip of the finger must not lead to the whole fleet.
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
      return refuse('INVALID_TARGET', '"all" can not be retired.', 'Name the one instance that has left the registry.')
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

export const refused = ({ code, message, hint }: Refusal) => new ClawctlError(code, message, { hint })

const refuseSelf = (caller: string) =>
  refuse(
    'SELF_DEPLOY',
    `${caller} may not deploy itself: it would be gone before it could see the outcome.`,
    'Ask from another instance, or from a laptop.',
  )

/** Why nobody by these names can ask for anything, or null. */
export function refuseAsker({ caller, requestedBy, registry }: Omit<DeployQuestion, 'target'>): Refusal | null {
  if (caller && registry && !findEntry(registry, caller)) {
    return refuse(
      'UNKNOWN_CALLER',
      `There is no instance ${quote(caller)} in the registry that could ask.`,
      'On a host, check /etc/clawdinator/instance-name; on a laptop, unset CLAWDINATOR_INSTANCE_NAME.',
    )
  }
  const ids = [...(registry?.map(({ id }) => id) ?? []), ...(caller ? [caller] : [])]
  const name = requestedBy?.trim()
  if (name && !isPersonName(name, ids)) {
    return refuse(
      'INVALID_REQUEST',
      `${quote(name)} is not the name of a person.`,
      'Pass the name of the person who asked, or none.',
    )
  }
  return null
}

/** Why a person has to ask for this, as in "a person has to ask …", or null where anybody may. */
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
 * @param enrolled whether anybody can be verified
 * @param what as in "a person has to ask …"
 */
export function requirePerson({ person }: Identity, enrolled: boolean, what: string): Refusal | null {
  if (person === 'verified' || (person === 'claimed' && !enrolled)) return null
  if (person === 'none') {
    return refuse(
      'PERSON_REQUIRED',
      `A person has to ask ${what}, and nobody is named.`,
      `If a person asked for it, pass the name with --requested-by NAME${enrolled ? ' and their one-time code with --code' : ''}; else leave it.`,
    )
  }
  return refuse(
    'CODE_REQUIRED',
    `A verified person has to ask ${what}, and the name alone verifies nobody.`,
    'Pass the code that their authenticator shows: --requested-by NAME --code 123456.',
  )
}

/** Long or odd input is shown cut and escaped, so that it can neither flood nor control a terminal or a chat. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

function list(ids: readonly string[]): string {
  return ids.length > 10 ? `${ids.slice(0, 10).join(', ')} and ${ids.length - 10} more` : ids.join(', ')
}
