import { createObjectStore } from '../src/lib/adapters/aws/objectStore.js'
import { systemClock } from '../src/lib/adapters/clock.js'
import { createCompute } from '../src/lib/adapters/deploy/compute.js'
import { createGithubApp } from '../src/lib/adapters/github/app.js'
import { parsePrivateKey } from '../src/lib/adapters/github/appKey.js'
import type { GithubCredential } from '../src/lib/adapters/github/client.js'
import { createGithub } from '../src/lib/adapters/github/runs.js'
import { oneTimeCodes } from '../src/lib/adapters/people/oneTimeCodes.js'
import { parseTokenTable } from '../src/lib/domain/controlSecrets.js'
import type { RunLookup } from '../src/lib/ops/deploy/ports.js'
import type { OneTimeCodes } from '../src/lib/ops/people/people.js'
import type { Clock, Compute, ObjectStore, RegistrySource, Runs } from '../src/lib/ops/ports.js'
import type { ServerPreflightPorts } from '../src/lib/ops/preflight/ports.js'
import type { Configuration, Env } from './configuration.js'
import type { SecretsState } from './storedSecrets.js'

export interface LambdaPorts {
  compute: Compute
  store: ObjectStore | null
  runs: Runs & RunLookup
  registry: RegistrySource
  clock: Clock
  codes: OneTimeCodes
  github: ServerPreflightPorts['github']
  controlTokens: NonNullable<ServerPreflightPorts['controlTokens']>
  appId: string | null
  /** Null if no secrets object is configured. */
  secrets: SecretsState | null
}

export { systemClock }

/** An agent waits for the answer. The limits of budget.ts end a call even if attempts are left. */
const GITHUB_RETRIES = { attempts: 3, attemptMs: 3_000 }
const EC2_RETRIES = { attempts: 3, attemptMs: 2_000 }
const S3_RETRIES = { attempts: 3, attemptMs: 1_500 }
const USER_AGENT = 'clawctl-control-api'

/** The only place of the Lambda that constructs adapters; they live as long as the execution environment. */
export function createPorts(configuration: Configuration, clock: Clock = systemClock()): LambdaPorts {
  const [owner = '', repo = ''] = configuration.GITHUB_REPO.split('/')
  const github = createGithub({
    ...credentialOf(configuration, repo, clock),
    apiUrl: configuration.GITHUB_API_URL,
    owner,
    repo,
    workflow: configuration.GITHUB_WORKFLOW,
    ref: configuration.GITHUB_REF,
    userAgent: USER_AGENT,
    retries: GITHUB_RETRIES,
  })
  const { AWS_REGION: region, S3_BUCKET: bucket, AMI_OWNERS } = configuration
  return {
    compute: createCompute({ region, retries: EC2_RETRIES, amiOwners: AMI_OWNERS.split(',').filter(Boolean) }),
    store: bucket ? createObjectStore({ region, retries: S3_RETRIES, bucket }) : null,
    runs: github,
    registry: github.registry,
    clock,
    codes: oneTimeCodes,
    github: github.inspection,
    controlTokens: {
      previous: Boolean(configuration.CONTROL_API_TOKEN_PREVIOUS),
      callers: [...(parseTokenTable(configuration.CONTROL_API_CALLER_TOKENS)?.keys() ?? [])],
    },
    appId: configuration.github.kind === 'app' ? configuration.github.appId : null,
    secrets: null,
  }
}

function credentialOf({ github, GITHUB_API_URL }: Configuration, repo: string, clock: Clock): GithubCredential {
  if (github.kind === 'token') return { token: async () => github.token }
  return createGithubApp({
    apiUrl: GITHUB_API_URL,
    appId: github.appId,
    installationId: github.installationId,
    privateKey: parsePrivateKey(github.privateKey, 'GITHUB_APP_PRIVATE_KEY'),
    repositories: [repo],
    permissions: { actions: 'write', contents: 'read' },
    clock,
    userAgent: USER_AGENT,
    retries: GITHUB_RETRIES,
  })
}

/** Ports for reading the secrets, before there is a configuration. */
export function secretsPorts(env: Env) {
  const { AWS_REGION: region = '', S3_BUCKET: bucket = '' } = env
  return {
    clock: systemClock(),
    store: () => createObjectStore({ region, bucket, retries: S3_RETRIES }),
  }
}
