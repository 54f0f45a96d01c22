import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

/**
 * Start-up of the installed package, as ratios to a bare `node -e 0` in the same run. It has no pass or fail:
 *   npm run bench [RUNS]
 */
const RUNS = Number(process.argv[2] ?? 21)
const FLEET = JSON.stringify({
  ok: true,
  fleet: {
    latestAmi: { id: 'ami-0a1c1aad1e5000002', name: 'clawdinator', createdAt: '2026-11-21T00:00:00.000Z' },
    instances: ['clawdinator-1', 'clawdinator-2'].map((id) => ({
      id,
      state: 'running',
      instanceId: 'i-0123456789abcdef0',
      ami: 'ami-0a1c1aad1e5000002',
      amiStatus: 'latest',
      instanceType: 't3.large',
      publicIp: '203.0.113.1',
      launchedAt: '2026-11-21T01:00:00.000Z',
      health: 'healthy',
      revision: '9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9',
    })),
  },
})

await measure()

/** A Control API in a separate thread, so that the measured process does not wait for this one. */
async function startServer(): Promise<{ url: string; stop: () => Promise<number> }> {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    const server = require('node:http').createServer((_, r) => { r.setHeader('content-type', 'application/json'); r.end(workerData) })
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`
  const worker = new Worker(source, { eval: true, workerData: FLEET })
  const port = await new Promise<number>((resolve) => worker.once('message', resolve))
  return { url: `http://127.0.0.1:${port}`, stop: () => worker.terminate() }
}

async function measure(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'clawctl-bench-'))
  const server = await startServer()
  try {
    const packed = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ) as { filename: string }[]
    const prefix = join(folder, 'prefix')
    const tarball = join(folder, packed[0]?.filename ?? '')
    execFileSync('npm', ['install', '--global', '--ignore-scripts', '--prefix', prefix, tarball], { stdio: 'ignore' })
    const clawctl = join(prefix, 'lib/node_modules/clawctl/bin/run.js')

    const cases: [string, string[]][] = [
      ['node -e 0', ['-e', '0']],
      ['clawctl --version', [clawctl, '--version']],
      ['clawctl fleet status --help', [clawctl, 'fleet', 'status', '--help']],
      ['clawctl fleet status', [clawctl, 'fleet', 'status']],
      ['clawctl fleet status --json', [clawctl, 'fleet', 'status', '--json']],
    ]
    // NODE_EXTRA_CA_CERTS costs every Node 20 start some 50 ms, which would hide our own time.
    const { NODE_EXTRA_CA_CERTS: _, CI: __, GITHUB_ACTIONS: ___, ...rest } = process.env
    const env = {
      ...rest,
      CLAWCTL_HOST_ROOT: folder,
      CLAWDINATOR_CONTROL_API_URL: server.url,
      CLAWDINATOR_CONTROL_TOKEN: 'token',
    }
    const times = new Map<string, number[]>(cases.map(([name]) => [name, []]))
    for (let run = -2; run < RUNS; run += 1) {
      for (const [name, args] of cases) {
        const started = process.hrtime.bigint()
        const { status } = spawnSync(process.execPath, args, { env, cwd: folder, stdio: 'ignore' })
        if (status !== 0) throw new Error(`${name} ended with ${status}`)
        if (run >= 0) times.get(name)?.push(Number(process.hrtime.bigint() - started) / 1e6)
      }
    }
    const bare = median(times.get('node -e 0') ?? [])
    process.stdout.write(`node ${process.version}, ${RUNS} runs each, medians\n`)
    for (const [name] of cases) {
      const own = median(times.get(name) ?? [])
      process.stdout.write(`${name.padEnd(30)} ${own.toFixed(1).padStart(7)} ms  ${(own / bare).toFixed(2)}x\n`)
    }
    const lambda = readFileSync(join(prefix, 'lib/node_modules/clawctl/dist/lambda/index.mjs')).length
    process.stdout.write(`Lambda bundle                  ${(lambda / 1000).toFixed(0).padStart(7)} KB\n`)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
