import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clawctl, makeFleet, startSandbox } from './bootstrapSupport.js'

/**
 * `bootstrap upload all` of 50 instances with 12 secrets and 6 repositories (200 MB) to the sandbox, twice, as a ratio.
 * It has no pass or fail:
 *   npm run bench:bootstrap [MEGABYTES]
 */
const MEGABYTES = Number(process.argv[2] ?? 200)
const SIZE = { instances: 50, secrets: 12, repositories: 6, bytes: MEGABYTES * 1_000_000 }

const folder = mkdtempSync(join(tmpdir(), 'clawctl-bench-'))
try {
  const fleet = await makeFleet(folder, SIZE)
  const { sandbox, env } = await startSandbox(fleet.registry)
  try {
    // The sandbox has bundles already; the first upload must start without any.
    for (const objects of sandbox.world.buckets.values()) objects.clear()
    const args = ['bootstrap', 'upload', 'all', '--json', '--secrets-dir', fleet.secretsDir, '--repos', fleet.repos]
    const extra = fleet.extra.flatMap((name) => ['--extra-secret', name])
    const runs = []
    for (const name of ['first run', 'second run']) {
      const before = sandbox.requests.length
      const ran = await clawctl([...args, ...extra], env)
      if (ran.code !== 0) throw new Error(`${name} ended with ${ran.code}: ${ran.stderr || ran.stdout}`)
      const requests = sandbox.requests.slice(before)
      const { bundles } = JSON.parse(ran.stdout).upload as { bundles: Record<string, number>[] }
      const sum = (field: string) => bundles.reduce((total, bundle) => total + (bundle[field] ?? 0), 0)
      runs.push(ran)
      process.stdout.write(
        `${name.padEnd(11)} ${(ran.ms / 1000).toFixed(2).padStart(7)} s  peak ${(ran.peakKiB / 1024).toFixed(0).padStart(4)} MiB  ` +
          `sent ${sum('sent')} (${(sum('sentBytes') / 1e6).toFixed(1)} MB)  copied ${sum('copied')}  kept ${sum('kept')}  ` +
          `PUT requests ${requests.filter(({ method }) => method === 'PUT').length}, others ${requests.filter(({ method }) => method !== 'PUT').length}\n`,
      )
    }
    const [first, second] = runs
    if (first && second) process.stdout.write(`second / first  ${(second.ms / first.ms).toFixed(3)}x\n`)
  } finally {
    await sandbox.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
