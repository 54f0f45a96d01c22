import { createHash, generateKeyPair, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { WAITING_FOR_HEALTH } from '../src/lib/domain/deploy/rollout.js'
import { DEFAULT_REPOSITORY, FLEET_STACK_PATH, FLEET_STATE_KEY } from '../src/lib/domain/paths.js'
import { checkRegistry } from '../src/lib/domain/registry/registry.js'
import type { Fault, RunnerMoment, TofuChoice } from '../src/lib/domain/sandboxOptions.js'
import { actionStandIns } from './actions.js'
import { type AdminServer, startAdmin } from './admin.js'
import { ebsEndpoint } from './aws/ebs.js'
import { ec2Endpoint } from './aws/ec2.js'
import { otherServicesEndpoint } from './aws/other.js'
import { s3Endpoint } from './aws/s3.js'
import { World } from './aws/world.js'
import { Checkout } from './checkout.js'
import { environmentFor, type Role, type Session, type SessionPaths, writePrograms } from './environment.js'
import { Faults } from './faults.js'
import { BUCKET, firstState, publishNextImage, REGION } from './firstState.js'
import { functionUrlEndpoint } from './functionUrl.js'
import { githubEndpoint } from './github/endpoint.js'
import { GitHub } from './github/github.js'
import { Hosts, type HostsOptions } from './hosts.js'
import type { Endpoint, LoggedRequest } from './http.js'
import { chooseTofu } from './tofuChoice.js'

/** AWS's own example values. */
const ACCESS_KEY_ID = 'AKIASANDBOXSANDBOX00'
const SECRET_ACCESS_KEY = 'sandbox/secret/key/that/opens/nothing/000'
/** The GitHub App of every sandbox; each process creates its key. */
const APP = {
  appId: '100001',
  installationId: '20000002',
  permissions: { actions: 'write', contents: 'read' },
} as const
/** Hosts boot in under a second here, so one that takes this long never will. */
const HEALTH_TIMEOUT = '6s'
/** Hosts boot some fifty times faster here, and the caches of the Control API expire as fast. */
const REUSE_MS = 40

const makeToken = () => `cct_${randomBytes(24).toString('base64url')}`

/** A token for each instance of the registry, as from `clawctl token add`; none if the registry can't be read. */
async function tokensOf(checkout: Checkout): Promise<Record<string, string>> {
  const { entries } = checkRegistry(await checkout.registryText().catch(() => '{}'))
  return Object.fromEntries(entries.map(({ id }) => [id, makeToken()]))
}

function digestsOf(tokens: Record<string, string>): string {
  const digest = (token: string) => createHash('sha256').update(token).digest('hex')
  return JSON.stringify(Object.fromEntries(Object.entries(tokens).map(([id, token]) => [id, digest(token)])))
}

let appKey: ReturnType<typeof makeAppKey> | undefined

function makeAppKey() {
  return promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  })
}

export interface SandboxOptions {
  /** Changes to the hosts' defaults. */
  hosts?: Pick<HostsOptions, 'bootMs'>
  /** Root of the clawctl package, with the built Lambda and the stand-in. */
  packageRoot: string
  checkoutRoot: string
  registryFile: string | null
  runningIds: readonly string[]
  faults: readonly Fault[]
  tofu: TofuChoice
  env: NodeJS.ProcessEnv
  /** How long the Control API may answer from its cache. Default: 40 ms. */
  reuseMs?: number
  /** Background events, one line each. */
  onNote?: (note: string) => void
  /** Called when it should end; without it, it ends with its command. */
  onStop?: () => void
}

/** All services on loopback. Its files are in one folder, which `close` removes. */
export class Sandbox {
  readonly world: World
  readonly faults: Faults
  readonly requests: LoggedRequest[]
  /** The output of the Lambda. */
  readonly lambdaLog: string[]
  readonly session: Session
  readonly github: GitHub
  readonly checkout: Checkout
  readonly #closers: (() => Promise<void> | void)[]

  private constructor(parts: {
    world: World
    faults: Faults
    requests: LoggedRequest[]
    lambdaLog: string[]
    session: Session
    github: GitHub
    checkout: Checkout
    closers: (() => Promise<void> | void)[]
  }) {
    this.world = parts.world
    this.faults = parts.faults
    this.requests = parts.requests
    this.lambdaLog = parts.lambdaLog
    this.session = parts.session
    this.github = parts.github
    this.checkout = parts.checkout
    this.#closers = parts.closers
  }

  static async start(options: SandboxOptions): Promise<Sandbox> {
    const closers: (() => Promise<void> | void)[] = []
    try {
      return await Sandbox.#start(options, closers)
    } catch (error) {
      await closeAll(closers)
      throw error
    }
  }

  static async #start(options: SandboxOptions, closers: (() => Promise<void> | void)[]): Promise<Sandbox> {
    const tofu = chooseTofu(options.tofu, join(options.packageRoot, 'dist/sandbox/tofu.js'), options.env.PATH ?? '')
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'clawctl-sandbox-')))
    // For an immediate end: a closed pipe, a defect.
    const removeNow = () => rmSync(folder, { recursive: true, force: true })
    process.once('exit', removeNow)
    closers.push(async () => {
      await rm(folder, { recursive: true, force: true, maxRetries: 3 })
      process.off('exit', removeNow)
    })
    const paths: SessionPaths = {
      folder,
      bin: join(folder, 'bin'),
      toolBin: join(folder, 'tools'),
      sessionFile: join(folder, 'session.json'),
    }
    await writePrograms(paths, { clawctl: join(options.packageRoot, 'bin/run.js'), tofu })

    const world = new World({ region: REGION, folder: join(folder, 'aws'), httpTokensEnforced: true })
    const faults = new Faults(options.faults)
    const requests: LoggedRequest[] = []
    const lambdaLog: string[] = []
    const log = (request: LoggedRequest) => {
      requests.push(request)
    }
    const open = async (endpoint: Promise<Endpoint>) => {
      const opened = await endpoint
      closers.push(() => opened.close())
      return opened.url
    }
    const checkout = new Checkout(options.checkoutRoot, options.registryFile)
    const controlToken = makeToken()
    const hostTokens = await tokensOf(checkout)
    // Created by another thread meanwhile.
    appKey ??= makeAppKey()
    const key = appKey
    const githubToken = `ghp_${randomBytes(24).toString('hex')}`

    closers.push(() => world.close())
    const [ec2Url, s3Url, ebsUrl, otherUrl] = await Promise.all([
      open(ec2Endpoint(world, { faults, log, accessKeyId: ACCESS_KEY_ID })),
      open(s3Endpoint(world, { faults, log, accessKeyId: ACCESS_KEY_ID })),
      open(ebsEndpoint(world, { faults, log, accessKeyId: ACCESS_KEY_ID })),
      open(otherServicesEndpoint(world, faults)),
    ])
    const aws = awsEnvironment(folder, { ec2Url, s3Url, ebsUrl, otherUrl })
    // The real OpenTofu finds a provider here without the registry.
    const { TF_CLI_CONFIG_FILE } = options.env
    const real: Record<string, string> = options.tofu === 'real' && TF_CLI_CONFIG_FILE ? { TF_CLI_CONFIG_FILE } : {}
    const github = new GitHub({
      repository: DEFAULT_REPOSITORY,
      token: githubToken,
      app: { ...APP, publicKey: key.then(({ publicKey }) => publicKey) },
      workflowDir: options.checkoutRoot,
      readFile: (path) => checkout.readFile(path),
      vars: {
        AWS_REGION: REGION,
        S3_BUCKET: BUCKET,
        AWS_DEPLOY_ROLE_ARN: 'arn:aws:iam::000000000000:role/clawdinator/fleet-deploy',
        AWS_IMAGE_ROLE_ARN: 'arn:aws:iam::000000000000:role/clawdinator/image-build',
        HEALTH_TIMEOUT,
      },
      actions: actionStandIns({
        copyCheckout: (workspace) => checkout.copyTo(workspace),
        credentials: aws.credentials,
        toolBin: paths.toolBin,
        tofuTitle: tofu.title,
        bin: paths.bin,
      }),
      baseEnv: { PATH: systemPath(options.env), HOME: folder, LANG: 'C.UTF-8' },
      // The runner machine's variables: the services' endpoints, and that it is not a fleet host.
      extraEnv: { ...aws.endpoints, ...real, CLAWCTL_HOST_ROOT: join(folder, 'hosts', '.none') },
      workDir: join(folder, 'runs'),
      faults,
      log,
    })
    const githubUrl = await open(githubEndpoint(github))
    closers.push(() => github.close())

    const controlApiUrl = await open(
      functionUrlEndpoint({
        module: pathToFileURL(join(options.packageRoot, 'dist/lambda/index.mjs')).href,
        env: {
          ...aws.endpoints,
          ...aws.credentials,
          CONTROL_API_TOKEN: controlToken,
          CONTROL_API_CALLER_TOKENS: digestsOf(hostTokens),
          CONTROL_API_REUSE_MS: String(options.reuseMs ?? REUSE_MS),
          GITHUB_TOKEN: githubToken,
          GITHUB_REPO: DEFAULT_REPOSITORY,
          GITHUB_API_URL: githubUrl,
          S3_BUCKET: BUCKET,
        },
        faults,
        log,
        onOutput: (text) => lambdaLog.push(text),
      }),
    )
    Object.assign(github.options.vars ?? {}, { CONTROL_API_URL: controlApiUrl })

    const { running } = await firstState({
      world,
      checkout,
      runningIds: options.runningIds,
      stackDir: join(options.checkoutRoot, FLEET_STACK_PATH),
      stateKey: FLEET_STATE_KEY,
      controlApiUrl,
    })
    const hosts = new Hosts({
      world,
      faults,
      beforeUp: () => killRunnerInHealthCheck(faults, github),
      ...(options.onNote ? { onNote: options.onNote } : {}),
      ...options.hosts,
    })
    hosts.start()
    closers.push(() => hosts.stop())
    const dies = (moment: RunnerMoment) => {
      if (!deployOf(github) || !faults.runnerDies(moment)) return
      github.killRunner()
      // Its processes end one by one; meanwhile their requests fail.
      faults.held = (async () => {
        while (deployOf(github)) await sleep(20)
        faults.held = null
      })()
    }
    world.iam.onMade(dies)
    world.onLaunch(() => dies('apply'))
    world.onTerminate(() => dies('terminate'))
    for (const instance of running) hosts.adopt(instance.id)

    const admin: AdminServer = await startAdmin({ faults, requests, onStop: options.onStop ?? null })
    closers.push(() => admin.close())
    const appKeyFile = join(folder, 'github-app.pem')
    await writeFile(appKeyFile, (await key).privateKey, { mode: 0o600 })
    const session: Session = {
      paths,
      checkoutRoot: options.checkoutRoot,
      registryFile: options.registryFile,
      controlApiUrl,
      controlToken,
      hostTokens,
      adminUrl: admin.url,
      adminToken: admin.token,
      pid: process.pid,
      ci: {
        ...aws.endpoints,
        ...real,
        ...aws.credentials,
        S3_BUCKET: BUCKET,
        CLAWDINATOR_CONTROL_API_URL: controlApiUrl,
        CLAWCTL_HEALTH_TIMEOUT: HEALTH_TIMEOUT,
        GITHUB_TOKEN: githubToken,
        GITHUB_REPOSITORY: DEFAULT_REPOSITORY,
        GITHUB_API_URL: githubUrl,
        GITHUB_APP_ID: APP.appId,
        GITHUB_APP_INSTALLATION_ID: APP.installationId,
        GITHUB_APP_PRIVATE_KEY_FILE: appKeyFile,
      },
    }
    await writeFile(paths.sessionFile, JSON.stringify(session), { mode: 0o600 })
    return new Sandbox({ world, faults, requests, lambdaLog, session, github, checkout, closers })
  }

  environment(role: Role, surroundings: NodeJS.ProcessEnv): Promise<Record<string, string>> {
    return environmentFor(role, this.session, surroundings, (folder) => this.checkout.copyTo(folder))
  }

  /** A newer image than all before; returns its id. */
  publishImage(): string {
    return publishNextImage(this.world)
  }

  async close(): Promise<void> {
    await closeAll(this.#closers)
  }
}

/** Closes in reverse order, even if one fails. */
async function closeAll(closers: (() => Promise<void> | void)[]): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    try {
      await close()
    } catch {
      // The process ends soon, which closes the rest.
    }
  }
}

/** Kills the runner while it waits for the new host's health: the host runs, its health is unknown, no lock is held. */
async function killRunnerInHealthCheck(faults: Faults, github: GitHub): Promise<void> {
  if (!deployOf(github) || !faults.runnerDies('health')) return
  for (let run = deployOf(github); run; run = deployOf(github)) {
    if (run.jobs.some((job) => job.log.some((line) => line.text.includes(WAITING_FOR_HEALTH)))) break
    await sleep(20)
  }
  github.killRunner()
}

const deployOf = (github: GitHub) => github.runs.find((run) => run.status === 'in_progress')

function awsEnvironment(folder: string, urls: { ec2Url: string; s3Url: string; ebsUrl: string; otherUrl: string }) {
  return {
    endpoints: {
      AWS_ENDPOINT_URL: urls.otherUrl,
      AWS_ENDPOINT_URL_EC2: urls.ec2Url,
      AWS_ENDPOINT_URL_S3: urls.s3Url,
      AWS_ENDPOINT_URL_EBS: urls.ebsUrl,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: join(folder, 'aws-config'),
      AWS_SHARED_CREDENTIALS_FILE: join(folder, 'aws-credentials'),
    },
    credentials: {
      AWS_REGION: REGION,
      AWS_ACCESS_KEY_ID: ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY,
    },
  }
}

/** The runner finds the system's programs, not the sandbox's own. */
function systemPath(env: NodeJS.ProcessEnv): string {
  return env.PATH ?? '/usr/local/bin:/usr/bin:/bin'
}
