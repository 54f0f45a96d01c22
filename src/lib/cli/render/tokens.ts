import { rotateCommand } from '../../domain/controlSecrets.js'
import { BUNDLE_WORKFLOW } from '../../domain/paths.js'
import type { TokenChange, TokenRow } from '../../ops/tokens/tokens.js'
import { table } from '../text.js'

/** The accepted tokens, and the next step. */
export function renderTokenChange(change: TokenChange): string {
  const { id, scope, accepted, written } = change
  if (accepted === 0) return `Within five minutes no token of ${id} is accepted any more.`
  const lines = written === null ? [] : [`The new token of ${id} is in ${written}.`]
  lines.push(`The Control API accepts ${accepted === 1 ? 'one token' : 'both tokens'} of ${id} within five minutes.`)
  if (written !== null && scope === 'deploy') {
    lines.push(`Commit the file, then: gh workflow run ${BUNDLE_WORKFLOW} -f target=${id}`)
  }
  if (accepted > 1) lines.push(`When ${id} uses the new one: ${rotateCommand(change)} --end`)
  return lines.join('\n')
}

export function renderTokens(tokens: readonly TokenRow[]): string {
  const rows = tokens.map(({ id, scope, digests }) => [id, scope, digests.join(', ') || 'none: uses the shared token'])
  return table(['ID', 'SCOPE', 'TOKENS (SHA-256)'], rows)
}
