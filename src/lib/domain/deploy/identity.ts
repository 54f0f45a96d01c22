import { IDENTITIES, type IdentityText, type Order, type StoredOrder } from '../contract/order.js'

export type Assurance = 'verified' | 'claimed' | 'none'

/** Whether caller and requester are verified. */
export interface Identity {
  host: Assurance
  person: Assurance
}

export function formatIdentity({ host, person }: Identity): IdentityText {
  const parts = [host !== 'none' && `host ${host}`, person !== 'none' && `person ${person}`].filter(Boolean)
  return IDENTITIES.find((text) => text === parts.join(', ')) ?? 'unknown, shared token'
}

/** The identity in an order; without one, the named caller and requester are only claimed. */
export function identityOf({ identity, caller, requestedBy }: Asker): Identity {
  const assurance = (what: string, given: unknown) =>
    identity === undefined
      ? given
        ? 'claimed'
        : 'none'
      : identity.includes(`${what} verified`)
        ? 'verified'
        : identity.includes(`${what} claimed`)
          ? 'claimed'
          : 'none'
  return { host: assurance('host', caller), person: assurance('person', requestedBy) }
}

interface Asker {
  identity?: IdentityText | undefined
  caller?: string | null | undefined
  requestedBy?: string | null | undefined
}

/**
 * An order on the direct plane without names comes from someone with AWS credentials or with access to the run on GitHub,
 * which counts as verified. An order from the Control API has its identity.
 */
export function identityOnDirectPlane(order: Pick<Order, 'identity' | 'caller' | 'requestedBy'>): Identity {
  if (order.identity || order.caller || order.requestedBy) return identityOf(order)
  return { host: 'none', person: 'verified' }
}

/** Letters and digits, without invisible fillers that Unicode counts as letters. */
const VISIBLE = /(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{N}]/u
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{White_Space}]/gu

/** For comparing names of people: forms of the same letters are equal. */
export const foldName = (name: string) => name.normalize('NFKC').replace(INVISIBLE, '').toLowerCase()

/** @param ids of instances: an id is not a person's name */
export function isPersonName(name: string, ids: readonly string[]): boolean {
  return VISIBLE.test(name) && !ids.some((id) => foldName(id) === foldName(name))
}

/** Whether two orders come from the same requester; never if none is named. */
export function isSameAsker(a: Asker, b: Asker): boolean {
  if (!a.caller && !a.requestedBy) return false
  return (
    (a.caller ?? null) === (b.caller ?? null) &&
    foldName(a.requestedBy ?? '') === foldName(b.requestedBy ?? '') &&
    formatIdentity(identityOf(a)) === formatIdentity(identityOf(b))
  )
}

/** Caller and requester in words, with their assurance. */
export function nameAsker(asker: Asker): string {
  const { host, person } = identityOf(asker)
  const { caller, requestedBy } = asker
  if (requestedBy) return `${requestedBy} (${person})${caller ? ` via ${caller} (${host})` : ''}`
  return caller ? `${caller} (${host})` : 'unknown (shared token)'
}

/** The requester of a deploy, for histories and summaries. */
export function describeAsker(deploy: StoredOrder & { runId?: number | null }): string {
  const { caller, requestedBy, requestId } = deploy
  if (caller || requestedBy) return nameAsker(deploy)
  if (/^[0-9]+(?:-r[0-9]+)?$/.test(requestId)) return 'the person who started the run on GitHub'
  return deploy.runId === null ? 'a person with AWS credentials' : nameAsker(deploy)
}
