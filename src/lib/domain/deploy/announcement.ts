import type { Deploy } from '../contract/index.js'
import { withoutSecrets } from './console.js'
import { describeAsker } from './identity.js'

/** Discord allows 2,000 characters in a message, Telegram 4,096. */
const MAX_TEXT = 1_900

/** The format of a webhook, by its address. */
export type WebhookKind = 'discord' | 'telegram' | 'json'

/** Null if it is not an https address; plain http only to this machine, for the sandbox and for tests. */
export function webhookKind(url: string): WebhookKind | null {
  if (!URL.canParse(url)) return null
  const { protocol, hostname, pathname } = new URL(url)
  const isLocal = hostname === '127.0.0.1' || hostname === 'localhost'
  if (protocol !== 'https:' && !(protocol === 'http:' && isLocal)) return null
  if (/^\/api(?:\/v\d+)?\/webhooks\//.test(pathname)) return 'discord'
  if (/^\/bot[^/]+\/sendMessage$/.test(pathname)) return 'telegram'
  return 'json'
}

const ENDS: Partial<Record<Deploy['status'], string>> = {
  'rolled-back': 'rolled back',
  kept: 'failed; the old machine goes on serving',
  'timed-out': 'timed out',
}

/** The outcome of a deploy in a few lines: hosts, reason, requester, link. */
export function announcementText(deploy: Deploy): string {
  const what = deploy.retire ? 'Retirement' : 'Deploy'
  const ami = deploy.ami ? ` with ${deploy.ami}` : ''
  const lines = [
    `${what} of ${deploy.target}${ami}: ${ENDS[deploy.status] ?? deploy.status}`,
    ...deploy.hosts.map(({ id, outcome, reason }) => `${id}: ${outcome}${reason ? ` (${reason})` : ''}`),
    ...(deploy.error ? [`${deploy.error.message} (${deploy.error.code})`] : []),
    `requested by ${describeAsker(deploy)}, request ${deploy.requestId}`,
  ]
  const text = withoutSecrets(lines.join('\n')).slice(0, MAX_TEXT)
  return deploy.runUrl ? `${text}\n${deploy.runUrl}` : text
}

/**
 * The body for a webhook. Text of people and hosts can neither mention a user nor become markup.
 * @param deploy one that is over
 */
export function announcementBody(kind: WebhookKind, deploy: Deploy): object {
  const text = announcementText(deploy)
  if (kind === 'discord') return { content: text, allowed_mentions: { parse: [] } }
  // The chat is in the address: …/sendMessage?chat_id=…
  if (kind === 'telegram') return { text, link_preview_options: { is_disabled: true } }
  const { requestId, target, status, ami, caller, requestedBy, runUrl, finishedAt, hosts, error } = deploy
  const body = {
    event: 'deploy-ended',
    text,
    deploy: {
      ...{ requestId, target, status, ami, caller, requestedBy, runUrl, finishedAt },
      hosts: hosts.map(({ id, outcome, ami, reason = null }) => ({ id, outcome, ami, reason })),
      error: error && { code: error.code, message: error.message },
    },
  }
  return JSON.parse(JSON.stringify(body), (_key, value) => (typeof value === 'string' ? withoutSecrets(value) : value))
}
