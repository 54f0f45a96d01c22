import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

/**
 * The built Control API, as Lambda loads it, against upstreams on loopback in another process. It has no pass or fail:
 *   npm run build && npm run bench:lambda [REQUESTS]
 */
const REQUESTS = Number(process.argv[2] ?? 10_000)
const STARTS = 21
const WARM = 1000
/** The fleet that the plane is built for. */
const LARGE = 100

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BUNDLE = join(ROOT, 'dist/lambda/index.mjs')

interface Sample {
  statusCode: number
  total: number
  own: number
  /** Requests to upstreams. */
  upstream: number
  /** CPU time of all its threads. */
  cpu: number
}
interface Figures {
  first: Sample
  samples: Sample[]
  memories: { heapKb: number; pages: number }[]
}

if (!existsSync(BUNDLE)) throw new Error('dist/lambda is not built: npm run build')
print('node', `${process.version}`)
print('bundle', `${(statSync(BUNDLE).size / 1000).toFixed(0)} KB minified`)
initialisation()
await inWorld(2, async (env) => {
  for (const [title, method, path, body, reused = false] of [
    ['GET /v1/fleet', 'GET', '/v1/fleet'],
    ['GET /v1/fleet, reused', 'GET', '/v1/fleet', undefined, true],
    ['GET /v1/deploys', 'GET', '/v1/deploys'],
    ['GET /v1/deploys/ID', 'GET', '/v1/deploys/request-0007'],
    ['POST again', 'POST', '/v1/deploys', { target: 'clawdinator-1', requestId: 'request-0007', requestedBy: 'Jo' }],
    ['POST refused', 'POST', '/v1/deploys', { target: 'all', caller: 'clawdinator-1' }],
  ] as const) {
    const { samples, first } = await drive(env, { event: event(method, path, body), runs: WARM, warmup: 100, reused })
    const own = samples.map((sample) => sample.own)
    const total = samples.map((sample) => sample.total)
    print(
      `${title} (${first.statusCode})`,
      `own p50 ${at(own, 0.5)}  p99 ${at(own, 0.99)}  CPU ${ms(mean(samples.map(({ cpu }) => cpu)))}  all p50 ${at(total, 0.5)}  p99 ${at(total, 0.99)}  ${samples.at(-1)?.upstream} upstream requests`,
    )
  }
  for (const [title, path, token] of [
    ['memory, GET /v1/fleet', '/v1/fleet', undefined],
    ['memory, GET /v1/deploys', '/v1/deploys', undefined],
    ['memory, no token', '/v1/fleet', 'wrong'],
  ] as const) {
    const asked = { event: event('GET', path, undefined, token), runs: REQUESTS, warmup: 2000, memory: true }
    const { memories } = await drive(env, asked)
    // The first tenth of the requests still fills caches.
    const [before, after] = [memories[1], memories.at(-1)]
    const heap = (after?.heapKb ?? 0) - (before?.heapKb ?? 0)
    const pages = (after?.pages ?? 0) - (before?.pages ?? 0)
    const course = memories.map(({ heapKb }) => Math.round(heapKb - (before?.heapKb ?? 0))).join(' ')
    print(title, `heap ${signed(heap)} KB, resident ${signed(pages)} pages over ${REQUESTS} requests (heap: ${course})`)
  }
})
await inWorld(LARGE, async (env) => {
  const { first, samples } = await drive(env, { event: event('GET', '/v1/fleet'), runs: 20, warmup: 1 })
  const total = samples.map((sample) => sample.total)
  const own = samples.map((sample) => sample.own)
  print(
    `${LARGE} instances, cold (${first.statusCode})`,
    `${ms(first.total)}  own ${ms(first.own)}  CPU ${ms(first.cpu)}  ${first.upstream} upstream requests`,
  )
  print(
    `${LARGE} instances, warm`,
    `p50 ${at(total, 0.5)}  max ${at(total, 1)}  own p50 ${at(own, 0.5)}  CPU ${at(
      samples.map(({ cpu }) => cpu),
      0.5,
    )}  ${samples.at(-1)?.upstream} upstream requests`,
  )
})

/** The time to evaluate the bundle, compared with a node that does nothing. */
function initialisation(): void {
  // NODE_EXTRA_CA_CERTS costs every Node 20 start some 50 ms, which would hide our own time.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env
  const bare: number[] = []
  const loaded: number[] = []
  for (let run = -2; run < STARTS; run += 1) {
    for (const [times, args] of [
      [bare, ['-e', '0']],
      [loaded, [BUNDLE]],
    ] as const) {
      const started = performance.now()
      const { status } = spawnSync(process.execPath, args, { env, stdio: 'ignore' })
      if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}`)
      if (run >= 0) times.push(performance.now() - started)
    }
  }
  const over = quantile(loaded, 0.5) - quantile(bare, 0.5)
  const ratio = quantile(loaded, 0.5) / quantile(bare, 0.5)
  print('initialisation', `+${ms(over)} over bare node (${at(bare, 0.5)}), ${ratio.toFixed(2)}x`)
}

async function inWorld(size: number, story: (env: Record<string, string>) => Promise<void>): Promise<void> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', join(ROOT, 'bench/lambda/world.ts'), String(size)],
    { stdio: ['pipe', 'pipe', 'inherit'], cwd: ROOT },
  )
  try {
    const [line] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer]
    await story(JSON.parse(String(line)))
  } finally {
    child.stdin?.end()
    if (child.exitCode === null) await once(child, 'exit')
  }
}

async function drive(
  env: Record<string, string>,
  { reused = false, ...job }: { event: object; runs: number; warmup: number; memory?: boolean; reused?: boolean },
): Promise<Figures> {
  const { NODE_EXTRA_CA_CERTS: _, ...rest } = process.env
  const argument = JSON.stringify({ ...job, module: pathToFileURL(BUNDLE).href })
  const args = ['--expose-gc', join(ROOT, 'bench/lambda/driver.mjs'), argument]
  // Cached answers would hide the cost of a request.
  const reuse = reused ? {} : { CONTROL_API_REUSE_MS: '0' }
  const options = { env: { ...rest, ...env, ...reuse }, maxBuffer: 64 * 1024 * 1024 }
  const { stdout } = await promisify(execFile)(process.execPath, args, options)
  return JSON.parse(stdout) as Figures
}

function event(method: string, path: string, body?: object, token = 'cct_bench_0123456789'): object {
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: '',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    requestContext: { http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' }, requestId: 'aws-1' },
    ...(body ? { body: JSON.stringify(body) } : {}),
    isBase64Encoded: false,
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function at(values: readonly number[], share: number): string {
  return ms(quantile(values, share))
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`
}

function signed(value: number): string {
  return `${value < 0 ? '-' : '+'}${Math.abs(Math.round(value))}`
}

function print(title: string, text: string): void {
  process.stdout.write(`${title.padEnd(32)} ${text}\n`)
}
