import type { Value } from './expressions.js'

/** Facts about a run and its repository. */
export interface RunFacts {
  repository: string
  ref: string
  refName: string
  sha: string
  actor: string
  /** Of the emulated REST API and of the emulated site. */
  apiUrl: string
  serverUrl: string
  /** The job's own token. */
  token: string
  runId: number
  runNumber: number
  workflowName: string
  workflowPath: string
  /** The inputs with defaults, all as text. */
  eventInputs: Record<string, string>
  /** Typed: booleans and numbers as such. */
  inputs: Record<string, Value>
  vars: Record<string, string>
  secrets: Record<string, string>
}

/** The folders of a job. */
export interface Places {
  workspace: string
  temp: string
  toolCache: string
  eventPath: string
}

/** The payload of a `workflow_dispatch` event. */
export function eventOf(facts: RunFacts): Record<string, Value> {
  const [owner = '', name = ''] = facts.repository.split('/')
  return {
    inputs: facts.eventInputs,
    ref: facts.ref,
    repository: { full_name: facts.repository, name, owner: { login: owner }, default_branch: facts.refName },
    sender: { login: facts.actor, type: 'User' },
    workflow: facts.workflowPath,
  }
}

/** The `github` context; `more` adds the values of a job. */
export function githubContext(facts: RunFacts, more: Record<string, Value> = {}): Record<string, Value> {
  return {
    actor: facts.actor,
    triggering_actor: facts.actor,
    api_url: facts.apiUrl,
    graphql_url: `${facts.apiUrl}/graphql`,
    server_url: facts.serverUrl,
    base_ref: '',
    head_ref: '',
    event: eventOf(facts),
    event_name: 'workflow_dispatch',
    ref: facts.ref,
    ref_name: facts.refName,
    ref_type: 'branch',
    ref_protected: false,
    repository: facts.repository,
    repository_owner: facts.repository.split('/')[0] ?? '',
    repositoryUrl: `git://github.com/${facts.repository}.git`,
    run_id: String(facts.runId),
    run_number: String(facts.runNumber),
    run_attempt: '1',
    secret_source: 'Actions',
    sha: facts.sha,
    token: facts.token,
    workflow: facts.workflowName,
    workflow_ref: `${facts.repository}/${facts.workflowPath}@${facts.ref}`,
    workflow_sha: facts.sha,
    ...more,
  }
}

/** The contexts that exist before any job runs: `run-name` and `concurrency` see these. */
export function runContexts(facts: RunFacts): Record<string, Value> {
  return { github: githubContext(facts), inputs: facts.inputs, vars: facts.vars }
}

/** GitHub's default environment variables; a step cannot override them, except CI. */
export function defaultVariables(facts: RunFacts, job: string, action: string, places: Places): Record<string, string> {
  return {
    GITHUB_ACTIONS: 'true',
    GITHUB_ACTION: action,
    GITHUB_ACTOR: facts.actor,
    GITHUB_TRIGGERING_ACTOR: facts.actor,
    GITHUB_API_URL: facts.apiUrl,
    GITHUB_GRAPHQL_URL: `${facts.apiUrl}/graphql`,
    GITHUB_SERVER_URL: facts.serverUrl,
    GITHUB_BASE_REF: '',
    GITHUB_HEAD_REF: '',
    GITHUB_EVENT_NAME: 'workflow_dispatch',
    GITHUB_EVENT_PATH: places.eventPath,
    GITHUB_JOB: job,
    GITHUB_REF: facts.ref,
    GITHUB_REF_NAME: facts.refName,
    GITHUB_REF_PROTECTED: 'false',
    GITHUB_REF_TYPE: 'branch',
    GITHUB_REPOSITORY: facts.repository,
    GITHUB_REPOSITORY_OWNER: facts.repository.split('/')[0] ?? '',
    GITHUB_RUN_ATTEMPT: '1',
    GITHUB_RUN_ID: String(facts.runId),
    GITHUB_RUN_NUMBER: String(facts.runNumber),
    GITHUB_SHA: facts.sha,
    GITHUB_WORKFLOW: facts.workflowName,
    GITHUB_WORKFLOW_REF: `${facts.repository}/${facts.workflowPath}@${facts.ref}`,
    GITHUB_WORKFLOW_SHA: facts.sha,
    GITHUB_WORKSPACE: places.workspace,
    RUNNER_ARCH: process.arch === 'arm64' ? 'ARM64' : 'X64',
    RUNNER_ENVIRONMENT: 'github-hosted',
    RUNNER_NAME: RUNNER_NAME,
    RUNNER_OS: process.platform === 'darwin' ? 'macOS' : 'Linux',
    RUNNER_TEMP: places.temp,
    RUNNER_TOOL_CACHE: places.toolCache,
  }
}

export const RUNNER_NAME = 'clawctl sandbox'

export function runnerContext(places: Places): Record<string, Value> {
  return {
    name: RUNNER_NAME,
    os: process.platform === 'darwin' ? 'macOS' : 'Linux',
    arch: process.arch === 'arm64' ? 'ARM64' : 'X64',
    environment: 'github-hosted',
    temp: places.temp,
    tool_cache: places.toolCache,
    debug: '',
  }
}
