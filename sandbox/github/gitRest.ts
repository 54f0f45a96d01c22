import * as z from 'zod/mini'
import type { Reply } from '../http.js'
import type { GitHub } from './github.js'
import { gitCommitShape, gitRefShape, gitTreeShape } from './gitShapes.js'
import { bodyOf, type Call, json, notFound, problem, type Route } from './reply.js'

/** The part of GitHub's git data API that a change of files needs. */
export const GIT_ROUTES: Route[] = [
  { method: 'GET', pattern: /^git\/ref\/(.+)$/, needs: ['contents', 'read'], handle: getRef },
  { method: 'POST', pattern: /^git\/refs$/, needs: ['contents', 'write'], handle: createRef },
  { method: 'PATCH', pattern: /^git\/refs\/(.+)$/, needs: ['contents', 'write'], handle: updateRef },
  { method: 'DELETE', pattern: /^git\/refs\/(.+)$/, needs: ['contents', 'write'], handle: deleteRef },
  { method: 'GET', pattern: /^git\/commits\/([0-9a-f]+)$/, needs: ['contents', 'read'], handle: getCommit },
  { method: 'POST', pattern: /^git\/commits$/, needs: ['contents', 'write'], handle: createCommit },
  { method: 'POST', pattern: /^git\/trees$/, needs: ['contents', 'write'], handle: createTree },
]

const SHA = z.string().check(z.regex(/^[0-9a-f]{40}$/))
const newRefSchema = z.object({ ref: z.string(), sha: SHA })
const moveSchema = z.object({ sha: SHA, force: z.optional(z.boolean()) })
const commitSchema = z.object({ message: z.string(), tree: SHA, parents: z.optional(z.array(SHA)) })
const treeSchema = z.object({
  base_tree: z.optional(SHA),
  tree: z.array(
    z.object({
      path: z.string(),
      mode: z.enum(['100644', '100755', '040000', '160000', '120000']),
      type: z.enum(['blob', 'tree', 'commit']),
      sha: z.optional(z.nullable(SHA)),
      content: z.optional(z.string()),
    }),
  ),
})

const branchIn = (ref: string) => /^(?:refs\/)?heads\/(.+)$/.exec(ref)?.[1] ?? null

function getRef({ github, args }: Call): Reply {
  const branch = branchIn(args[0] ?? '')
  const sha = branch && github.git.branch(branch)
  return branch && sha ? json(200, gitRefShape(github, branch, sha)) : notFound()
}

function createRef(call: Call): Reply {
  const { github } = call
  const body = bodyOf(call, newRefSchema)
  if (!body.ok) return body.reply
  const { ref, sha } = body.data
  const branch = ref.startsWith('refs/') ? branchIn(ref) : null
  if (!branch) return problem(422, "Reference name must start with 'refs/' and name a branch here.")
  if (github.git.branch(branch)) return problem(422, 'Reference already exists')
  if (!github.git.commit(sha)) return problem(422, 'Object does not exist')
  github.git.setBranch(branch, sha)
  return json(201, gitRefShape(github, branch, sha))
}

function updateRef(call: Call): Reply {
  const { github, args } = call
  const body = bodyOf(call, moveSchema)
  if (!body.ok) return body.reply
  const { sha, force } = body.data
  const branch = branchIn(args[0] ?? '')
  const at = branch && github.git.branch(branch)
  if (!branch || !at) return problem(422, 'Reference does not exist')
  if (!github.git.commit(sha)) return problem(422, 'Object does not exist')
  // The default branch is the working tree and can't be moved.
  if (branch === github.branch) return problem(403, 'Resource not accessible by integration')
  if (!force && !github.git.isFastForward(at, sha)) return problem(422, 'Update is not a fast forward')
  github.git.setBranch(branch, sha)
  return json(200, gitRefShape(github, branch, sha))
}

function deleteRef({ github, args }: Call): Reply {
  const branch = branchIn(args[0] ?? '')
  if (!branch || !github.git.branch(branch)) return problem(422, 'Reference does not exist')
  if (branch === github.branch) return problem(422, 'Cannot delete the default branch')
  github.git.deleteBranch(branch)
  return { status: 204 }
}

function getCommit({ github, args }: Call): Reply {
  const commit = github.git.commit(args[0] ?? '')
  return commit ? json(200, gitCommitShape(github, commit)) : notFound()
}

function createCommit(call: Call): Reply {
  const { github } = call
  const body = bodyOf(call, commitSchema)
  if (!body.ok) return body.reply
  const { message, tree, parents = [] } = body.data
  if (!github.git.hasTree(tree)) return problem(422, 'Tree SHA does not exist')
  if (!parents.every((sha) => github.git.commit(sha)))
    return problem(422, 'Parent SHA does not exist or is not a commit object')
  return json(201, gitCommitShape(github, github.git.addCommit(tree, parents, message)))
}

async function createTree(call: Call): Promise<Reply> {
  const { github } = call
  const body = bodyOf(call, treeSchema)
  if (!body.ok) return body.reply
  const { base_tree, tree } = body.data
  if (base_tree === undefined || !github.git.hasTree(base_tree)) return problem(404, 'Not Found')
  const files = new Map<string, Buffer | null>()
  for (const { path, content, sha } of tree) {
    const bad = await badEntry(github, base_tree, { path, content, sha })
    if (bad) return problem(422, bad)
    files.set(path, content === undefined ? null : Buffer.from(content))
  }
  return json(201, gitTreeShape(github, github.git.addTree(base_tree, files), tree))
}

async function badEntry(
  github: GitHub,
  base: string,
  entry: { path: string; content: string | undefined; sha: string | null | undefined },
): Promise<string | null> {
  const { path, content, sha } = entry
  if (path.split('/').some((part) => ['', '.', '..', '.git'].includes(part))) {
    return 'tree.path contains a malformed path component'
  }
  if (content !== undefined) return sha === undefined ? null : 'Only one of sha or content may be given.'
  if (sha === null) return (await github.git.treeHas(base, path)) ? null : 'GitRPC::BadObjectState'
  return `tree.sha ${sha ?? ''} is not a valid blob`
}
