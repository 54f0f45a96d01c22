import { AMI_PATTERN, ID_PATTERN } from '../contract/patterns.js'
import type { Code } from '../errors.js'
import { nearest } from '../nearest.js'
import { findEntry, type Registry } from '../registry/registry.js'

export interface DeployQuestion {
  target: string
  amiOverride?: string | null | undefined
  /** The instance that sends the request, where one does. */
  caller?: string | null | undefined
  /** The person who asked; a caller without one is a bot acting on its own. */
  requestedBy?: string | null | undefined
  /** Absent where it is not known yet: then the target's existence is left to whoever knows it. */
  registry?: Registry | undefined
  /** Destroy the target instead of deploying it: only what has left the registry. */
  retire?: boolean | undefined
}

export type DeployVerdict =
  | { allowed: true; scope: { kind: 'all' } | { kind: 'instance'; id: string } }
  | {
      allowed: false
      code: Extract<
        Code,
        | 'INVALID_TARGET'
        | 'INVALID_AMI'
        | 'SELF_DEPLOY'
        | 'BOT_DEPLOY_ALL'
        | 'BOT_RETIRE'
        | 'STILL_REGISTERED'
        | 'UNKNOWN_TARGET'
      >
      message: string
      hint: string
    }

/**
 * The one policy, asked by the CLI before it sends, by the Control API before it dispatches, and by CI before it plans.
 * A person may deploy anything; a bot one instance that is not itself, never `all`; nobody the instance they call from.
 * To retire is for people, one instance at a time, and only what has left the registry: that is the second signature.
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
  const refuse = (code: Extract<DeployVerdict, { allowed: false }>['code'], message: string, hint: string) =>
    ({ allowed: false, code, message, hint }) as const

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
  if (caller && target === caller) {
    return refuse(
      'SELF_DEPLOY',
      `${caller} may not deploy itself: it would be gone before it could see the outcome.`,
      'Ask from another instance, or from a laptop.',
    )
  }
  const human = Boolean(question.requestedBy?.trim())
  if (question.retire) {
    if (target === 'all') {
      return refuse('INVALID_TARGET', '"all" can not be retired.', 'Name the one instance that has left the registry.')
    }
    if (amiOverride) {
      return refuse('INVALID_AMI', `${target} is to be destroyed, so it boots no AMI.`, 'Leave --ami out.')
    }
    if (caller && !human) {
      return refuse(
        'BOT_RETIRE',
        `${caller} may not retire an instance on its own.`,
        'If a person asked for it, pass the name with --requested-by NAME.',
      )
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
    if (caller && !human) {
      return refuse(
        'BOT_DEPLOY_ALL',
        `${caller} may not deploy the whole fleet on its own.`,
        'If a person asked for it, pass the name with --requested-by NAME; else name one instance.',
      )
    }
    return { allowed: true, scope: { kind: 'all' } }
  }
  if (registry && !findEntry(registry, target)) {
    return refuse('UNKNOWN_TARGET', `There is no instance ${quote(target)} in the registry.`, didYouMean())
  }
  return { allowed: true, scope: { kind: 'instance', id: target } }
}

/** Long or odd input is shown cut and escaped, so that it can neither flood nor control a terminal or a chat. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

function list(ids: readonly string[]): string {
  return ids.length > 10 ? `${ids.slice(0, 10).join(', ')} and ${ids.length - 10} more` : ids.join(', ')
}
