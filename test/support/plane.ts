import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { clawctlStandIns } from '../../sandbox/actions.js'
import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { s3Endpoint } from '../../sandbox/aws/s3.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { GitHub, type GitHubOptions } from '../../sandbox/github/github.js'
import { failGitHub, handleGitHub } from '../../sandbox/github/rest.js'
import { type Exchange, type LoggedRequest, listen, type Reply } from '../../sandbox/http.js'
import { madeUp } from './heldToContract.js'

export const ROOT = resolve(import.meta.dirname, '../..')
export const REGION = 'eu-central-1'
export const BUCKET = 'fleet-bucket'
export const REPOSITORY = 'acme/fleet'
export const GITHUB_TOKEN = 'ghp_plane_secret_0123456789'
export const SECRET_KEY = 'aws-plane-secret-0123456789'
const KEY_ID = 'AKIAPLANETESTS000000'
export const OLDER = 'ami-0aaaaaaaaaaaaaaa1'
export const LATEST = 'ami-0aaaaaaaaaaaaaaa2'

export const REGISTRY = Object.fromEntries(
  ['clawdinator-1', 'clawdinator-2'].map((id) => [
    id,
    { host: id, instanceType: 't3.large', bootstrapPrefix: `bootstrap/${id}`, discordTokenSecret: `token-${id}` },
  ]),
)

/** A request that reached the emulated GitHub. */
interface Seen {
  method: string
  path: string
  body: string
  authorization: string | undefined
}

/**
 * EC2, S3 and GitHub on loopback with the repository's own workflow, and the SDK's variables set until `close`.
 * Runs end immediately: every action is a stand-in and `clawctl` is a script that does nothing, unless `hold` keeps them.
 */
export async function startPlane(options: Pick<GitHubOptions, 'runDetails' | 'app'> = {}) {
  const root = mkdtempSync(join(tmpdir(), 'clawctl-plane-'))
  cpSync(join(ROOT, '.github/workflows/fleet-deploy.yml'), join(root, '.github/workflows/fleet-deploy.yml'), {
    recursive: true,
  })
  mkdirSync(join(root, 'nix'))
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/clawctl'), '#!/bin/sh\nexit "$CLAWCTL_EXIT"\n', { mode: 0o755 })
  const writeRegistry = (text: string) => writeFileSync(join(root, 'nix/instances.json'), text)
  writeRegistry(JSON.stringify(REGISTRY))

  const world = new World({ region: REGION })
  world.createBucket(BUCKET)
  const image = (id: string, days: number) =>
    world.addImage({
      id,
      name: `image-${id}`,
      createdAt: new Date(Date.now() - days * 86_400_000),
      tags: [['clawdinator', 'true']],
    })
  image(OLDER, 20)
  image(LATEST, 1)

  const faults = new Faults()
  const requests: LoggedRequest[] = []
  const log = (request: LoggedRequest) => {
    requests.push(request)
  }
  let gate: Promise<void> = Promise.resolve()
  let exitCode = 0
  const nothing = async () => ({ ok: true }) as const
  const clawctl = clawctlStandIns(join(root, 'bin'))
  const github = new GitHub({
    repository: REPOSITORY,
    token: GITHUB_TOKEN,
    workflowDir: root,
    readFile: (path) => readFile(join(root, path)).catch(() => null),
    vars: { AWS_REGION: REGION, S3_BUCKET: BUCKET, AWS_DEPLOY_ROLE_ARN: 'arn:role' },
    actions: {
      'actions/checkout': nothing,
      'aws-actions/configure-aws-credentials': nothing,
      'opentofu/setup-opentofu': nothing,
      ...clawctl,
      './.github/actions/setup-clawctl': async (context) => {
        await Promise.race([gate, new Promise((stop) => context.signal.addEventListener('abort', stop))])
        context.setEnv('CLAWCTL_EXIT', String(exitCode))
        return (
          clawctl['./.github/actions/setup-clawctl']?.(context) ?? { ok: false, message: 'There is no such stand-in.' }
        )
      },
    },
    baseEnv: { PATH: process.env.PATH ?? '', HOME: root },
    workDir: join(root, 'work'),
    faults,
    limits: { sigintMs: 100, sigtermMs: 100, outputMs: 100 },
    ...options,
  })
  const seen: Seen[] = []
  let answer: (exchange: Exchange) => Reply | null = () => null
  const [ec2, s3, githubApi] = await Promise.all([
    ec2Endpoint(world, { faults, log, accessKeyId: KEY_ID }),
    s3Endpoint(world, { faults, log, accessKeyId: KEY_ID }),
    listen({
      service: 'github',
      faults,
      log,
      fail: failGitHub,
      handle: async (exchange) => {
        const { authorization } = exchange.headers
        seen.push({
          method: exchange.method,
          path: decodeURIComponent(exchange.url.pathname + exchange.url.search),
          body: exchange.body.toString(),
          authorization,
        })
        const made = answer(exchange)
        return made ? madeUp(made) : handleGitHub(github, exchange)
      },
    }),
  ])
  github.apiUrl = githubApi.url

  const restoreEnv = setEnv({
    AWS_ENDPOINT_URL: undefined,
    AWS_ENDPOINT_URL_EC2: ec2.url,
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ACCESS_KEY_ID: KEY_ID,
    AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    AWS_SESSION_TOKEN: undefined,
    AWS_PROFILE: undefined,
    AWS_REGION: REGION,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: join(root, 'aws-config'),
    AWS_SHARED_CREDENTIALS_FILE: join(root, 'aws-credentials'),
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  })

  return {
    root,
    world,
    faults,
    github,
    githubUrl: githubApi.url,
    /** Every request to every service, in order. */
    requests,
    /** What GitHub was sent. */
    seen,
    dispatches: () => seen.filter(({ method }) => method === 'POST'),
    writeRegistry,
    /** GitHub answers as `reply` says, or as itself where that is null. */
    answerAs(reply: (exchange: Exchange) => Reply | null) {
      answer = reply
    },
    /** Runs wait before their deploy step until the returned function is called. */
    hold(): () => void {
      let release: () => void = () => {}
      gate = new Promise((resolve) => {
        release = resolve
      })
      return release
    },
    /** How the deploy step of the following runs ends. */
    runsExitWith(code: number) {
      exitCode = code
    },
    launch(id: string, launch: { imageId?: string; launchTime?: Date } = {}) {
      const instance = world.launch({
        imageId: OLDER,
        instanceType: 't3.large',
        state: 'running',
        tags: [
          ['app', 'clawdinator'],
          ['Name', id],
          ['clawdinator:id', id],
        ],
        ...launch,
      })
      instance.checks = 'ok'
      return instance
    },
    async close() {
      restoreEnv()
      await github.close()
      await Promise.all([ec2.close(), s3.close(), githubApi.close()])
      rmSync(root, { recursive: true, force: true })
    },
  }
}
export type TestPlane = Awaited<ReturnType<typeof startPlane>>

/** Sets variables of this process (undefined removes one) and returns what puts them back. */
export function setEnv(values: Record<string, string | undefined>): () => void {
  const before = Object.fromEntries(Object.keys(values).map((name) => [name, process.env[name]]))
  const apply = (wanted: Record<string, string | undefined>) => {
    for (const [name, value] of Object.entries(wanted)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  apply(values)
  return () => apply(before)
}
