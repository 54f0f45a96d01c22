import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import {
  baseImage,
  builtPath,
  nixBuildArgs,
  nixMetadataArgs,
  nixToplevelArgs,
  revisionOf,
} from '../../../src/lib/domain/images/build.js'
import {
  BIN,
  type Commanded,
  clawctl,
  expectFailure,
  registryOf,
  surroundings,
  temporaryFolder,
} from '../../support/cli.js'
import { FAKE_IMAGE, writeFakeNix } from '../../support/fakeNix.js'

describe('clawctl image build', () => {
  const files = temporaryFolder()
  let env: Record<string, string>

  before(async () => {
    await mkdir(files.path('nix'))
    const [x86, arm] = [registryOf(['clawdinator-1']), registryOf(['clawdinator-2']).replace('t3.large', 't4g.large')]
    await files.write('nix/instances.json', JSON.stringify({ ...JSON.parse(x86), ...JSON.parse(arm) }))
    await files.write('flake.nix', '{ outputs = _: { }; }')
    await writeFakeNix(files.path('bin'))
    const around = surroundings()
    env = { ...around, PATH: `${files.path('bin')}${delimiter}${around.PATH}` }
  })

  const build = (args: readonly string[], change: Commanded['env'] = {}) =>
    clawctl(['image', 'build', ...args], { process: true, cwd: files.path(''), env: { ...env, ...change } })

  it("builds, links and describes the image in every mode, with nix's output on stderr", async () => {
    const { code, stdout, stderr } = await build([], { CLAWCTL_MODE: 'agent' })
    expect(code, stderr).to.equal(0)
    expect(stdout.split('\n')[0]).to.equal('dist/image.json')
    expect(stderr).to.match(/evaluating .*#packages\.(?:x86_64|aarch64)-linux\.image/)
    const info = JSON.parse(await readFile(files.path('dist/image.json'), 'utf8'))
    const image = await readFile(join(files.path('dist'), info.path))
    expect(info).to.deep.include({
      schema: 1,
      name: 'clawdinator',
      path: 'result/nixos-amazon-image.raw',
      format: 'raw',
      logicalBytes: FAKE_IMAGE.bytes,
      sha256: createHash('sha256').update(image).digest('hex'),
      bootMode: 'legacy-bios',
      system: 'x86_64-linux',
      revision: '9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9',
      toplevel: FAKE_IMAGE.toplevel,
    })
    expect(info.allocatedBytes).to.be.within(700_000, 2_000_000)
  })

  it('prints one document with --json, and the reason for a missing revision: no lock, or a change', async () => {
    const unlocked = await build(['--out', 'out/unlocked'], { FAKE_NIX_DIRTY: '1' })
    expect(unlocked.stderr).to.include('There is no flake.lock').and.include('flake-lock.yml')
    expect(unlocked.stderr).not.to.include('uncommitted')
    await files.write('flake.lock', '{}')
    const changed = await build(['--out', 'out/changed'], { FAKE_NIX_DIRTY: '1' })
    expect(changed.stderr).to.include('uncommitted changes')
    const outcome = await build(['--json', '--out', 'out/a/', 'clawdinator-2'], { FAKE_NIX_DIRTY: '1' })
    const { image } = outcome.json()
    expect(image).to.include({ name: 'clawdinator', revision: null, infoPath: 'out/a/image.json' })
    expect(JSON.parse(await readFile(files.path('out/a/image.json'), 'utf8')).sha256).to.equal(image.sha256)
  })

  it('prints the command with --dry-run and runs nothing, for the platform of the named host', async () => {
    const systems = {
      'clawdinator-1': 'x86_64',
      'clawdinator-2': 'aarch64',
      'clawdinator-2 --system x86_64-linux': 'x86_64',
    }
    for (const [args, processor] of Object.entries(systems)) {
      const { code, stdout } = await build(['--dry-run', ...args.split(' '), '--out', 'dry'])
      expect(code).to.equal(0)
      expect(stdout, args).to.match(/^nix build .*--out-link dry\/result \S+#packages\.\S+-linux\.image\n$/)
      expect(stdout, args).to.include(`#packages.${processor}-linux.image`)
    }
    expect((await execa('ls', [files.path('')])).stdout).not.to.include('dry')
  })

  const failures: [what: string, args: string[], env: Commanded['env'], code: string, exit: number, says: RegExp][] = [
    ['no nix', [], { PATH: '/nowhere' }, 'TOOL_MISSING', 4, /determinate/],
    ['no such host', ['clawdinator-3'], {}, 'UNKNOWN_TARGET', 2, /Did you mean clawdinator-[12]\?/],
    ['a build that fails', [], { FAKE_NIX: 'fail' }, 'BUILD_FAILED', 1, /error: attribute missing/],
    ['a full disk', [], { FAKE_NIX: 'full' }, 'BUILD_FAILED', 1, /No space left on device.*nix-collect-garbage/s],
    [
      'another format',
      [],
      { FAKE_NIX: 'vhd' },
      'BUILD_FAILED',
      1,
      /built (?:a VHD|a file that is not an image).*amazonImage\.format = "raw"/s,
    ],
    ['no checkout', [], { CLAWCTL_CHECKOUT: '/nowhere' }, 'NOT_CONFIGURED', 4, /flake\.nix/],
  ]
  for (const [what, args, change, code, exit, says] of failures) {
    it(`${what}: reports it, and leaves no image.json`, async () => {
      const outcome = await build(['--json', '--out', `out/${code}-${what.length}`, ...args], change)
      const { message, hint } = expectFailure(outcome, code, exit)
      expect(`${message}\n${hint}`).to.match(says)
      const left = await readFile(files.path(`out/${code}-${what.length}/image.json`)).catch(() => null)
      expect(left).to.equal(null)
    })
  }

  it('passes arguments that a real nix understands (skipped without one that can evaluate)', async function () {
    const flake = files.path('real')
    await mkdir(flake)
    await files.write(
      'real/flake.nix',
      '{ outputs = _: { packages.x86_64-linux.image = derivation { name = "i"; system = "x86_64-linux"; builder = "/bin/sh"; } // { passthru.config.system.build.toplevel.outPath = "/nix/store/top"; }; }; }',
    )
    await files.write('nix.conf', 'substituters =')
    const nix = (args: string[]) =>
      execa('nix', args, { env: { HOME: flake, NIX_CONF_DIR: files.path('.') }, reject: false, timeout: 15_000 })
    const { attribute } = baseImage('x86_64-linux')
    const metadata = await nix(nixMetadataArgs(flake))
    if (metadata.failed) return this.skip()
    expect(revisionOf(metadata.stdout)).to.deep.equal({ revision: null, dirty: false })
    expect((await nix(nixToplevelArgs({ flake, attribute }))).stdout).to.equal('/nix/store/top')
    const built = await nix([...nixBuildArgs({ flake, attribute, out: flake }), '--dry-run'])
    expect(built.stderr).not.to.include('unrecognised')
    expect(builtPath(built.stdout)).to.match(/^\/nix\/store\/\S+-i$/)
  })

  it('ends nix when it is interrupted', async () => {
    const child = execa(process.execPath, [BIN, 'image', 'build', '--out', 'out/int'], {
      cwd: files.path(''),
      env: { ...env, FAKE_NIX: 'hang' },
      extendEnv: false,
      reject: false,
    })
    let said = ''
    child.stderr.on('data', (chunk) => {
      said += chunk
      if (!child.killed && said.includes('evaluating')) child.kill('SIGINT')
    })
    const { failed, stderr } = await child
    expect(failed).to.equal(true)
    expect(stderr).to.match(/CANCELLED.*The build was interrupted/)
  })
})
