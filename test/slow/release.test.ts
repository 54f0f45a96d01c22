import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'

const run = promisify(execFile)

describe('scripts/release-artifacts.sh', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-release-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Builds in a copy, so that other tests can use the checkout's own dist/. */
  async function build(name: string): Promise<string> {
    const copy = join(folder, name)
    const skipped = new Set(['.git', 'dist', 'node_modules', 'oclif.manifest.json'].map((entry) => join(ROOT, entry)))
    await cp(ROOT, copy, { recursive: true, filter: (path) => !skipped.has(path) })
    await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
    await run('bash', [join(copy, 'scripts/release-artifacts.sh'), join(folder, `${name}-out`)], {
      env: { ...process.env, npm_config_offline: 'true' },
    })
    return readFile(join(folder, `${name}-out`, 'SHA256SUMS'), 'utf8')
  }

  it('builds the same package, zip and SBOM from the same sources, with their digests', async () => {
    const sums = await build('first')
    expect(await build('second')).to.equal(sums)
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    const names = [`clawctl-${version}.tgz`, `lambda-${version}.zip`, `clawctl-${version}.cdx.json`]
    expect(
      sums
        .trim()
        .split('\n')
        .map((line) => line.split('  ')[1]),
    ).to.deep.equal(names)
    expect(await readdir(join(folder, 'first-out'))).to.have.members([...names, 'SHA256SUMS'])
    const sbom = JSON.parse(await readFile(join(folder, 'first-out', names[2] ?? ''), 'utf8'))
    expect(sbom).to.include({ bomFormat: 'CycloneDX' }).and.not.to.have.property('serialNumber')
    expect(sbom.metadata.component).to.include({ name: 'clawctl', version })
  })

  it('requires npm ci if the packages are not installed', async () => {
    const copy = join(folder, 'bare')
    await cp(join(ROOT, 'scripts'), join(copy, 'scripts'), { recursive: true })
    const failed = await run('bash', [join(copy, 'scripts/release-artifacts.sh'), folder]).catch((error) => error)
    expect(failed).to.include({ code: 2 })
    expect(failed.stderr).to.equal('The packages are not installed. Run npm ci first.\n')
  })
})
