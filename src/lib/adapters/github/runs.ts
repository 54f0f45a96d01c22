import { RequestError } from '@octokit/request-error'
import * as z from 'zod/mini'
import { inputsOf } from '../../domain/contract/order.js'
import type { Job, Run } from '../../domain/deploy/run.js'
import { ClawctlError } from '../../domain/errors.js'
import { REGISTRY_PATH, SITE_PATH, WORKFLOW_FOLDER } from '../../domain/paths.js'
import type { RunLookup } from '../../ops/deploy/ports.js'
import type { RegistrySource, Runs } from '../../ops/ports.js'
import type { GithubInspection } from '../../ops/preflight/ports.js'
import { createGithubClient, type GithubClient, type GithubSettings } from './client.js'

export type { GithubSettings } from './client.js'

const runSchema = z.object({
  id: z.number(),
  html_url: z.string(),
  display_title: z.string(),
  run_attempt: z.optional(z.number()),
  status: z.string(),
  conclusion: z.nullable(z.string()),
  created_at: z.string(),
  run_started_at: z.nullish(z.string()),
  updated_at: z.string(),
})
const runsSchema = z.object({ workflow_runs: z.array(runSchema) })
const jobsSchema = z.object({
  jobs: z.array(
    z.object({
      name: z.string(),
      steps: z.optional(
        z.array(
          z.object({
            name: z.string(),
            status: z.string(),
            conclusion: z.nullable(z.string()),
          }),
        ),
      ),
    }),
  ),
})
const dispatchSchema = z.object({ workflow_run_id: z.number(), html_url: z.string() })

/** The deploy workflow's runs, the registry at the deployed ref, and the facts for preflight, through GitHub's REST API. */
export function createGithub(
  settings: GithubSettings,
): Runs & RunLookup & { registry: RegistrySource; inspection: GithubInspection } {
  const client = createGithubClient(settings)
  const { octokit, call } = client
  const repository = { owner: settings.owner, repo: settings.repo }
  const workflow = { ...repository, workflow_id: settings.workflow }

  return {
    async dispatch(request) {
      const response = await call('start the workflow', { safe: false }, () =>
        octokit.request('POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches', {
          ...workflow,
          ref: settings.ref,
          inputs: inputsOf(request),
          return_run_details: true,
        }),
      )
      const details = dispatchSchema.safeParse(response.data)
      return details.success ? { id: details.data.workflow_run_id, url: details.data.html_url } : null
    },
    async list(limit, before) {
      const response = await call("list the workflow's runs", SAFE, () =>
        octokit.rest.actions.listWorkflowRuns({
          ...workflow,
          per_page: limit,
          ...(before ? { created: `<=${before.toISOString().slice(0, 19)}Z` } : {}),
        }),
      )
      return parse(runsSchema, response.data).workflow_runs.map(runOf)
    },
    async find(runId) {
      const missing = new ClawctlError('NOT_FOUND', `GitHub does not know a run ${runId}.`)
      try {
        const response = await call('read a run', { safe: true, notFound: () => missing }, () =>
          octokit.rest.actions.getWorkflowRun({ ...repository, run_id: runId }),
        )
        return runOf(parse(runSchema, response.data))
      } catch (error) {
        if (error === missing) return null
        throw error
      }
    },
    async jobs(runId) {
      const response = await call("read the run's jobs", SAFE, () =>
        octokit.rest.actions.listJobsForWorkflowRun({
          ...repository,
          run_id: runId,
          per_page: 100,
        }),
      )
      return parse(jobsSchema, response.data).jobs.map(
        (job): Job => ({
          name: job.name,
          steps: (job.steps ?? []).map((step) => ({ ...step, status: statusOf(step.status) })),
        }),
      )
    },
    async cancel(runId) {
      await call('cancel the run', SAFE, () =>
        octokit.rest.actions.cancelWorkflowRun({ ...repository, run_id: runId }).catch((error) => {
          // The run is over already.
          if (!(error instanceof RequestError) || error.status !== 409) throw error
        }),
      )
    },
    registry: {
      async read() {
        const origin = `${settings.owner}/${settings.repo}@${settings.ref}:${REGISTRY_PATH}`
        const notFound = (error: RequestError) =>
          /no commit found for the ref/i.test(error.message)
            ? new ClawctlError('REGISTRY_NOT_FOUND', `There is no ${origin}: the repository has no such ref.`, {
                hint: 'Check GITHUB_REF.',
              })
            : new ClawctlError(
                'REGISTRY_NOT_FOUND',
                `There is no ${origin}, or the GitHub token has no access to it.`,
                {
                  hint: 'Check GITHUB_REPO and GITHUB_REF; the token needs contents: read.',
                },
              )
        return { text: await readFile(client, settings, REGISTRY_PATH, notFound), origin }
      },
    },
    inspection: inspectionOf(client, settings),
  }
}

const SAFE = { safe: true } as const

const runOf = (run: z.infer<typeof runSchema>): Run => ({
  id: run.id,
  url: run.html_url,
  title: run.display_title,
  ...(run.run_attempt ? { attempt: run.run_attempt } : {}),
  status: statusOf(run.status),
  conclusion: run.conclusion,
  createdAt: run.created_at,
  startedAt: run.run_started_at ?? null,
  updatedAt: run.updated_at,
})

/** A file at the deployed ref. */
async function readFile(
  { octokit, call }: GithubClient,
  { owner, repo, ref }: GithubSettings,
  path: string,
  notFound: (error: RequestError) => ClawctlError,
): Promise<string> {
  const response = await call(`read ${path}`, { safe: true, notFound }, () =>
    octokit.rest.repos.getContent({
      owner,
      repo,
      path,
      ref,
      mediaType: { format: 'raw' },
    }),
  )
  return String(response.data)
}

const repositorySchema = z.object({
  full_name: z.string(),
  private: z.boolean(),
  archived: z.optional(z.boolean()),
  permissions: z.optional(z.object({ push: z.optional(z.boolean()) })),
})
const workflowSchema = z.object({ state: z.string() })

function inspectionOf(client: GithubClient, settings: GithubSettings): GithubInspection {
  const { octokit, call } = client
  const { owner, repo } = settings
  const missing = new ClawctlError('NOT_FOUND', 'There is no such file.')
  const notFound = () => missing
  const orNull = (error: unknown) => {
    if (error === missing) return null
    throw error
  }
  return {
    async repository() {
      const response = await call('read the repository', SAFE, () => octokit.rest.repos.get({ owner, repo }))
      const { full_name, archived, permissions, ...rest } = parse(repositorySchema, response.data)
      const minted = await settings.app?.minted()
      const scopes = response.headers['x-oauth-scopes']
      const expires = Date.parse(String(response.headers['github-authentication-token-expiration'] ?? ''))
      return {
        name: full_name,
        private: rest.private,
        archived: archived ?? false,
        push: permissions?.push ?? null,
        credential: {
          kind: minted ? 'app' : kindOf(await settings.token()),
          expiresAt: minted?.expiresAt ?? (Number.isNaN(expires) ? null : new Date(expires).toISOString()),
          scopes:
            scopes === undefined
              ? null
              : scopes
                  .split(',')
                  .map((scope) => scope.trim())
                  .filter(Boolean),
          permissions: minted?.permissions ?? null,
        },
      }
    },
    site: () => readFile(client, settings, SITE_PATH, notFound).catch(orNull),
    async workflow() {
      const file = settings.workflow
      const [listed, text] = await Promise.all([
        call('read the workflow', { safe: true, notFound }, () =>
          octokit.rest.actions.getWorkflow({
            owner,
            repo,
            workflow_id: file,
          }),
        ).catch(orNull),
        readFile(client, settings, `${WORKFLOW_FOLDER}/${file}`, notFound).catch(orNull),
      ])
      return listed && { file, ref: settings.ref, state: parse(workflowSchema, listed.data).state, text }
    },
  }
}

/** https://github.blog/engineering/behind-githubs-new-authentication-token-formats/ */
function kindOf(token: string): 'fine-grained' | 'classic' | 'other' {
  if (token.startsWith('github_pat_')) return 'fine-grained'
  return token.startsWith('ghp_') ? 'classic' : 'other'
}

/** GitHub has more states of waiting (`pending`, `waiting`, `requested`) and may add others. */
function statusOf(status: string): 'queued' | 'in_progress' | 'completed' {
  return status === 'completed' || status === 'in_progress' ? status : 'queued'
}

export function parse<T>(schema: z.ZodMiniType<T>, data: unknown): T {
  const parsed = schema.safeParse(data)
  if (parsed.success) return parsed.data
  throw new ClawctlError('UPSTREAM', 'GitHub answered in an unknown form.')
}
