import type { Deploy } from '../contract/index.js'
import { withoutSecrets } from './console.js'
import { describeAsker } from './identity.js'

/** Discord takes 2,000 characters a message, Telegram 4,096. */
const LONGEST_TEXT = 1_900

/** What a webhook understands: by its address. */
export type WebhookKind = 'discord' | 'telegram' | 'json'

/** Null for what is no https address; plain http only to this machine, for the sandbox and for tests. */
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
  kept: 'failed; the machine that ran before still serves',
  'timed-out': 'timed out',
}

/** The end of a deploy in a few lines: outcome, hosts, reason, who asked, link. */
export function announcementText(deploy: Deploy): string {
  const what = deploy.retire ? 'Retirement' : 'Deploy'
  const ami = deploy.ami ? ` with ${deploy.ami}` : ''
  const lines = [
    `${what} of ${deploy.target}${ami}: ${ENDS[deploy.status] ?? deploy.status}`,
    ...deploy.hosts.map(({ id, outcome, reason }) => `${id}: ${outcome}${reason ? ` (${reason})` : ''}`),
    ...(deploy.error ? [`${deploy.error.message} (${deploy.error.code})`] : []),
    `asked by ${describeAsker(deploy)}, request ${deploy.requestId}`,
  ]
  const text = withoutSecrets(lines.join('\n')).slice(0, LONGEST_TEXT)
  return deploy.runUrl ? `${text}\n${deploy.runUrl}` : text
}

/**
 * The body that a webhook is sent. What people and hosts wrote mentions nobody and is no markup.
 * @param deploy one that is over
 */
export function announcementBody(kind: WebhookKind, deploy: Deploy): object {
  const text = announcementText(deploy)
  if (kind === 'discord') return { content: text, allowed_mentions: { parse: [] } }
  // The address names the chat: …/sendMessage?chat_id=…
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
