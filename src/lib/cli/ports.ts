import { IMAGE_WORKFLOW } from '../domain/paths.js'
import type { Registry } from '../domain/registry/registry.js'
import type {
  AgeKeys,
  BundleDownloads,
  BundleStore,
  Identities,
  SecretsFolder,
  SeedInspector,
  Seeds,
} from '../ops/bundles/ports.js'
import type { Plane } from '../ops/deploy/plane.js'
import type { Machines, RunLookup, StackObjects, StateLocks } from '../ops/deploy/ports.js'
import type { Issues } from '../ops/drift/ports.js'
import type { MintPorts } from '../ops/github/mintToken.js'
import type { BuildPorts } from '../ops/images/buildImage.js'
import type { AccountMachines } from '../ops/images/catalog.js'
import type { ImagePorts } from '../ops/images/ports.js'
import type { SmokePorts } from '../ops/images/smokeImage.js'
import type { LoginPorts } from '../ops/login.js'
import type { OneTimeCodes } from '../ops/people/people.js'
import type { Clock, Compute, JobReport, ObjectStore, Progress, RegistrySource, Runs, Tofu } from '../ops/ports.js'
import type { GithubInspection } from '../ops/preflight/ports.js'
import type { PreflightPorts } from '../ops/preflight/preflight.js'
import type { Checkout, Repository } from '../ops/registry/ports.js'
import type { StepPorts } from '../ops/registry/stepFacts.js'
import type { SecretText } from '../ops/secrets/controlSecrets.js'
import type { NewToken, TokenPlace } from '../ops/tokens/tokens.js'

/** Every port that a command can pick from its context, under the names that the ops use. */
export interface Ports {
  clock: Clock
  /** Not interrupted by a signal, for cleaning up. */
  tidyClock: Clock
  progress: Progress
  /** Aborted when the process is being stopped. */
  stop: AbortSignal
  report: JobReport
  login: LoginPorts & { logOut(): Promise<{ removed: boolean; folder: string }> }
  /** False if no program can open the address. */
  browser: { open(url: string): Promise<boolean> }
  /** A fresh path for a saved plan. */
  planFile(name: string): string

  registry: RegistrySource
  checkout: Checkout
  /** The checkout's registry, for an early refusal; undefined if it can't be read. */
  localRegistry: Registry | undefined

  /** @throws ClawctlError ON_AGENT_HOST, NOT_CONFIGURED */
  plane: Plane
  /** One-time codes of people. */
  codes: OneTimeCodes
  /** For terminals. */
  qrCode(text: string): Promise<string>
  tokenPlace: TokenPlace
  newToken(): NewToken
  compute: Compute
  fleetMachines: Machines
  stack: StackObjects
  locks: StateLocks
  /** Null without a GitHub credential. */
  runs: (Runs & RunLookup) | null
  store: ObjectStore
  tofu: Tofu

  /** The deploy workflow's runs, and its repository, as CI sees them. */
  github: Runs & RunLookup & { registry: RegistrySource; inspection: GithubInspection }
  issues: Issues
  /** The repository on GitHub and the branch to merge into. */
  pullRequests: { repository: Repository; base: string | null }
  mint: MintPorts

  bundles: BundleStore & BundleDownloads
  secrets: SecretsFolder
  /** Null if no secrets directory is given. */
  secretsIfNamed: SecretsFolder | null
  identities: Identities
  secretText: SecretText
  keys: AgeKeys
  seeds: Seeds
  inspector: SeedInspector

  /** Facts that `registry add` needs for its list of remaining steps. */
  steps: StepPorts
  flight: PreflightPorts

  nix: BuildPorts['nix']
  output: BuildPorts['output']
  files: ImagePorts['files']
  digests: ImagePorts['digests']
  objects: ImagePorts['objects']
  snapshots: ImagePorts['snapshots']
  images: ImagePorts['images']
  journal: ImagePorts['journal']
  scans: ImagePorts['scans']
  machines: AccountMachines
  smokeMachines: SmokePorts['machines']
}

export const PEOPLE_DIRECT = { what: 'People commands use' }
export const IMAGE_DIRECT = { what: 'Image commands use', workflow: IMAGE_WORKFLOW }

/** Ports of the commands that make images. */
export const IMAGE_PORTS = [
  'files',
  'digests',
  'objects',
  'snapshots',
  'images',
  'journal',
  'scans',
  'clock',
  'progress',
  'report',
  'stop',
] as const
/** Ports of the commands that list and remove images. */
export const CATALOG_PORTS = ['images', 'snapshots', 'objects', 'machines', 'clock', 'progress'] as const
