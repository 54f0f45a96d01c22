import type { Clock, Compute, ObjectStore, RegistrySource } from '../ports.js'

/** The credential that GitHub is asked with, as far as GitHub tells it. */
export interface GithubCredentialView {
  kind: 'app' | 'fine-grained' | 'classic' | 'other'
  /** ISO time, or null where it does not expire or GitHub does not say. */
  expiresAt: string | null
  /** A classic token's scopes. */
  scopes: readonly string[] | null
  /** What the installation was granted, by permission. */
  permissions: Readonly<Record<string, string>> | null
}

export interface GithubRepositoryView {
  name: string
  private: boolean
  archived: boolean
  /** Whether whoever owns the token may push; null where GitHub does not say. */
  push: boolean | null
  credential: GithubCredentialView
}

/** What a preflight looks at on GitHub. Nothing here changes anything. */
export interface GithubInspection {
  repository(): Promise<GithubRepositoryView>
  /** nix/site.nix at the deployed ref, or null where there is none. */
  site(): Promise<string | null>
  /** The deploy workflow with its file at the deployed ref, or null where there is none. */
  workflow(): Promise<{ file: string; ref: string; state: string; text: string | null } | null>
}

export interface ServerPreflightPorts {
  github: GithubInspection
  registry: RegistrySource
  compute: Compute
  /** Null where no bucket is configured. */
  store: ObjectStore | null
  clock: Clock
  /** How the Control API's own tokens are set; null where that can't be seen, as from CI. */
  controlTokens: { previous: boolean; callers: readonly string[] } | null
  /** What the Control API asks GitHub as: an App's id, or null for a token; undefined where that can't be seen. */
  appId?: string | null
  /** Of the stored secrets: why the newest object does not serve, or null; absent where none is named, or from CI. */
  secrets?: { readAt: number; problem: string | null } | null
}
