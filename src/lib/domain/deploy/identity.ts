import { IDENTITIES, type IdentityText, type Order, type StoredOrder } from '../contract/order.js'

export type Assurance = 'verified' | 'claimed' | 'none'

/** What is known of the instance and of the person that ask. */
export interface Identity {
  host: Assurance
  person: Assurance
}

export function formatIdentity({ host, person }: Identity): IdentityText {
  const parts = [host !== 'none' && `host ${host}`, person !== 'none' && `person ${person}`].filter(Boolean)
  return IDENTITIES.find((text) => text === parts.join(', ')) ?? 'unknown, shared token'
}

/** What an order that was looked at says of who asks; of any other, whatever it names is claimed. */
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
 * On the direct plane, who names nobody has AWS's credentials or started the run on GitHub, which verified them. What
 * came through the Control API was decided there, and carries its identity.
 */
export function identityOnDirectPlane(order: Pick<Order, 'identity' | 'caller' | 'requestedBy'>): Identity {
  if (order.identity || order.caller || order.requestedBy) return identityOf(order)
  return { host: 'none', person: 'verified' }
}

/** Letters and digits; the fillers that Unicode counts among the letters can't be seen. */
const VISIBLE = /(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{N}]/u
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{White_Space}]/gu

/** Names of people are compared so: whatever a keyboard made of the same letters is one name. */
export const foldName = (name: string) => name.normalize('NFKC').replace(INVISIBLE, '').toLowerCase()

/** @param ids of instances: what bears such a name is no person */
export function isPersonName(name: string, ids: readonly string[]): boolean {
  return VISIBLE.test(name) && !ids.some((id) => foldName(id) === foldName(name))
}

/** Whether two orders come from the same asker; who said nothing is nobody's same. */
export function isSameAsker(a: Asker, b: Asker): boolean {
  if (!a.caller && !a.requestedBy) return false
  return (
    (a.caller ?? null) === (b.caller ?? null) &&
    foldName(a.requestedBy ?? '') === foldName(b.requestedBy ?? '') &&
    formatIdentity(identityOf(a)) === formatIdentity(identityOf(b))
  )
}

/** Who asks, with what is known of them. */
export function nameAsker(asker: Asker): string {
  const { host, person } = identityOf(asker)
  const { caller, requestedBy } = asker
  if (requestedBy) return `${requestedBy} (${person})${caller ? ` via ${caller} (${host})` : ''}`
  return caller ? `${caller} (${host})` : 'unknown (shared token)'
}

/** Who asked for a deploy, for histories and summaries. */
export function describeAsker(deploy: StoredOrder & { runId?: number | null }): string {
  const { caller, requestedBy, requestId } = deploy
  if (caller || requestedBy) return nameAsker(deploy)
  if (/^[0-9]+(?:-r[0-9]+)?$/.test(requestId)) return 'whoever started the run on GitHub'
  return deploy.runId === null ? 'somebody with AWS credentials' : nameAsker(deploy)
}
