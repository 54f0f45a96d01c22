import type { GitHub } from './github.js'
import type { CommitState, PullState } from './gitObjects.js'
import { nodeId, repositoryShape, type Schemas, userShape } from './repositoryShape.js'

const apiOf = (github: GitHub) => `${github.apiUrl}/repos/${github.repository}`
const htmlOf = (github: GitHub) => `${github.apiUrl}/${github.repository}`
const idOf = (sha: string) => Number.parseInt(sha.slice(0, 8), 16)

export function gitRefShape(github: GitHub, branch: string, sha: string): Schemas['git-ref'] {
  const ref = `refs/heads/${branch}`
  return {
    ref,
    node_id: nodeId('Ref', idOf(sha)),
    url: `${apiOf(github)}/git/${ref}`,
    object: { type: 'commit', sha, url: `${apiOf(github)}/git/commits/${sha}` },
  }
}

export function gitCommitShape(github: GitHub, commit: CommitState): Schemas['git-commit'] {
  const { sha, tree, parents, message, at } = commit
  const person = { name: github.actor, email: `${github.actor}@users.noreply.github.com`, date: at }
  return {
    sha,
    node_id: nodeId('Commit', idOf(sha)),
    url: `${apiOf(github)}/git/commits/${sha}`,
    html_url: `${htmlOf(github)}/commit/${sha}`,
    author: person,
    committer: person,
    message,
    tree: { sha: tree, url: `${apiOf(github)}/git/trees/${tree}` },
    parents: parents.map((parent) => ({
      sha: parent,
      url: `${apiOf(github)}/git/commits/${parent}`,
      html_url: `${htmlOf(github)}/commit/${parent}`,
    })),
    verification: { verified: false, reason: 'unsigned', signature: null, payload: null, verified_at: null },
  }
}

export function gitTreeShape(
  github: GitHub,
  sha: string,
  entries: readonly { path: string; mode: string; type: string }[],
): Schemas['git-tree'] {
  return {
    sha,
    url: `${apiOf(github)}/git/trees/${sha}`,
    truncated: false,
    tree: entries.map(({ path, mode, type }) => ({ path, mode, type, sha, url: `${apiOf(github)}/git/blobs/${sha}` })),
  }
}

export function pullSimpleShape(github: GitHub, pull: PullState): Schemas['pull-request-simple'] {
  const self = `${apiOf(github)}/pulls/${pull.number}`
  const issue = `${apiOf(github)}/issues/${pull.number}`
  const html = `${htmlOf(github)}/pull/${pull.number}`
  const [owner = ''] = github.repository.split('/')
  const repo = repositoryShape(github) as unknown as Schemas['repository']
  const side = (ref: string) => ({
    label: `${owner}:${ref}`,
    ref,
    sha: github.git.branch(ref) ?? github.sha,
    user: userShape(github, owner, 'Organization'),
    repo,
  })
  const links = {
    comments: `${issue}/comments`,
    commits: `${self}/commits`,
    statuses: `${apiOf(github)}/statuses/${side(pull.head).sha}`,
    html,
    issue,
    review_comments: `${self}/comments`,
    review_comment: `${apiOf(github)}/pulls/comments{/number}`,
    self,
  }
  const href = (url: string) => ({ href: url })
  return {
    url: self,
    id: pull.number,
    node_id: nodeId('PullRequest', pull.number),
    html_url: html,
    diff_url: `${html}.diff`,
    patch_url: `${html}.patch`,
    issue_url: issue,
    commits_url: links.commits,
    review_comments_url: links.review_comments,
    review_comment_url: links.review_comment,
    comments_url: links.comments,
    statuses_url: links.statuses,
    number: pull.number,
    state: pull.state,
    locked: false,
    title: pull.title,
    user: userShape(github, github.actor),
    body: pull.body,
    labels: [],
    milestone: null,
    created_at: pull.createdAt,
    updated_at: pull.updatedAt,
    closed_at: pull.closedAt,
    merged_at: null,
    merge_commit_sha: null,
    assignee: null,
    assignees: [],
    requested_reviewers: [],
    requested_teams: [],
    head: side(pull.head),
    base: side(pull.base),
    _links: {
      comments: href(links.comments),
      commits: href(links.commits),
      statuses: href(links.statuses),
      html: href(html),
      issue: href(issue),
      review_comments: href(links.review_comments),
      review_comment: href(links.review_comment),
      self: href(self),
    },
    author_association: 'MEMBER',
    auto_merge: null,
    draft: false,
  }
}

export function pullShape(github: GitHub, pull: PullState): Schemas['pull-request'] {
  return {
    ...pullSimpleShape(github, pull),
    merged: false,
    mergeable: true,
    rebaseable: true,
    mergeable_state: 'clean',
    merged_by: null,
    comments: 0,
    review_comments: 0,
    maintainer_can_modify: false,
    commits: 1,
    additions: 0,
    deletions: 0,
    changed_files: 0,
  } as Schemas['pull-request']
}
