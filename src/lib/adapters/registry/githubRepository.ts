import { RequestError } from '@octokit/request-error'
import * as z from 'zod/mini'
import { ClawctlError, withPartial } from '../../domain/errors.js'
import { DEPLOY_WORKFLOW } from '../../domain/paths.js'
import type { Pull, Repository } from '../../ops/registry/ports.js'
import { createGithubClient, type GithubCredential, isPassing } from '../github/client.js'
import { explainGithub, retryAfterMs } from '../github/errors.js'
import { parse } from '../github/runs.js'
import { withRetry } from '../retry.js'

export interface RepositorySettings extends GithubCredential {
  apiUrl: string
  owner: string
  repo: string
  userAgent: string
}

const shaSchema = z.object({ sha: z.string() })
const refSchema = z.object({ object: z.object({ sha: z.string() }) })
const commitSchema = z.object({
  sha: z.string(),
  message: z.string(),
  tree: shaSchema,
  parents: z.array(shaSchema),
})
const pullSchema = z.object({
  number: z.number(),
  html_url: z.string(),
  title: z.string(),
  body: z.nullish(z.string()),
})
const repositorySchema = z.object({ default_branch: z.string() })

/**
 * One repository through GitHub's git data and pull request API. Every call may be repeated: objects are named by
 * their content, and GitHub reports what exists already.
 */
export function createGithubRepository(settings: RepositorySettings): Repository {
  const { octokit } = createGithubClient({ ...settings, workflow: DEPLOY_WORKFLOW, ref: '' })
  const repository = { owner: settings.owner, repo: settings.repo }
  const name = `${settings.owner}/${settings.repo}`
  const pullOf = (data: unknown): Pull => {
    const { number, html_url, title, body } = parse(pullSchema, data)
    return { number, url: html_url, title, body: body ?? '' }
  }

  return {
    name,
    async defaultBranch() {
      const { data } = await call('read the repository', () => octokit.rest.repos.get(repository))
      return parse(repositorySchema, data).default_branch
    },
    async branch(branch) {
      // 409: a repository without a commit.
      const ref = await orNull(
        ({ status }) => status === 404 || status === 409,
        `read the branch ${branch}`,
        () => octokit.rest.git.getRef({ ...repository, ref: `heads/${branch}` }),
      )
      if (!ref) return null
      const commit_sha = parse(refSchema, ref.data).object.sha
      const { data } = await call(`read the commit of ${branch}`, () =>
        octokit.rest.git.getCommit({ ...repository, commit_sha }),
      )
      const { sha, message, tree, parents } = parse(commitSchema, data)
      return { sha, message, tree: tree.sha, parents: parents.map((parent) => parent.sha) }
    },
    async file(path, ref) {
      const response = await orNull(
        ({ status }) => status === 404,
        `read ${path}`,
        () =>
          octokit.rest.repos.getContent({
            ...repository,
            path,
            ref,
            mediaType: { format: 'raw' },
          }),
      )
      return response && String(response.data)
    },
    async createTree(base_tree, files) {
      const tree = files.map(({ path, text }) => ({
        path,
        mode: '100644' as const,
        type: 'blob' as const,
        ...(text === null ? { sha: null } : { content: text }),
      }))
      const { data } = await call('write the files', () =>
        octokit.rest.git.createTree({ ...repository, base_tree, tree }),
      )
      return parse(shaSchema, data).sha
    },
    async createCommit({ message, tree, parents }) {
      const { data } = await call('write the commit', () =>
        octokit.rest.git.createCommit({
          ...repository,
          message,
          tree,
          parents: [...parents],
        }),
      )
      return parse(shaSchema, data).sha
    },
    async createBranch(branch, sha) {
      const response = await orNull(isThere, `make the branch ${branch}`, () =>
        octokit.rest.git.createRef({ ...repository, ref: `refs/heads/${branch}`, sha }),
      )
      return response !== null
    },
    async moveBranch(branch, sha) {
      await call(`move the branch ${branch}`, () =>
        octokit.rest.git.updateRef({
          ...repository,
          ref: `heads/${branch}`,
          sha,
          force: true,
        }),
      )
    },
    async openPull(branch, base) {
      const { data } = await call('list the pull requests', () =>
        octokit.rest.pulls.list({
          ...repository,
          state: 'open',
          head: `${settings.owner}:${branch}`,
          base,
        }),
      )
      const [pull] = parse(z.array(z.unknown()), data)
      return pull === undefined ? null : pullOf(pull)
    },
    async createPull({ title, body, branch, base }) {
      const response = await orNull(isThere, 'open the pull request', () =>
        octokit.rest.pulls.create({ ...repository, title, body, head: branch, base }),
      )
      return response && pullOf(response.data)
    },
    async updatePull(pull_number, text) {
      const { data } = await call('update the pull request', () =>
        octokit.rest.pulls.update({ ...repository, pull_number, ...text }),
      )
      return pullOf(data)
    },
  }

  async function call<T>(what: string, send: () => Promise<T>): Promise<T> {
    try {
      return await withRetry(send, { retryable: isPassing, pauseMs: retryAfterMs })
    } catch (error) {
      throw await explain(error, what, settings)
    }
  }

  async function orNull<T>(
    isNothing: (error: RequestError) => boolean,
    what: string,
    send: () => Promise<T>,
  ): Promise<T | null> {
    return call(what, () =>
      send().catch((error) => {
        if (error instanceof RequestError && isNothing(error)) return null
        throw error
      }),
    )
  }
}

/** Whether GitHub refused because the branch or pull request exists already, not because of a rule of the repository. */
function isThere(error: RequestError): boolean {
  return error.status === 422 && /already exists/i.test(error.message)
}

const NEEDS = 'contents: write and pull_requests: write'

/** The error for a maintainer. GitHub's text is not passed on: it may quote the request. */
async function explain(error: unknown, what: string, settings: RepositorySettings): Promise<ClawctlError> {
  const { owner, repo } = settings
  const status = error instanceof RequestError ? error.status : null
  if (status === 404) {
    return new ClawctlError(
      'DENIED',
      `The repository ${owner}/${repo} does not exist, or the token lacks the permission (404).`,
      {
        hint: `Check GITHUB_REPO; the token needs ${NEEDS} on it.`,
      },
    )
  }
  if (status === 409 || status === 422) {
    return new ClawctlError('DENIED', `GitHub refused to ${what} in ${owner}/${repo} (${status}).`, {
      hint: "Check the repository's rules: they must allow this token to push to registry/* and open pull requests.",
    })
  }
  const explained = await explainGithub(error, {
    what,
    owner,
    repo,
    workflow: DEPLOY_WORKFLOW,
    ref: '',
    isApp: settings.app !== undefined,
    needs: NEEDS,
    repositoryVisible: async () => null,
  })
  return explained.hint === undefined
    ? withPartial(explained, {}, 'Run the command again in a minute: it resumes.')
    : explained
}
