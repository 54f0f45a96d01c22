import { ec2Endpoint } from '../../sandbox/aws/ec2.js'
import { s3Endpoint } from '../../sandbox/aws/s3.js'
import { World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { listen, type Reply } from '../../sandbox/http.js'
import { heartbeatOf, hostOf, recordOf } from '../../test/support/fakes.js'

/**
 * The upstreams of the Control API in a process of their own: the sandbox's EC2 and S3 with SIZE instances and their
 * heartbeats, and a GitHub that answers from memory. Prints the function's environment as JSON, and then runs until it
 * is killed.
 */
const SIZE = Number(process.argv[2] ?? 2)
const REGION = 'eu-central-1'
const BUCKET = 'fleet-bucket'
const KEY_ID = 'AKIABENCHBENCHBENCH0'

const ids = Array.from({ length: SIZE }, (_, index) => `clawdinator-${index + 1}`)
const world = new World({ region: REGION })
world.createBucket(BUCKET)
const image = world.addImage({
  id: 'ami-0aaaaaaaaaaaaaaa1',
  name: 'clawdinator-bench',
  createdAt: new Date(Date.now() - 86_400_000),
  tags: [['clawdinator', 'true']],
})
for (const id of ids) {
  const instance = world.launch({
    imageId: image.id,
    instanceType: 't3.large',
    state: 'running',
    launchTime: new Date(Date.now() - 3_600_000),
    tags: [
      ['app', 'clawdinator'],
      ['Name', id],
      ['clawdinator:id', id],
    ],
  })
  instance.checks = 'ok'
  const at = new Date().toISOString()
  const beat = heartbeatOf(hostOf(id, { instanceId: instance.id, ami: image.id }), { at })
  world.putObject(BUCKET, `heartbeats/${id}/${instance.id}.json`, JSON.stringify(beat))
}

const registry = JSON.stringify(
  Object.fromEntries(
    ids.map((id) => [
      id,
      { host: id, instanceType: 't3.large', bootstrapPrefix: `bootstrap/${id}`, discordTokenSecret: `token-${id}` },
    ]),
  ),
)
const runs = Array.from({ length: 100 }, (_, index) => ({
  id: 20_000_000_100 - index,
  html_url: `https://github.example/runs/${index}`,
  display_title: `fleet deploy clawdinator-1 [request-${String(index).padStart(4, '0')}] by Jo`,
  status: 'completed',
  conclusion: 'success',
  created_at: '2026-11-20T10:00:00Z',
  run_started_at: '2026-11-20T10:00:04Z',
  updated_at: '2026-11-20T10:06:31Z',
}))
for (const [index, { id: runId, html_url: runUrl, created_at: createdAt, updated_at: finishedAt }] of runs.entries()) {
  const requestId = `request-${String(index).padStart(4, '0')}`
  const ran = { requestId, runId, runUrl, createdAt, finishedAt, status: 'succeeded' } as const
  world.putObject(BUCKET, `deploys/${requestId}.json`, JSON.stringify(recordOf(ran)))
}
const steps = [{ name: 'Deploy', status: 'completed', conclusion: 'success', number: 1 }]
const json = (body: unknown): Reply => ({
  status: 200,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify(body),
})
const answers: [RegExp, Reply][] = [
  [/\/contents\//, { status: 200, headers: { 'content-type': 'application/vnd.github.raw+json' }, body: registry }],
  [/\/workflows\/[^/]+\/runs/, json({ total_count: runs.length, workflow_runs: runs })],
  [/\/jobs/, json({ total_count: 1, jobs: [{ name: 'deploy', steps }] })],
]

const faults = new Faults()
const [ec2, s3, github] = await Promise.all([
  ec2Endpoint(world, { faults, accessKeyId: KEY_ID }),
  s3Endpoint(world, { faults, accessKeyId: KEY_ID }),
  listen({
    service: 'github',
    faults,
    fail: () => ({ status: 502 }),
    handle: ({ url }) => answers.find(([path]) => path.test(url.pathname))?.[1] ?? { status: 404, body: '{}' },
  }),
])
process.stdout.write(
  `${JSON.stringify({
    CONTROL_API_TOKEN: 'cct_bench_0123456789',
    GITHUB_TOKEN: 'ghp_bench',
    GITHUB_REPO: 'acme/fleet',
    GITHUB_API_URL: github.url,
    S3_BUCKET: BUCKET,
    AWS_REGION: REGION,
    AWS_ENDPOINT_URL_EC2: ec2.url,
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ACCESS_KEY_ID: KEY_ID,
    AWS_SECRET_ACCESS_KEY: 'aws-bench-secret',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  })}\n`,
)
process.stdin.on('end', () => process.exit()).resume()
