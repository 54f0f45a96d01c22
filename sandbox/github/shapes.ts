import { createHash } from 'node:crypto'
import { RUNNER_NAME } from './contexts.js'
import type { GitHub } from './github.js'
import { minimalRepositoryShape, nodeId, type Schemas, userShape } from './repositoryShape.js'
import type { Annotation, JobState, RunState } from './state.js'
import { workflowId } from './workflow.js'

/** The answers of GitHub's REST API, typed by GitHub's own description. */
export function runShape(github: GitHub, run: RunState): Schemas['workflow-run'] {
  const url = `${github.apiUrl}/repos/${github.repository}/actions/runs/${run.id}`
  const actor = userShape(github, github.actor)
  const suite = run.id + 1_000_000
  return {
    id: run.id,
    name: run.workflow.name,
    node_id: nodeId('WorkflowRun', run.id),
    check_suite_id: suite,
    check_suite_node_id: nodeId('CheckSuite', suite),
    head_branch: github.branch,
    head_sha: github.sha,
    path: run.workflow.path,
    display_title: run.displayTitle,
    run_number: run.number,
    run_attempt: 1,
    event: 'workflow_dispatch',
    status: run.status,
    conclusion: run.conclusion,
    workflow_id: run.workflow.id,
    url,
    html_url: runHtmlUrl(github, run),
    pull_requests: [],
    created_at: run.createdAt,
    updated_at: run.updatedAt,
    run_started_at: run.startedAt ?? run.createdAt,
    actor,
    triggering_actor: actor,
    referenced_workflows: [],
    jobs_url: `${url}/jobs`,
    logs_url: `${url}/logs`,
    check_suite_url: `${github.apiUrl}/repos/${github.repository}/check-suites/${suite}`,
    artifacts_url: `${url}/artifacts`,
    cancel_url: `${url}/cancel`,
    rerun_url: `${url}/rerun`,
    previous_attempt_url: null,
    workflow_url: `${github.apiUrl}/repos/${github.repository}/actions/workflows/${run.workflow.id}`,
    head_commit: {
      id: github.sha,
      tree_id: github.sha,
      message: 'The working tree',
      timestamp: github.startedAt,
      author: { name: github.actor, email: `${github.actor}@users.noreply.github.com` },
      committer: { name: github.actor, email: `${github.actor}@users.noreply.github.com` },
    },
    repository: minimalRepositoryShape(github),
    head_repository: minimalRepositoryShape(github),
  }
}

export function runHtmlUrl(github: GitHub, run: RunState): string {
  return `${github.apiUrl}/${github.repository}/actions/runs/${run.id}`
}

export function jobShape(github: GitHub, run: RunState, job: JobState): Schemas['job'] {
  const base = `${github.apiUrl}/repos/${github.repository}`
  const assigned = job.steps.length > 0
  return {
    id: job.id,
    run_id: run.id,
    run_url: `${base}/actions/runs/${run.id}`,
    run_attempt: 1,
    node_id: nodeId('CheckRun', job.id),
    head_sha: github.sha,
    head_branch: github.branch,
    workflow_name: run.workflow.name,
    url: `${base}/actions/jobs/${job.id}`,
    html_url: `${runHtmlUrl(github, run)}/job/${job.id}`,
    status: job.status,
    conclusion: job.conclusion,
    created_at: job.createdAt,
    started_at: job.startedAt ?? job.createdAt,
    completed_at: job.completedAt,
    name: job.name,
    steps: job.steps.map((step) => ({
      name: step.name,
      status: step.status,
      conclusion: step.conclusion,
      number: step.number,
      started_at: step.startedAt,
      completed_at: step.completedAt,
    })),
    check_run_url: `${base}/check-runs/${job.id}`,
    labels: job.labels,
    runner_id: assigned ? 1 : null,
    runner_name: assigned ? RUNNER_NAME : null,
    runner_group_id: assigned ? 1 : null,
    runner_group_name: assigned ? 'Default' : null,
  }
}

export function workflowShape(github: GitHub, path: string, name: string): Schemas['workflow'] {
  const id = workflowId(path)
  const html = `${github.apiUrl}/${github.repository}`
  return {
    id,
    node_id: nodeId('Workflow', id),
    name,
    path,
    state: 'active',
    created_at: github.startedAt,
    updated_at: github.startedAt,
    url: `${github.apiUrl}/repos/${github.repository}/actions/workflows/${id}`,
    html_url: `${html}/blob/${github.branch}/${path}`,
    badge_url: `${html}/workflows/${encodeURIComponent(name)}/badge.svg`,
  }
}

export function annotationShape(github: GitHub, annotation: Annotation): Schemas['check-annotation'] {
  const { path, line, endLine, level, title, message } = annotation
  return {
    path,
    blob_href: `${github.apiUrl}/${github.repository}/blob/${github.sha}/${path}`,
    start_line: line,
    start_column: null,
    end_line: endLine,
    end_column: null,
    annotation_level: level,
    title,
    message,
    raw_details: '',
  }
}

/** Beyond this size the JSON answer of the contents API has no content. */
const MAX_INLINE_BYTES = 1024 * 1024

export function contentShape(github: GitHub, path: string, content: Buffer): Schemas['content-file'] {
  const sha = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
  const base = `${github.apiUrl}/repos/${github.repository}`
  const html = `${github.apiUrl}/${github.repository}`
  const inUrl = path.split('/').map(encodeURIComponent).join('/')
  const self = `${base}/contents/${inUrl}?ref=${github.branch}`
  const inline = content.length <= MAX_INLINE_BYTES
  const lines = content.toString('base64').match(/.{1,60}/g) ?? []
  return {
    type: 'file',
    name: path.split('/').at(-1) ?? path,
    path,
    sha,
    size: content.length,
    url: self,
    html_url: `${html}/blob/${github.branch}/${inUrl}`,
    git_url: `${base}/git/blobs/${sha}`,
    download_url: `${html}/raw/${github.branch}/${inUrl}`,
    content: inline ? lines.map((line) => `${line}\n`).join('') : '',
    encoding: inline ? 'base64' : 'none',
    _links: { self, git: `${base}/git/blobs/${sha}`, html: `${html}/blob/${github.branch}/${inUrl}` },
  }
}
