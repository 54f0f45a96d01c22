import { constants, homedir } from 'node:os'
import { join } from 'node:path'
import { abortOnSignals, skewOf, systemClock } from '../adapters/clock.js'
import { createControlApi } from '../adapters/deploy/controlApi.js'
import { registryFile } from '../adapters/registry/registryFile.js'
import { removeSettings, savedFiles, saveSettings } from '../adapters/savedSettings.js'
import { scratchFolder } from '../adapters/scratch.js'
import * as settings from '../adapters/settings.js'
import { SEEDS_PATH } from '../domain/bundles/seeds.js'
import { ClawctlError } from '../domain/errors.js'
import { FLEET_STACK_PATH } from '../domain/paths.js'
import { controlApiPlane } from '../ops/deploy/controlApiPlane.js'
import { parsePermissions, parseRepositories } from './mintFlags.js'
import type { Ports } from './ports.js'
import { silentProgress, stderrProgress, waitLine } from './progress.js'
import { elapsed, printable } from './text.js'

/** The command options that decide which adapters are made, and how. An option has one meaning in all commands. */
export interface ContextFlags {
  mode?: string | undefined
  'control-api-url'?: string | undefined
  'secrets-dir'?: string | undefined
  identity?: string | undefined
  'identities-dir'?: string | undefined
  repos?: string | undefined
  'repo-seeds-dir'?: string | undefined
  concurrency?: number | undefined
  'state-dir'?: string | undefined
  'app-id'?: string | undefined
  'installation-id'?: string | undefined
  repository?: string[] | undefined
  permission?: string[] | undefined
  read?: boolean | undefined
  to?: string | undefined
}

export interface ContextOptions {
  env: settings.Env
  cwd: string
  version: string
  flags: ContextFlags
  /** Progress for people; off under --json. */
  quiet: boolean
}

/** An upload of gigabytes retries a busy service for half a minute. */
const IMAGE_RETRIES = { attempts: 8, attemptMs: 20_000 }
const IMAGE_CONNECTIONS = 64
/** The list of remaining steps after an edit must not wait long for one of its facts. */
const STEP_TIMEOUT_MS = 3_000
/** More than a slow answer takes, and less than a heartbeat's age at which a host is unhealthy. */
const WRONG_CLOCK_MS = 60_000

/** One for the process: an MCP server makes a context for each call. */
const interruption = lazy(abortOnSignals)

export type Context = ReturnType<typeof createContext>

/**
 * The only place of the CLI that constructs adapters. A command picks its ports by name; each is constructed, and its
 * module loaded, when it is first picked. A command that sends one request loads neither the AWS SDK nor Octokit.
 */
export function createContext({ env, cwd, version, flags, quiet }: ContextOptions) {
  const userAgent = `clawctl/${version}`
  const root = settings.findCheckout(env, cwd)
  const mode = () => settings.modeOf(env, flags.mode)
  const aws = () => ({ ...settings.directSettings(env), onDate })
  const imageAws = () => {
    const connections = flags.concurrency ?? IMAGE_CONNECTIONS
    return { ...aws(), stop: interruption(), retries: IMAGE_RETRIES, connections }
  }
  const imageState = () => {
    const state = flags['state-dir'] ?? join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'clawctl')
    return join(state, 'images')
  }
  const secretsDir = settings.secretsDir(env, flags['secrets-dir'])
  const made = new Map<string, unknown>()

  /** Only a person's machine may use a keychain; a fleet host, a run and a sandbox use files. */
  const keychain = async () => {
    if (env.CLAWCTL_HOST_ROOT || mode() === 'ci' || settings.callerOf(env) !== null) return null
    return (await import('../adapters/keychain.js')).osKeychain(env)
  }
  let isClockWrong = false
  /** Ages come from this machine's clock, and in ci mode health does. */
  const onDate = (date: string | undefined) => {
    const skewMs = skewOf(date)
    if (isClockWrong || skewMs === null || Math.abs(skewMs) < WRONG_CLOCK_MS) return
    isClockWrong = true
    const off = `${elapsed(Math.abs(skewMs))} ${skewMs < 0 ? 'ahead of' : 'behind'}`
    const wrong = mode() === 'ci' ? 'Ages and health are' : 'Ages are'
    const note = `The clock of this machine is ${off} the server's. ${wrong} wrong by as much; set it, for example with \`timedatectl set-ntp true\`.`
    void port('progress').then((progress) => progress.note(note))
  }
  const controlToken = lazy(() =>
    waiting('Reading the control token', () => settings.controlToken(env, urlOrNull(), keychain)),
  )
  const controlApi = async (timeoutMs?: number) => {
    const { url } = settings.controlApiUrl(env, flags['control-api-url'])
    const { token } = await controlToken()
    const onWait = async (text: string) => (await port('progress')).note(text)
    return createControlApi({
      url,
      token,
      userAgent,
      onWait,
      onDate,
      ...(timeoutMs === undefined ? { interruption } : { timeoutMs }),
    })
  }
  const credential = async (repo: string, permissions: Readonly<Record<string, string>>, token: () => string) => {
    const { githubCredential } = await import('../adapters/github/credential.js')
    return githubCredential(env, { repo, permissions, userAgent, token })
  }
  const git = async () => {
    const { createGit } = await import('../adapters/bundles/seeds/git.js')
    return createGit(env, settings.uploadSettings(env).githubToken)
  }
  const announce = async () => {
    const urls = settings.webhooks(env)
    return urls === null
      ? null
      : (await import('../adapters/deploy/webhooks.js')).createWebhooks(urls, userAgent, interruption())
  }
  /** Removed at the end, and also after a signal: the folder may hold clones or secrets. */
  const scratchThatEnds = (prefix: string) =>
    lazy(() => {
      // The exit codes that shells give them.
      for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const)
        process.once(signal, () => process.exit(128 + constants.signals[signal]))
      return scratchFolder(prefix, env)
    })
  const bundleScratch = scratchThatEnds('clawctl-bundle-')

  const make: { [Name in keyof Ports]: () => Ports[Name] | Promise<Ports[Name]> } = {
    clock: () => systemClock(interruption),
    tidyClock: () => {
      // Without a listener an interruption would end the process before anything is cleaned up.
      interruption()
      return systemClock()
    },
    progress: () => (quiet ? silentProgress : stderrProgress()),
    stop: interruption,
    report: async () => (await import('../adapters/jobReport.js')).githubJobReport(env),
    login: async () => {
      const { folder } = savedFiles(env)
      return {
        ask: async (url, token) => {
          settings.checkUrl(url, 'The given URL')
          settings.checkToken(token, 'The given token')
          return waiting('Asking the Control API', createControlApi({ url, token, userAgent, interruption }).fleet)
        },
        save: (saved, token) => waiting('Saving the control token', () => saveSettings(env, saved, token, keychain)),
        logOut: async () => ({ removed: await removeSettings(env, keychain), folder }),
      }
    },
    browser: async () => {
      const { openInBrowser } = await import('../adapters/browser.js')
      return { open: (url) => openInBrowser(url, env) }
    },
    planFile: () => {
      const folder = scratchFolder('clawctl-plan-', env)
      let count = 0
      return (name) => join(folder, `${name}-${++count}.tfplan`)
    },

    registry: () => registryFile(root),
    checkout: async () => (await import('../adapters/registry/checkout.js')).checkoutFiles(root),
    localRegistry: async () => {
      const { readRegistry } = await import('../ops/registry/readRegistry.js')
      return readRegistry(await port('registry')).catch(() => undefined)
    },

    plane: async () => {
      const plane = await planeOfMode()
      return {
        ...plane,
        fleet: () => waiting('Reading the fleet', plane.fleet),
        host: (id) => waiting(`Reading ${id}`, () => plane.host(id)),
        deploys: (limit) => waiting('Reading the deploys', () => plane.deploys(limit)),
        history: (page) => waiting('Reading the deploys', () => plane.history(page)),
      }
    },
    qrCode: async () => (await import('../adapters/people/oneTimeCodes.js')).qrCode,
    newToken: async () => (await import('../adapters/tokens/newTokens.js')).newToken,
    tokenPlace: async () => {
      if (flags.read) return (await import('../adapters/tokens/newTokens.js')).newFile(flags.to)
      const [{ encryptedFor }, { readRegistry }] = await Promise.all([
        import('../ops/tokens/tokens.js'),
        import('../ops/registry/readRegistry.js'),
      ])
      const registry = await readRegistry(await port('registry'))
      return encryptedFor({ ...(await pick('secrets', 'keys')), registry })
    },
    codes: async () => (await import('../adapters/people/oneTimeCodes.js')).oneTimeCodes,
    compute: async () =>
      (await import('../adapters/deploy/compute.js')).createCompute({ ...aws(), amiOwners: settings.amiOwners(env) }),
    fleetMachines: async () => (await import('../adapters/deploy/machines.js')).createMachines(aws()),
    stack: async () => {
      const { createStackObjects } = await import('../adapters/deploy/stackObjects.js')
      return createStackObjects({ ...aws(), vpcId: settings.fleetVpc(env) })
    },
    locks: async () => {
      const { createStateLocks } = await import('../adapters/deploy/stateLocks.js')
      return createStateLocks({ ...aws(), ...settings.stateLock(env) }, await port('store'))
    },
    // Without a GitHub credential, a host is shown without its history, and a deploy waits for the lock of a dead run.
    runs: () => port('github').catch(() => null),
    store: async () => (await import('../adapters/aws/objectStore.js')).createObjectStore(aws()),
    tofu: async () => {
      const { createTofu } = await import('../adapters/deploy/tofu.js')
      return createTofu({
        dir: join(root ?? cwd, FLEET_STACK_PATH),
        signal: interruption(),
        onOutput: quiet || process.stderr.isTTY ? () => {} : printIndented,
        ...settings.fleetStack(env, aws()),
      })
    },

    github: async () => {
      const github = settings.githubSettings(env)
      const permissions = { actions: 'read', contents: 'read' }
      const access = await credential(github.repo, permissions, () => settings.githubToken(env))
      const { createGithub } = await import('../adapters/github/runs.js')
      return createGithub({ ...github, ...access, userAgent })
    },
    issues: async () => {
      const github = settings.githubSettings(env)
      const access = await credential(github.repo, { issues: 'write' }, () => settings.githubToken(env))
      const { createIssues } = await import('../adapters/github/issues.js')
      return createIssues({ ...github, ...access, userAgent })
    },
    pullRequests: async () => {
      const { base, ...github } = settings.pullRequestSettings(env)
      const permissions = { contents: 'write', pull_requests: 'write' }
      const token = () => settings.pushToken(env, `${github.owner}/${github.repo}`)
      const access = await credential(github.repo, permissions, token)
      const { createGithubRepository } = await import('../adapters/registry/githubRepository.js')
      return { repository: createGithubRepository({ ...github, ...access, userAgent }), base }
    },
    mint: async () => {
      const { createMint } = await import('../adapters/github/credential.js')
      return createMint(env, {
        appId: flags['app-id'],
        installationId: flags['installation-id'],
        repositories: parseRepositories(flags.repository),
        permissions: parsePermissions(flags.permission),
        userAgent,
      })
    },

    bundles: async () => {
      const { createBundleStore } = await import('../adapters/bundles/bundleStore.js')
      return createBundleStore({ ...aws(), folder: bundleScratch })
    },
    secretsIfNamed: async () => {
      const { secretsFolder } = await import('../adapters/bundles/secretsFolder.js')
      return secretsDir === null ? null : secretsFolder(secretsDir)
    },
    secrets: async () => {
      const secrets = await port('secretsIfNamed')
      if (secrets !== null) return secrets
      throw new ClawctlError('USAGE', 'No secrets directory is given.', {
        hint: 'Pass the checkout of nix-secrets with --secrets-dir, or set CLAWCTL_SECRETS_DIR.',
      })
    },
    identities: async () => {
      const { ageIdentities } = await import('../adapters/bundles/ageIdentities.js')
      return ageIdentities({ file: flags.identity, folder: flags['identities-dir'] })
    },
    secretText: async () => {
      const { secretText } = await import('../adapters/secretText.js')
      return secretText(env, scratchThatEnds('clawctl-secrets-'))
    },
    keys: async () => (await import('../adapters/bundles/ageIdentities.js')).ageKeys,
    seeds: async () => {
      const { folderSeeds, listedSeeds } = await import('../adapters/bundles/seeds/sources.js')
      const options = { git: await git(), scratch: bundleScratch }
      const clones = flags['repo-seeds-dir']
      if (clones !== undefined) return folderSeeds(clones, options)
      const list = flags.repos ?? (root === null ? undefined : join(root, SEEDS_PATH))
      if (list !== undefined) return listedSeeds(list, options)
      throw new ClawctlError('USAGE', `There is no ${SEEDS_PATH} in this folder or above.`, {
        hint: 'Run the command in a checkout of the fleet, or pass --repos or --repo-seeds-dir.',
      })
    },
    inspector: async () => {
      const { seedInspector } = await import('../adapters/bundles/seeds/inspect.js')
      return seedInspector(await git(), bundleScratch)
    },

    steps: async () => {
      const secrets = await port('secretsIfNamed')
      const { manifestKey } = await import('../domain/bundles/manifest.js')
      if (mode() !== 'ci') return { secrets, fleet: await deployedFleet(), hasBundle: null }
      return {
        secrets,
        fleet: { ask: async () => (await port('plane')).fleet(), ofBranch: false },
        hasBundle: async (entry) => (await (await port('store')).get(manifestKey(entry))) !== null,
      }
    },
    flight: async () => {
      const throughApi = mode() === 'agent'
      return {
        url: () => settings.controlApiUrl(env, flags['control-api-url']),
        token: controlToken,
        server: () => waiting('Checking', async () => (throughApi ? (await controlApi()).preflight() : serverChecks())),
        fleet: throughApi ? async () => (await controlApi()).fleet() : null,
        throughApi,
        secrets: await port('secretsIfNamed'),
        ...(await pick('registry', 'checkout')),
      }
    },

    nix: async () => {
      const { note } = await port('progress')
      const { createNix } = await import('../adapters/images/nix.js')
      return createNix({ onOutput: (line) => note(`  ${line}`), signal: interruption() })
    },
    output: async () => (await import('../adapters/images/nix.js')).outputFolder,
    files: async () => (await import('../adapters/images/imageFile.js')).imageFiles,
    digests: async () => (await import('../adapters/images/imageFile.js')).digests,
    objects: async () => (await import('../adapters/images/imageObjects.js')).createImageObjects(imageAws()),
    snapshots: async () => (await import('../adapters/images/snapshots.js')).createSnapshots(imageAws()),
    images: async () => (await import('../adapters/images/images.js')).createImages(imageAws()),
    machines: async () => (await import('../adapters/images/machines.js')).createAccountMachines(aws()),
    smokeMachines: async () => (await import('../adapters/images/machines.js')).createSmokeMachines(aws()),
    journal: async () => {
      const { journalFile } = await import('../adapters/images/journalFile.js')
      return (name) => journalFile(imageState(), name)
    },
    scans: async () => (await import('../adapters/images/journalFile.js')).scanRecord(imageState()),
  }

  function port<Name extends keyof Ports>(name: Name): Promise<Ports[Name]> {
    if (!made.has(name)) made.set(name, Promise.resolve().then(make[name]))
    return made.get(name) as Promise<Ports[Name]>
  }

  async function pick<Name extends keyof Ports>(...names: Name[]): Promise<Pick<Ports, Name>> {
    const picked = await Promise.all(names.map(async (name) => [name, await port(name)]))
    return Object.fromEntries(picked)
  }

  async function planeOfMode() {
    if (mode() === 'ci') {
      const { directPlane } = await import('../ops/deploy/directPlane.js')
      return directPlane({
        status: () => pick('registry', 'clock', 'compute', 'store', 'runs'),
        host: () => pick('registry', 'clock', 'compute', 'store', 'runs'),
        deploys: async () => ({ ...(await pick('store', 'clock', 'progress')), runs: await port('github') }),
        deploy: async () => ({
          ...(await pick('registry', 'compute', 'store', 'bundles', 'tofu', 'stack', 'locks', 'runs')),
          ...(await pick('clock', 'tidyClock', 'progress', 'report', 'planFile')),
          machines: await port('fleetMachines'),
          announce: await announce(),
          run: settings.workflowRun(env),
          defaultStrategy: settings.deployStrategy(env),
        }),
        freeze: async () => {
          const { readRegistry } = await import('../ops/registry/readRegistry.js')
          const registry = await readRegistry(await port('registry'))
          return { ...(await pick('store', 'clock', 'codes')), registry }
        },
      })
    }
    const api = await controlApi()
    return controlApiPlane({
      api,
      ...(await pick('clock', 'progress')),
      localRegistry: () => port('localRegistry'),
    })
  }

  /** For a check that reports a missing one itself. */
  function urlOrNull(): string | null {
    try {
      return settings.controlApiUrl(env, flags['control-api-url']).url
    } catch {
      return null
    }
  }

  /** Shows a wait of more than a second, with its time. */
  function waiting<T>(title: string, work: () => Promise<T>): Promise<T> {
    return quiet ? work() : waitLine(process.stderr, title, work)
  }

  /** Null if no Control API is configured: editing the registry needs no credential. */
  async function deployedFleet() {
    try {
      const api = await controlApi(STEP_TIMEOUT_MS)
      return { ask: lazy(() => api.fleet()), ofBranch: true }
    } catch (error) {
      if (error instanceof ClawctlError && error.code === 'NOT_CONFIGURED') return null
      throw error
    }
  }

  async function serverChecks() {
    const { serverPreflight } = await import('../ops/preflight/serverPreflight.js')
    const { github, ...ports } = await pick('github', 'registry', 'compute', 'store', 'clock')
    return serverPreflight({ github: github.inspection, ...ports, controlTokens: null })
  }

  return {
    /** A port, or several, by name. Rejects with ClawctlError NOT_CONFIGURED or USAGE if a setting is missing. */
    port,
    pick,
    /** The checkout that the command works on, or null. */
    root,
    userAgent,
    knownUrl: () => urlOrNull() ?? '',
    savedName: () => settings.savedName(env),
    /** @throws ClawctlError NOT_CONFIGURED */
    controlApiUrl: () => settings.controlApiUrl(env, flags['control-api-url']).url,
    uploadSettings: () => settings.uploadSettings(env),
    /** @throws ClawctlError USAGE, ON_AGENT_HOST */
    get mode() {
      return mode()
    },
    /** The instance that sends the request, or null for a person's machine. @throws ClawctlError NOT_CONFIGURED */
    get caller() {
      return settings.callerOf(env)
    },
    /** The requester's identity that the Control API verified, in a workflow's run; undefined elsewhere. */
    get identity() {
      return mode() === 'ci' ? settings.requesterIdentity(env) : undefined
    },
    /** Whether this process runs in a workflow and uses AWS directly. */
    get inRun() {
      return mode() === 'ci' && settings.workflowRun(env).id !== null
    },
  }
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** OpenTofu's output is printed in a CI log; a terminal shows only a spinner. */
function printIndented(line: string): void {
  if (line.trim()) process.stderr.write(`  ${printable(line)}\n`)
}
