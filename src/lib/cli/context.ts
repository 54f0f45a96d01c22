import { setMaxListeners } from 'node:events'
import { join } from 'node:path'
import { systemClock } from '../adapters/clock.js'
import { registryFile } from '../adapters/registry/registryFile.js'
import * as settings from '../adapters/settings.js'
import { ClawctlError } from '../domain/errors.js'
import { FLEET_STACK_PATH, IMAGE_WORKFLOW } from '../domain/paths.js'
import type { Registry } from '../domain/registry/registry.js'
import type { Plane } from '../ops/deploy/plane.js'
import type { DriftPorts } from '../ops/drift/ports.js'
import type { MintPorts } from '../ops/github/ports.js'
import type { BuildPorts } from '../ops/images/buildImage.js'
import type { CatalogPorts } from '../ops/images/catalog.js'
import type { ImagePorts } from '../ops/images/ports.js'
import type { SmokePorts } from '../ops/images/smokeImage.js'
import type { Clock, Compute, ObjectStore, Progress, RegistrySource, Runs, Tofu } from '../ops/ports.js'
import type { GithubInspection } from '../ops/preflight/ports.js'
import type { PreflightPorts } from '../ops/preflight/preflight.js'
import { silentProgress, stderrProgress } from './progress.js'
import type { BundleFlags, BundleWiring } from './wiring/bundles.js'
import type { MintOptions } from './wiring/github.js'
import type { ImageOptions } from './wiring/images.js'
import type { RegistryWiring } from './wiring/registry.js'

export interface ContextOptions {
  env: settings.Env
  cwd: string
  version: string
  /** --mode */
  mode: string | undefined
  /** --control-api-url */
  controlApiUrl: string | undefined
  /** Progress for people; off under --json. */
  quiet: boolean
}

/**
 * The one place of the CLI that constructs adapters, each when it is first asked for: a command that sends one request
 * loads neither the AWS SDK nor Octokit.
 */
export class Context {
  readonly #options: ContextOptions
  readonly #abort = new AbortController()
  #listening = false
  readonly checkout: string | null

  constructor(options: ContextOptions) {
    this.#options = options
    this.checkout = settings.findCheckout(options.env, options.cwd)
  }

  get env(): settings.Env {
    return this.#options.env
  }

  get mode(): settings.Mode {
    return settings.modeOf(this.#options.env, this.#options.mode)
  }

  /** The instance that asks, or null for a person's machine. */
  get caller(): string | null {
    return settings.callerOf(this.#options.env)
  }

  /** Whether a workflow's run on the direct plane is what we are. */
  get inRun(): boolean {
    return this.mode === 'ci' && settings.workflowRun(this.env).id !== null
  }

  get progress(): Progress {
    return this.#options.quiet ? silentProgress : stderrProgress()
  }

  get clock(): Clock {
    return systemClock(() => this.#interruption())
  }

  /** Aborted by the first SIGINT or SIGTERM, so that work under way can be put in order; the second ends us. */
  #interruption(): AbortSignal {
    if (!this.#listening) {
      this.#listening = true
      // Everything that is under way listens, dozens of parts at once: that is no leak.
      setMaxListeners(0, this.#abort.signal)
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#interrupt(signal))
    }
    return this.#abort.signal
  }

  // Not `once`: what listens beside us would take itself for the only one and end the process.
  #interrupt(signal: 'SIGINT' | 'SIGTERM'): void {
    if (this.#abort.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    this.#abort.abort()
  }

  get registry(): RegistrySource {
    return registryFile(this.checkout)
  }

  newRequestId(): string {
    return crypto.randomUUID()
  }

  /** The registry of the checkout for an early refusal; undefined where there is none or it can't be trusted to be read. */
  async localRegistry(): Promise<Registry | undefined> {
    try {
      const { readRegistry } = await import('../ops/registry/readRegistry.js')
      return await readRegistry(this.registry)
    } catch {
      return undefined
    }
  }

  /** @throws ClawctlError ON_AGENT_HOST, NOT_CONFIGURED */
  async plane(): Promise<Plane> {
    return this.mode === 'ci' ? this.#directPlane() : this.#controlApiPlane()
  }

  /** Where the Control API is, and its token. @throws ClawctlError NOT_CONFIGURED */
  get controlApi(): { url: string; token: string } {
    return settings.controlApiSettings(this.env, this.#options.controlApiUrl)
  }

  /** What `registry …` works with. */
  async registryWiring(): Promise<RegistryWiring> {
    const { registryWiring } = await import('./wiring/registry.js')
    return registryWiring(this, { userAgent: this.#userAgent })
  }

  /** What `preflight` looks with. @param secretsDir --secrets-dir */
  async preflightWiring(secretsDir: string | undefined): Promise<PreflightPorts> {
    const { preflightWiring } = await import('./wiring/preflight.js')
    const { controlApiUrl } = this.#options
    return preflightWiring(this, { controlApiUrl, secretsDir }, { userAgent: this.#userAgent })
  }

  async #controlApiPlane(): Promise<Plane> {
    const api = this.controlApi
    const [{ controlApiPlane }, { createControlApi }] = await Promise.all([
      import('../ops/deploy/controlApiPlane.js'),
      import('../adapters/deploy/controlApi.js'),
    ])
    return controlApiPlane({
      api: createControlApi({
        ...api,
        userAgent: this.#userAgent,
        interruption: () => this.#interruption(),
        onWait: (text) => this.progress.note(text),
      }),
      clock: this.clock,
      progress: this.progress,
    })
  }

  async #directPlane(): Promise<Plane> {
    const { directPlane } = await import('../ops/deploy/directPlane.js')
    const { clock, progress, registry } = this
    return directPlane({
      status: async () => ({ registry, clock, compute: await this.compute(), store: await this.store() }),
      deploys: async () => ({ runs: await this.github(), store: await this.store(), clock, progress }),
      deploy: async () => {
        const [{ githubJobReport }, { scratchFolder }] = await Promise.all([
          import('../adapters/jobReport.js'),
          import('../adapters/scratch.js'),
        ])
        const plans = scratchFolder('clawctl-plan-', this.env)
        let count = 0
        return {
          registry,
          compute: await this.compute(),
          store: await this.store(),
          bundles: (await this.bundles({})).store(),
          tofu: await this.tofu(),
          clock,
          progress,
          report: githubJobReport(this.env),
          run: settings.workflowRun(this.env),
          planFile: (id) => join(plans, `${id}-${++count}.tfplan`),
        }
      },
    })
  }

  /** EC2. @throws ClawctlError NOT_CONFIGURED */
  async compute(): Promise<Compute> {
    const { createCompute } = await import('../adapters/deploy/compute.js')
    return createCompute(settings.directSettings(this.env))
  }

  /** The fleet's bucket. @throws ClawctlError NOT_CONFIGURED */
  async store(): Promise<ObjectStore> {
    const { createObjectStore } = await import('../adapters/aws/objectStore.js')
    return createObjectStore(settings.directSettings(this.env))
  }

  /** What makes, uploads and checks bundles. */
  async bundles(flags: BundleFlags): Promise<BundleWiring> {
    const { bundleWiring } = await import('./wiring/bundles.js')
    const { env, checkout, registry, clock, progress } = this
    return bundleWiring({ env, checkout, registry, clock, progress, userAgent: this.#userAgent }, flags)
  }

  /** @throws ClawctlError NOT_CONFIGURED */
  async github(): Promise<Runs & { registry: RegistrySource; inspection: GithubInspection }> {
    const { githubOf } = await import('./wiring/github.js')
    return githubOf(this.env, this.#userAgent)
  }

  /** The GitHub App. @throws ClawctlError NOT_CONFIGURED */
  async mintPorts(options: MintOptions): Promise<MintPorts> {
    const { mintPorts } = await import('./wiring/github.js')
    return mintPorts(this.env, this.#userAgent, options)
  }

  /** What `fleet drift` needs. @throws ClawctlError NOT_CI, ON_AGENT_HOST, NOT_CONFIGURED */
  async drift(options: { issue: boolean }): Promise<DriftPorts> {
    this.requireCi('`fleet drift` uses', 'fleet-drift.yml')
    const { driftPorts } = await import('./wiring/drift.js')
    const { clock, progress, registry } = this
    const [compute, store, tofu] = await Promise.all([this.compute(), this.store(), this.tofu()])
    const common = { registry, compute, store, tofu, clock, progress }
    return driftPorts(this.env, common, { ...options, userAgent: this.#userAgent })
  }

  /** What image commands need. @throws ClawctlError NOT_CI, ON_AGENT_HOST, NOT_CONFIGURED */
  async images(options: ImageOptions = {}): Promise<ImagePorts> {
    this.requireCi('Image commands use', IMAGE_WORKFLOW)
    const { imagePorts } = await import('./wiring/images.js')
    const { env, clock, progress } = this
    return imagePorts({ env, clock, progress, stop: this.#interruption() }, options)
  }

  /** What `image list` and `image prune` need. @throws ClawctlError NOT_CI, ON_AGENT_HOST, NOT_CONFIGURED */
  async imageCatalog(): Promise<CatalogPorts & { clock: Clock; progress: Progress }> {
    this.requireCi('Image commands use', IMAGE_WORKFLOW)
    const { catalogPorts } = await import('./wiring/imageCatalog.js')
    const { env, clock, progress } = this
    return catalogPorts({ env, clock, progress, stop: this.#interruption() })
  }

  /** What `image smoke` needs. @throws ClawctlError NOT_CI, ON_AGENT_HOST, NOT_CONFIGURED */
  async imageSmoke(): Promise<SmokePorts> {
    this.requireCi('Image commands use', IMAGE_WORKFLOW)
    const { smokePorts } = await import('./wiring/imageCatalog.js')
    const { env, clock, progress } = this
    return smokePorts({ env, clock, progress, stop: this.#interruption() })
  }

  /** What `image build` needs: nix, and no AWS. */
  async imageBuild(): Promise<BuildPorts> {
    const { imageBuildPorts } = await import('./wiring/imageBuild.js')
    const { env, clock, progress, registry, checkout } = this
    return imageBuildPorts({ env, clock, progress, registry, flake: checkout, stop: this.#interruption() })
  }

  /**
   * @param what begins a sentence, with its verb
   * @param workflow that does the same
   * @throws ClawctlError NOT_CI, ON_AGENT_HOST
   */
  requireCi(what: string, workflow: string): void {
    if (this.mode === 'ci') return
    throw new ClawctlError('NOT_CI', `${what} AWS directly, which only ci mode does.`, {
      hint: `Run the workflow ${workflow}; with AWS credentials of your own, add --mode ci.`,
    })
  }

  /** OpenTofu on the fleet stack of the checkout. @throws ClawctlError NOT_CONFIGURED */
  async tofu(): Promise<Tofu> {
    const { createTofu } = await import('../adapters/deploy/tofu.js')
    return createTofu({
      dir: join(this.checkout ?? this.#options.cwd, FLEET_STACK_PATH),
      signal: this.#interruption(),
      onOutput: this.#toolOutput(),
      ...settings.fleetStack(this.env, settings.directSettings(this.env)),
    })
  }

  /** OpenTofu's own words belong into a CI log; a spinner on a terminal says enough. */
  #toolOutput(): (line: string) => void {
    if (this.#options.quiet || process.stderr.isTTY) return () => {}
    return (line) => {
      if (line.trim()) process.stderr.write(`  ${line}\n`)
    }
  }

  get #userAgent(): string {
    return `clawctl/${this.#options.version}`
  }
}
