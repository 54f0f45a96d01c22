import { ID_PATTERN } from '../../domain/contract/patterns.js'
import { ClawctlError, type Code } from '../../domain/errors.js'
import { REGISTRY_PATH } from '../../domain/paths.js'
import { hostFilePath } from '../../domain/registry/hostFile.js'
import type { AcceptedPlan, FleetFiles } from '../../domain/registry/plan.js'
import {
  branchOf,
  commitMessage,
  decideBranch,
  describes,
  type Proposer,
  pullRequestBody,
  titleOf,
} from '../../domain/registry/pullRequest.js'
import type { RegistryEntry } from '../../domain/registry/registry.js'
import type { Step } from '../../domain/registry/steps.js'
import { type AskedEdit, type EditResult, idOf, planEdit, resultOf } from './editRegistry.js'
import type { Commit, Pull, Repository } from './ports.js'

type Changing = Extract<AcceptedPlan, { kind: 'change' }>

export interface ProposedPull {
  number: number
  url: string
  branch: string
  base: string
  status: 'created' | 'updated' | 'unchanged'
}

export interface ProposeOptions {
  /** The branch to merge into; null for the repository's default branch. */
  base: string | null
  dryRun: boolean
  asker: Proposer
  /** The steps that the pull request's text lists. */
  steps(entry: EditResult['instance']): Promise<readonly Step[]>
}

/**
 * Proposes an edit as a pull request: one commit on the edit's own branch, based on the registry of the base branch.
 * Run again, it finds the same branch and pull request, and updates both if the base has
 * moved or the values differ.
 * @throws ClawctlError what planEdit throws, REGISTRY_CONFLICT if others have committed to the branch,
 *   NOT_CONFIGURED without the base branch
 */
export async function proposeEdit(
  asked: AskedEdit,
  options: ProposeOptions,
  repository: Repository,
): Promise<EditResult & { pullRequest: ProposedPull | null }> {
  const id = idOf(asked)
  const base = options.base ?? (await repository.defaultBranch())
  const baseHead = await repository.branch(base)
  if (!baseHead) {
    throw new ClawctlError('NOT_CONFIGURED', `${repository.name} has no branch ${JSON.stringify(base)}.`, {
      hint: 'Set GITHUB_REF to the branch that deploys use, or unset it to take the default branch.',
    })
  }
  const plan = planEdit(asked, await filesAt(repository, baseHead.sha, id, base))
  if (plan.kind === 'nothing') return { ...resultOf(plan, 'unchanged'), pullRequest: null }
  if (options.dryRun) return { ...resultOf(plan, 'planned'), pullRequest: null }

  const branch = branchOf(asked.kind, id)
  const moved = await pushBranch({ asked, plan, branch, base: baseHead }, repository)
  const text = {
    title: titleOf(asked.kind, id),
    body: pullRequestBody(asked.kind, plan.entry, plan.changes, await options.steps(plan.entry), options.asker),
  }
  const [pull, status] = await openOrRenew({ branch, base, moved, entry: plan.entry, ...text }, repository)
  return {
    ...resultOf(plan, 'proposed'),
    pullRequest: { number: pull.number, url: pull.url, branch, base, status },
  }
}

async function filesAt(repository: Repository, commit: string, id: string, at: string): Promise<FleetFiles> {
  const origin = `${repository.name}@${at}:${REGISTRY_PATH}`
  const [text, hostFile] = await Promise.all([
    repository.file(REGISTRY_PATH, commit),
    ID_PATTERN.test(id) ? repository.file(hostFilePath(id), commit) : null,
  ])
  if (text === null) {
    throw new ClawctlError('REGISTRY_NOT_FOUND', `There is no ${origin}.`, {
      hint: 'Check GITHUB_REPO and GITHUB_REF.',
    })
  }
  return { registry: { text, origin }, hostFile }
}

interface Push {
  asked: AskedEdit
  plan: Changing
  branch: string
  base: Commit
}

/** Makes or moves the branch so that it holds the edit. True if it had to. @throws ClawctlError REGISTRY_CONFLICT */
async function pushBranch(push: Push, repository: Repository, again = true): Promise<boolean> {
  const { asked, plan, branch, base } = push
  const head = await repository.branch(branch)
  const verdict = decideBranch(head, { base: base.sha, done: head !== null && (await isDone(push, head, repository)) })
  if (verdict === 'keep') return false
  if (verdict === 'refuse') {
    throw new ClawctlError(
      'REGISTRY_CONFLICT',
      `${repository.name} has a branch ${branch} with commits of others and other values.`,
      { hint: `Merge or close its pull request, or delete the branch: git push origin --delete ${branch}` },
    )
  }
  const files = plan.changes.map(({ path, after }) => ({ path, text: after }))
  const tree = await repository.createTree(base.tree, files)
  const message = commitMessage(asked.kind, plan.entry, tree)
  const commit = await repository.createCommit({ message, tree, parents: [base.sha] })
  if (verdict === 'replace') await repository.moveBranch(branch, commit)
  else if (!(await repository.createBranch(branch, commit))) {
    // Created meanwhile, perhaps by our own request whose answer was lost: check once more.
    if (again) return pushBranch(push, repository, false)
    throw new ClawctlError(
      'REGISTRY_CONFLICT',
      `The branch ${branch} was created and deleted by another process meanwhile.`,
      {
        hint: 'Run the command again.',
      },
    )
  }
  return true
}

/** Codes that mean that the branch's registry differs; other codes mean that it could not be read. */
const NOT_SO: readonly Code[] = ['INVALID_REGISTRY', 'REGISTRY_NOT_FOUND', 'REGISTRY_CONFLICT', 'INVALID_REQUEST']

/** Whether the branch already has the requested edit; false if its registry is invalid. */
async function isDone({ asked, plan }: Push, head: Commit, repository: Repository): Promise<boolean> {
  if (asked.kind === 'add') {
    try {
      return planEdit(asked, await filesAt(repository, head.sha, idOf(asked), head.sha)).kind === 'nothing'
    } catch (error) {
      if (error instanceof ClawctlError && NOT_SO.includes(error.code)) return false
      throw error
    }
  }
  const now = await Promise.all(plan.changes.map(({ path }) => repository.file(path, head.sha)))
  return plan.changes.every(({ after }, index) => now[index] === after)
}

async function openOrRenew(
  wanted: { branch: string; base: string; moved: boolean; entry: RegistryEntry; title: string; body: string },
  repository: Repository,
): Promise<[Pull, ProposedPull['status']]> {
  const { branch, base, title, body, moved, entry } = wanted
  const open = await repository.openPull(branch, base)
  if (!open) {
    const created = await repository.createPull({ title, body, branch, base })
    if (created) return [created, 'created']
  }
  const pull = open ?? (await repository.openPull(branch, base))
  if (!pull) {
    throw new ClawctlError('UPSTREAM', `GitHub reports a pull request for ${branch} but does not list it.`, {
      hint: 'Run the command again in a minute.',
    })
  }
  if (describes(pull.body, entry)) return [pull, moved ? 'updated' : 'unchanged']
  return [await repository.updatePull(pull.number, { title, body }), 'updated']
}
