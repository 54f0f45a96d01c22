import type { Deploy, DeployHost } from '../contract/index.js'
import { escapeMarkdown } from '../markdown.js'

const OUTCOME_WORDS: Record<DeployHost['outcome'], string> = {
  pending: 'waiting',
  deploying: 'being deployed',
  planned: 'planned, nothing applied',
  created: 'created',
  replaced: 'replaced',
  retired: 'retired',
  failed: '**failed**',
  'rolled-back': '**rolled back**',
  skipped: 'not touched',
}

/** What a run tells beside its record. */
export interface DeployAudit {
  /** The guarded plans, one line a resource. */
  planLines: string[]
  /** Ids that the registry lacks and that are left running. */
  orphans: string[]
}

/** The step summary of the CI job, in GitHub's Markdown: what was done to which host, then the guarded plans. */
export function renderDeploySummary(deploy: Deploy, audit: DeployAudit): string {
  const { planLines, orphans } = audit
  const rows = deploy.hosts.map(
    (host) =>
      `| ${host.id} | ${OUTCOME_WORDS[host.outcome]} | ${host.previousAmi ?? '–'} | ${host.ami ?? '–'} | ${host.instanceId ?? '–'} |`,
  )
  const asked = [deploy.requestedBy && `by ${deploy.requestedBy}`, deploy.caller && `via ${deploy.caller}`]
  return [
    `### ${deploy.retire ? `Retirement of ${deploy.target}` : `Fleet deploy of ${deploy.target}`}: ${deploy.status}`,
    '',
    `Request \`${deploy.requestId}\`${asked.filter(Boolean).length > 0 ? ` (${escapeMarkdown(asked.filter(Boolean).join(', '))})` : ''}, AMI ${deploy.ami ? `\`${deploy.ami}\`` : 'not known'}.`,
    ...(deploy.error ? ['', `> **${deploy.error.code}**: ${escapeMarkdown(deploy.error.message)}`] : []),
    '',
    '| Host | Outcome | AMI before | AMI now | Instance |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    ...(orphans.length > 0 ? ['', `Not in the registry, left running: ${escapeMarkdown(orphans.join(', '))}.`] : []),
    ...(planLines.length > 0 ? ['', 'Planned and guarded:', '', ...planLines.map((line) => `- \`${line}\``)] : []),
    '',
  ].join('\n')
}
