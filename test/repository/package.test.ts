import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'

/** Text that looks like a credential. */
const SECRETS = [
  /\b(?:AKIA|ASIA)(?!SANDBOX)[0-9A-Z]{16}\b/,
  /\bgh[pousr]_[A-Za-z0-9]{30,}/,
  /\bgithub_pat_[A-Za-z0-9_]{30,}/,
  // A library may contain the first line of a key to detect one; a real key continues after it.
  /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\s|\\n)*[A-Za-z0-9+/]{16}/,
  /AGE-SECRET-KEY-1[0-9A-Z]{50,}/,
]

describe('package.json', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>

  it('has a manifest with only the optional keychain dependency: everything else is bundled', async () => {
    const { packedManifest } = (await import(join(ROOT, 'scripts/build/pack-manifest.mjs'))) as {
      packedManifest(full: object): object
    }
    const packed = packedManifest(manifest)
    for (const name of ['dependencies', 'devDependencies', 'peerDependencies']) {
      expect(packed).not.to.have.property(name)
    }
    expect(Object.keys(manifest.optionalDependencies as object)).to.deep.equal(['@napi-rs/keyring'])
    expect(packed).to.have.property('optionalDependencies').that.deep.equals(manifest.optionalDependencies)
    expect(packed).to.include({ name: manifest.name, version: manifest.version, bin: manifest.bin })
    expect(manifest).not.to.have.any.keys('peerDependencies', 'bundleDependencies')
    expect(manifest.scripts).to.have.property('prepack').that.includes('pack-manifest.mjs')
    expect(manifest.scripts).to.have.property('postpack').that.includes('pack-manifest.mjs restore')
  })

  it('requires the same Node version as bin/run.js', () => {
    const [, major, minor] = /OLDEST = \[(\d+), (\d+)\]/.exec(readFileSync(join(ROOT, 'bin/run.js'), 'utf8')) ?? []
    expect(manifest.engines).to.deep.equal({ node: `>=${major}.${minor}` })
  })

  it('runs no script at its installation', () => {
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
      expect(manifest.scripts).not.to.have.property(name)
    }
  })

  it('lists existing files without patterns, because Nix copies the same list', () => {
    for (const file of manifest.files as string[]) expect(file).to.match(/^[\w./-]+$/)
  })

  it('pins every tool to one version', () => {
    for (const [name, version] of Object.entries({
      ...(manifest.dependencies as Record<string, string>),
      ...(manifest.optionalDependencies as Record<string, string>),
      ...(manifest.devDependencies as Record<string, string>),
    })) {
      expect(version, name).to.match(/^(?:npm:[\w@/-]+@)?\d+\.\d+\.\d+$/)
    }
  })
})

describe('npm pack before npm ci', () => {
  it('prints one line with the fix', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-pack-'))
    cpSync(join(ROOT, 'scripts/build'), join(folder, 'scripts/build'), { recursive: true })
    const failure = await promisify(execFile)(process.execPath, ['scripts/build/build.mjs'], { cwd: folder }).then(
      () => null,
      (error: { code: number; stderr: string }) => error,
    )
    rmSync(folder, { recursive: true })
    expect(failure).to.include({ code: 1 })
    expect(failure?.stderr).to.equal('The packages of the checkout are not installed: run `npm ci` first.\n')
  })
})

describe('npm run build', () => {
  const OWN = [
    'THIRD_PARTY_LICENSES',
    'chunks',
    'commandNotFound.js',
    'commands',
    'help.js',
    'lambda',
    'lambda.zip',
    'main.js',
    'sandbox',
  ]
  it('replaces its own output in dist/, and keeps images there', () => {
    const source = readFileSync(join(ROOT, 'scripts/build/build.mjs'), 'utf8')
    const [, named = ''] = /const OURS = new Set\(\[([^\]]*)\]\)/.exec(source) ?? []
    expect([...named.matchAll(/'([^']+)'/g)].map(([, name]) => name)).to.have.members(OWN)
    if (existsSync(join(ROOT, 'dist'))) expect(readdirSync(join(ROOT, 'dist'))).to.include.members(OWN)
  })
})

describe('npm pack', () => {
  let files: string[]
  before(async function () {
    if (!existsSync(join(ROOT, 'dist/main.js'))) {
      process.stdout.write('    dist is not built: `npm run build`\n')
      this.skip()
    }
    const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      env: { ...process.env, npm_config_offline: 'true' },
      maxBuffer: 16 * 1024 * 1024,
    })
    const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[]
    files = (packed?.files ?? []).map((file) => file.path)
  })

  it('contains entry, code, manifest, Lambda, and the files of sandbox and CI', () => {
    expect(files).to.include.members([
      'bin/run.js',
      'dist/main.js',
      'dist/lambda/index.mjs',
      'dist/THIRD_PARTY_LICENSES',
      'dist/sandbox/tofu.js',
      'oclif.manifest.json',
      'package.json',
      '.github/workflows/fleet-deploy.yml',
      '.github/actions/build-clawctl/action.yml',
      '.github/actions/setup-clawctl/action.yml',
      'infra/opentofu/aws/fleet/main.tf',
      'infra/opentofu/aws/fleet/user-data.sh.tftpl',
      'nix/instances.json',
      'clawdinator/repos.tsv',
    ])
  })

  it('contains no source, test, map, key, state or environment file', () => {
    const allowed =
      /^(?:bin\/run\.js|dist\/(?:chunks|commands|lambda|sandbox)\/[\w./-]+\.m?js|dist\/\w+\.js|dist\/THIRD_PARTY_LICENSES|oclif\.manifest\.json|package\.json|README\.md|LICENSE|\.github\/(?:actions|workflows)\/[\w./-]+\.yml|infra\/opentofu\/aws\/fleet\/[\w.-]+\.(?:tf|tftpl)|nix\/instances\.json|nix\/hosts\/[\w.-]+\.nix|clawdinator\/repos\.tsv)$/
    expect(files.filter((file) => !allowed.test(file))).to.deep.equal([])
    expect(files.filter((file) => /(?:^|\/)test(?:s)?\/|\.test\.|\.map$|\.ts$/.test(file))).to.deep.equal([])
  })

  it('lists every bundled package with its licence, and each licence text once', () => {
    const notice = readFileSync(join(ROOT, 'dist/THIRD_PARTY_LICENSES'), 'utf8')
    const named = [...notice.matchAll(/^(@?[\w./-]+)@[\w.-]+ \([^)]+\)$/gm)].map(([, name]) => name ?? '')
    expect(named).to.include.members(['@oclif/core', '@aws-sdk/client-ec2', 'zod', 'listr2'])
    expect(new Set(named).size).to.be.within(50, named.length)
    const texts = notice.split('-'.repeat(80))
    expect(new Set(texts.map((text) => text.replace(/^[\s\S]*?\)\n\n/, ''))).size).to.equal(texts.length)
    for (const text of texts) expect(text.length).to.be.greaterThan(500)
  })

  it('contains no text that looks like a credential', () => {
    for (const file of files) {
      const text = readFileSync(join(ROOT, file), 'utf8')
      for (const secret of SECRETS) expect(secret.exec(text)?.[0], file).to.equal(undefined)
    }
  })

  it('contains no source map inside the code', () => {
    for (const file of files.filter((name) => /\.m?js$/.test(name))) {
      expect(readFileSync(join(ROOT, file), 'utf8'), file).not.to.match(/^\/\/# sourceMappingURL=/m)
    }
  })
})
