import type { Clock, Compute, ObjectStore, RegistrySource } from '../ports.js'

/** The GitHub credential, as far as GitHub shows it. */
export interface GithubCredentialView {
  kind: 'app' | 'fine-grained' | 'classic' | 'other'
  /** ISO time, or null if it does not expire or GitHub does not show it. */
  expiresAt: string | null
  /** A classic token's scopes. */
  scopes: readonly string[] | null
  /** The installation's permissions with their levels. */
  permissions: Readonly<Record<string, string>> | null
}

export interface GithubRepositoryView {
  name: string
  private: boolean
  archived: boolean
  /** Whether the token's owner may push; null if GitHub does not show it. */
  push: boolean | null
  credential: GithubCredentialView
}

/** What a preflight reads on GitHub. No method changes anything. */
export interface GithubInspection {
  repository(): Promise<GithubRepositoryView>
  /** nix/site.nix at the deployed ref, or null if there is none. */
  site(): Promise<string | null>
  /** The deploy workflow with its file at the deployed ref, or null if there is none. */
  workflow(): Promise<{ file: string; ref: string; state: string; text: string | null } | null>
}

export interface ServerPreflightPorts {
  github: GithubInspection
  registry: RegistrySource
  compute: Compute
  /** Null if no bucket is configured. */
  store: ObjectStore | null
  clock: Clock
  /** The Control API's own tokens; null in CI, which can't read them. */
  controlTokens: { previous: boolean; callers: readonly string[] } | null
  /** The id of the Control API's GitHub App, or null for a token; undefined in CI. */
  appId?: string | null
  /** Why the newest object of stored secrets is not in use, or null; absent without such an object, and in CI. */
  secrets?: { readAt: number; problem: string | null } | null
}
