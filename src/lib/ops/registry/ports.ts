import type { AcceptedPlan, FleetFiles } from '../../domain/registry/plan.js'

/** Where the fleet's files lie: a checkout on disk, or a branch on GitHub. */
export interface FleetSource {
  /** @param id whose host file is read with the registry. @throws ClawctlError REGISTRY_NOT_FOUND */
  read(id: string): Promise<FleetFiles>
}

export interface Checkout extends FleetSource {
  /**
   * Reads, asks `plan`, and writes its changes in their order, each file as a whole, while no other clawctl does.
   * @throws ClawctlError REGISTRY_NOT_FOUND, REGISTRY_LOCKED, NOT_WRITABLE, and what `plan` throws
   */
  edit(id: string, plan: (files: FleetFiles) => AcceptedPlan): Promise<AcceptedPlan>
  /** Names in nix/hosts, without `.nix`; empty where the folder is not there. */
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

/** One repository on GitHub, as far as a pull request needs it. Every method rejects with ClawctlError as ports.ts says. */
export interface Repository {
  /** `owner/name` */
  name: string
  defaultBranch(): Promise<string>
  /** The commit that the branch is at, or null where there is no such branch. */
  branch(name: string): Promise<Commit | null>
  /** A file's text at a commit, or null. */
  file(path: string, commit: string): Promise<string | null>
  /** The tree of `base` with these files changed (null removes one); its digest. */
  createTree(base: string, files: readonly { path: string; text: string | null }[]): Promise<string>
  createCommit(commit: Omit<Commit, 'sha'>): Promise<string>
  /** False where a branch of that name is there. */
  createBranch(name: string, commit: string): Promise<boolean>
  /** Points the branch elsewhere, whatever it was at. */
  moveBranch(name: string, commit: string): Promise<void>
  openPull(branch: string, base: string): Promise<Pull | null>
  /** Null where one from this branch is open. */
  createPull(pull: { title: string; body: string; branch: string; base: string }): Promise<Pull | null>
  updatePull(number: number, text: { title: string; body: string }): Promise<Pull>
}
