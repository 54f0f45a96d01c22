import { createCompute } from '../src/lib/adapters/aws/compute.js'
import { createObjectStore } from '../src/lib/adapters/aws/objectStore.js'
import { systemClock } from '../src/lib/adapters/clock.js'
import { createGithub } from '../src/lib/adapters/github.js'
import type { Clock, Compute, ObjectStore, RegistrySource, Runs } from '../src/lib/ops/ports.js'
import type { Configuration } from './configuration.js'

export interface LambdaPorts {
  compute: Compute
  store: ObjectStore | null
  runs: Runs
  registry: RegistrySource
  clock: Clock
}

/** The one place of the Lambda that constructs adapters; kept for as long as the execution environment lives. */
export function createPorts(configuration: Configuration): LambdaPorts {
  const [owner = '', repo = ''] = configuration.GITHUB_REPO.split('/')
  const github = createGithub({
    apiUrl: configuration.GITHUB_API_URL,
    token: async () => configuration.GITHUB_TOKEN,
    owner,
    repo,
    workflow: configuration.GITHUB_WORKFLOW,
    ref: configuration.GITHUB_REF,
    userAgent: 'clawctl-control-api',
  })
  // Three attempts within half of the function's 30 s.
  const aws = { region: configuration.AWS_REGION, patience: { attempts: 3, attemptMs: 5_000 } }
  return {
    compute: createCompute(aws),
    store: configuration.S3_BUCKET ? createObjectStore({ ...aws, bucket: configuration.S3_BUCKET }) : null,
    runs: github,
    registry: github.registry,
    clock: systemClock(),
  }
}

/** What the secrets are read with, before there is a configuration. Some of the function's 30 s, as createPorts takes. */
export function secretsPorts(env: Readonly<Record<string, string | undefined>>) {
  const { AWS_REGION: region = '', S3_BUCKET: bucket = '' } = env
  return {
    clock: systemClock(),
    store: () => createObjectStore({ region, bucket, patience: { attempts: 2, attemptMs: 3_000 } }),
  }
}
