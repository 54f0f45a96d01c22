import { createHash } from 'node:crypto'
import type { components } from '@octokit/openapi-types'
import type { GitHub } from './github.js'

/** GitHub's own description of its answers. */
export type Schemas = components['schemas']

/** A constant number for a name. */
function idOf(name: string): number {
  return createHash('sha1').update(name).digest().readUInt32BE(0)
}

/** GitHub's opaque ids: base64 of kind and number. */
export function nodeId(kind: string, id: number): string {
  return Buffer.from(`${kind}:${id}`).toString('base64')
}

export function userShape(github: GitHub, login: string, type = 'User'): Schemas['simple-user'] {
  const url = `${github.apiUrl}/users/${login}`
  return {
    login,
    id: idOf(login),
    node_id: nodeId(type, idOf(login)),
    avatar_url: `${github.apiUrl}/avatars/${login}`,
    gravatar_id: '',
    url,
    html_url: `${github.apiUrl}/${login}`,
    followers_url: `${url}/followers`,
    following_url: `${url}/following{/other_user}`,
    gists_url: `${url}/gists{/gist_id}`,
    starred_url: `${url}/starred{/owner}{/repo}`,
    subscriptions_url: `${url}/subscriptions`,
    organizations_url: `${url}/orgs`,
    repos_url: `${url}/repos`,
    events_url: `${url}/events{/privacy}`,
    received_events_url: `${url}/received_events`,
    type,
    site_admin: false,
  }
}

/** The repository in the answer about a run. */
export function minimalRepositoryShape(github: GitHub): Schemas['minimal-repository'] {
  const [owner = '', name = ''] = github.repository.split('/')
  const url = `${github.apiUrl}/repos/${github.repository}`
  return {
    id: idOf(github.repository),
    node_id: nodeId('Repository', idOf(github.repository)),
    name,
    full_name: github.repository,
    owner: userShape(github, owner, 'Organization'),
    private: false,
    html_url: `${github.apiUrl}/${github.repository}`,
    description: 'Emulated by the sandbox of clawctl',
    fork: false,
    url,
    archive_url: `${url}/{archive_format}{/ref}`,
    assignees_url: `${url}/assignees{/user}`,
    blobs_url: `${url}/git/blobs{/sha}`,
    branches_url: `${url}/branches{/branch}`,
    collaborators_url: `${url}/collaborators{/collaborator}`,
    comments_url: `${url}/comments{/number}`,
    commits_url: `${url}/commits{/sha}`,
    compare_url: `${url}/compare/{base}...{head}`,
    contents_url: `${url}/contents/{+path}`,
    contributors_url: `${url}/contributors`,
    deployments_url: `${url}/deployments`,
    downloads_url: `${url}/downloads`,
    events_url: `${url}/events`,
    forks_url: `${url}/forks`,
    git_commits_url: `${url}/git/commits{/sha}`,
    git_refs_url: `${url}/git/refs{/sha}`,
    git_tags_url: `${url}/git/tags{/sha}`,
    issue_comment_url: `${url}/issues/comments{/number}`,
    issue_events_url: `${url}/issues/events{/number}`,
    issues_url: `${url}/issues{/number}`,
    keys_url: `${url}/keys{/key_id}`,
    labels_url: `${url}/labels{/name}`,
    languages_url: `${url}/languages`,
    merges_url: `${url}/merges`,
    milestones_url: `${url}/milestones{/number}`,
    notifications_url: `${url}/notifications{?since,all,participating}`,
    pulls_url: `${url}/pulls{/number}`,
    releases_url: `${url}/releases{/id}`,
    stargazers_url: `${url}/stargazers`,
    statuses_url: `${url}/statuses/{sha}`,
    subscribers_url: `${url}/subscribers`,
    subscription_url: `${url}/subscription`,
    tags_url: `${url}/tags`,
    teams_url: `${url}/teams`,
    trees_url: `${url}/git/trees{/sha}`,
    hooks_url: `${url}/hooks`,
  }
}

export function repositoryShape(github: GitHub): Schemas['full-repository'] {
  const minimal = minimalRepositoryShape(github)
  const html = minimal.html_url
  return {
    ...minimal,
    git_url: `git://127.0.0.1/${github.repository}.git`,
    ssh_url: `git@127.0.0.1:${github.repository}.git`,
    clone_url: `${html}.git`,
    svn_url: html,
    mirror_url: null,
    homepage: null,
    language: 'TypeScript',
    forks_count: 0,
    stargazers_count: 0,
    watchers_count: 0,
    size: 0,
    default_branch: github.branch,
    open_issues_count: 0,
    has_issues: true,
    has_downloads: false,
    has_projects: false,
    has_wiki: false,
    has_pages: false,
    has_discussions: false,
    archived: false,
    disabled: false,
    pushed_at: github.startedAt,
    created_at: github.startedAt,
    updated_at: github.startedAt,
    permissions: { admin: false, push: true, pull: true },
    subscribers_count: 0,
    network_count: 0,
    license: null,
    forks: 0,
    open_issues: 0,
    watchers: 0,
  } as Schemas['full-repository']
}
