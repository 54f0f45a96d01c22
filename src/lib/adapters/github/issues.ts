import * as z from 'zod/mini'
import { ClawctlError } from '../../domain/errors.js'
import { DEPLOY_WORKFLOW } from '../../domain/paths.js'
import type { Issues } from '../../ops/drift/ports.js'
import { createGithubClient, type GithubCredential } from './client.js'
import { parse } from './runs.js'

const issueSchema = z.object({ number: z.number(), html_url: z.string(), body: z.nullish(z.string()) })
const toIssue = ({ number, html_url, body }: z.infer<typeof issueSchema>) => ({
  number,
  url: html_url,
  body: body ?? '',
})

/** The repository's issues through GitHub's REST API. The token needs `issues: write`. */
export function createIssues(
  settings: GithubCredential & { apiUrl: string; owner: string; repo: string; userAgent: string },
): Issues {
  const where = `${settings.owner}/${settings.repo}`
  const notFound = {
    needs: 'issues: write',
    notFound: () =>
      new ClawctlError(
        'DENIED',
        `The repository ${where} does not exist, or the token has no access to its issues (404).`,
        {
          hint: 'Check GITHUB_REPO; the token needs issues: write on it.',
        },
      ),
  }
  const { octokit, call } = createGithubClient({ ...settings, workflow: DEPLOY_WORKFLOW, ref: '' })
  const repository = { owner: settings.owner, repo: settings.repo }

  return {
    async open(label) {
      const { data } = await call('list the issues', { safe: true, ...notFound }, () =>
        octokit.rest.issues.listForRepo({
          ...repository,
          state: 'open',
          labels: label,
          per_page: 100,
        }),
      )
      return parse(z.array(issueSchema), data).map(toIssue)
    },
    async create({ title, body, label }) {
      // A second POST would be a second issue or comment.
      const { data } = await call('open an issue', { safe: false, ...notFound }, () =>
        octokit.rest.issues.create({ ...repository, title, body, labels: [label] }),
      )
      return toIssue(parse(issueSchema, data))
    },
    async update(issue_number, body) {
      await call('update the issue', { safe: true, ...notFound }, () =>
        octokit.rest.issues.update({ ...repository, issue_number, body }),
      )
    },
    async close(issue_number, comment) {
      const issue = { ...repository, issue_number }
      await call('comment on the issue', { safe: false, ...notFound }, () =>
        octokit.rest.issues.createComment({ ...issue, body: comment }),
      )
      await call('close the issue', { safe: true, ...notFound }, () =>
        octokit.rest.issues.update({ ...issue, state: 'closed' }),
      )
    },
  }
}
