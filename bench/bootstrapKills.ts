import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { clawctl, commit, makeFleet, startSandbox } from './bootstrapSupport.js'

/**
 * Kills `bootstrap upload all` at random moments, each time with something new to upload; after each, `bootstrap verify
 * all` must find every bundle complete. Exits with 1 otherwise:
 *   npm run bench:kills [KILLS]
 */
const KILLS = Number(process.argv[2] ?? 100)
const SIZE = { instances: 5, secrets: 7, repositories: 3, bytes: 600_000 }

const folder = mkdtempSync(join(tmpdir(), 'clawctl-kills-'))
try {
  const fleet = await makeFleet(folder, SIZE)
  const recipient = await identityToRecipient(await generateX25519Identity())
  const { sandbox, env } = await startSandbox(fleet.registry)
  try {
    const extra = fleet.extra.flatMap((name) => ['--extra-secret', name])
    const upload = ['bootstrap', 'upload', 'all', '--secrets-dir', fleet.secretsDir, '--repos', fleet.repos, ...extra]
    const verify = async () => {
      const { code, stdout } = await clawctl(['bootstrap', 'verify', 'all', '--json'], env)
      return { code, document: JSON.parse(stdout) }
    }
    const first = await clawctl(upload, env)
    if (first.code !== 0) throw new Error(first.stderr)
    // A later upload also reads the digests of the existing objects.
    let requests = 1.5 * sandbox.requests.length
    const tally = { killed: 0, finished: 0, broken: 0, leftovers: 0, moved: 0 }
    let generations = ''
    for (let kill = 1; tally.killed < KILLS; kill += 1) {
      const secrets = readdirSync(fleet.secretsDir).filter(() => Math.random() < 0.3)
      for (const name of secrets) {
        const encrypter = new Encrypter()
        encrypter.addRecipient(recipient)
        writeFileSync(join(fleet.secretsDir, name), await encrypter.encrypt(`${name} ${kill}`))
      }
      for (const clone of fleet.clones) if (Math.random() < 0.3) commit(clone, SIZE.bytes / SIZE.repositories)
      // The moment is a number of requests, not a time, because most of the time is the start of Node and git.
      const begun = sandbox.requests.length
      const last = begun + Math.random() * requests
      const ran = await clawctl(upload, env, () => sandbox.requests.length > last)
      tally[ran.code === null ? 'killed' : 'finished'] += 1
      if (ran.code !== null) requests = sandbox.requests.length - begun
      const { code, document } = await verify()
      const bundles = document.bundles as { generation: number; unnamed: number; problems: string[] }[]
      if (code !== 0) {
        tally.broken += 1
        process.stdout.write(`kill ${kill}: ${JSON.stringify(document.error)} ${JSON.stringify(bundles)}\n`)
      }
      const now = bundles.map(({ generation }) => generation).join(' ')
      if (now !== generations) tally.moved += 1
      generations = now
      if (bundles.some(({ unnamed }) => unnamed > 0)) tally.leftovers += 1
      if (kill % 20 === 0) process.stdout.write(`${JSON.stringify(tally)}\n`)
    }
    const last = await clawctl([...upload, '--json'], env)
    const { code, document } = await verify()
    const unnamed = (document.bundles as { unnamed: number }[]).reduce((sum, bundle) => sum + bundle.unnamed, 0)
    process.stdout.write(
      `${tally.killed} killed, ${tally.finished} had finished; manifests changed in ${tally.moved}, unnamed objects remained in ${tally.leftovers}; incomplete bundles after ${tally.broken}\n` +
        `then one full upload: exit ${last.code}, verify ${code}, unnamed objects ${unnamed}\n`,
    )
    process.exitCode = tally.broken === 0 && last.code === 0 && code === 0 && unnamed === 0 ? 0 : 1
  } finally {
    await sandbox.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
