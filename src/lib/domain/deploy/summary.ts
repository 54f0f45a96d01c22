import type { Deploy, DeployHost } from '../contract/index.js'
import { escapeMarkdown } from '../markdown.js'
import { describeAsker } from './identity.js'

const OUTCOME_WORDS: Record<DeployHost['outcome'], string> = {
  pending: 'waiting',
  deploying: 'being deployed',
  planned: 'planned, nothing applied',
  created: 'created',
  replaced: 'replaced',
  retired: 'retired',
  failed: '**failed**',
  kept: '**kept**: the candidate did not pass',
  'rolled-back': '**rolled back**',
  skipped: 'not touched',
}

/** Parts of the summary that are not in the record. */
export interface DeployAudit {
  /** The guarded plans, one line per resource. */
  planLines: string[]
  /** Ids that are not in the registry and keep running. */
  orphans: string[]
  /** Ids of the registry that do not run and are not part of the deploy. */
  lost: string[]
}

/** The step summary of the CI job, in GitHub's Markdown: the hosts with outcome and reason, then the guarded plans. */
export function renderDeploySummary(deploy: Deploy, audit: DeployAudit): string {
  const { planLines, orphans, lost } = audit
  const rows = deploy.hosts.map((host) => {
    const took = durationOf(host)
    const cells = [host.id, OUTCOME_WORDS[host.outcome], host.previousAmi, host.ami, host.instanceId, took]
    const reason = host.reason ? escapeMarkdown(oneLine(host.reason)) : null
    return `| ${[...cells, reason].map((cell) => cell ?? '–').join(' | ')} |`
  })
  const target = escapeMarkdown(oneLine(deploy.target))
  const named = (what: string, ids: readonly string[]) =>
    ids.length > 0 ? ['', `${what}: ${escapeMarkdown(ids.join(', '))}.`] : []
  return [
    `### ${deploy.retire ? `Retirement of ${target}` : `Fleet deploy of ${target}`}: ${deploy.status}`,
    '',
    `Request \`${deploy.requestId}\` (requested by ${escapeMarkdown(describeAsker(deploy))}), AMI ${deploy.ami ? `\`${deploy.ami}\`` : 'not known'}.`,
    ...(deploy.error ? ['', `> **${deploy.error.code}**: ${escapeMarkdown(oneLine(deploy.error.message))}`] : []),
    '',
    '| Host | Outcome | AMI before | AMI now | Instance | Took | Reason |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
    ...named('Not in the registry, left running', orphans),
    ...named('Missing, and not part of this deploy', lost),
    ...(planLines.length > 0 ? ['', 'Planned and guarded:', '', ...planLines.map((line) => `- \`${line}\``)] : []),
    '',
  ].join('\n')
}

/** Foreign text must stay in one line. */
const oneLine = (text: string) => text.replace(/\s+/g, ' ')

function durationOf({ startedAt, finishedAt }: DeployHost): string | null {
  const ms = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '')
  return ms >= 0 ? `${Math.round(ms / 1000)} s` : null
}
