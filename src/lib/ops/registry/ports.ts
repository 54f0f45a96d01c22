import type { AcceptedPlan, FleetFiles } from '../../domain/registry/plan.js'

/** The fleet's files: in a checkout on disk, or on a branch on GitHub. */
export interface FleetSource {
  /** @param id whose host file is read with the registry. @throws ClawctlError REGISTRY_NOT_FOUND */
  read(id: string): Promise<FleetFiles>
}

export interface Checkout extends FleetSource {
  /**
   * Reads, calls `plan`, and writes its changes in order, each file atomically, under a lock against other clawctl processes.
   * @throws ClawctlError REGISTRY_NOT_FOUND, REGISTRY_LOCKED, NOT_WRITABLE, and those of `plan`
   */
  edit(id: string, plan: (files: FleetFiles) => AcceptedPlan): Promise<AcceptedPlan>
  /** Names in nix/hosts, without `.nix`; empty if the folder does not exist. */
  hostFiles(): Promise<string[]>
}

export interface Commit {
  sha: string
  tree: string
  parents: readonly string[]
  message: string
}

export interface Pull {
  number: number
  url: string
  title: string
  body: string
}

/** One repository on GitHub, as needed for a pull request. Methods reject as ops/ports.ts describes. */
export interface Repository {
  /** `owner/name` */
  name: string
  defaultBranch(): Promise<string>
  /** The branch's commit, or null if there is no such branch. */
  branch(name: string): Promise<Commit | null>
  /** A file's text at a commit, or null. */
  file(path: string, commit: string): Promise<string | null>
  /** The tree of `base` with these files changed (null removes one); its digest. */
  createTree(base: string, files: readonly { path: string; text: string | null }[]): Promise<string>
  createCommit(commit: Omit<Commit, 'sha'>): Promise<string>
  /** False if a branch of that name exists. */
  createBranch(name: string, commit: string): Promise<boolean>
  /** Moves the branch to another commit, from any current one. */
  moveBranch(name: string, commit: string): Promise<void>
  openPull(branch: string, base: string): Promise<Pull | null>
  /** Null if one from this branch is open. */
  createPull(pull: { title: string; body: string; branch: string; base: string }): Promise<Pull | null>
  updatePull(number: number, text: { title: string; body: string }): Promise<Pull>
}
