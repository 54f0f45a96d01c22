import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { expect } from 'chai'
import { execaSync } from 'execa'
import { runScript, SYSTEMCTL, throwAwayRoot } from './hostSupport.js'

const UNIT = 'clawdinator-bootstrap.service'

describe('stage.sh', () => {
  const root = throwAwayRoot()
  beforeEach(async () => {
    await root.program('systemctl', SYSTEMCTL)
    await root.program('journalctl', `[[ $* == *--lines* ]] && cat "$CLAWCTL_HOST_ROOT/journal" || true`)
    await root.write('journal', '')
    await root.write('dev/console', '')
  })
  const stage = (args: string[], env: Record<string, string> = {}) =>
    runScript('stage.sh', args, {
      env: { ...root.withPrograms(), CLAWCTL_HOST_ROOT: root.path(), STAGE_PAUSE: '0', ...env },
    })
  const stages = async () => (await root.read('run/clawdinator/stages')).split('\n').map((line) => line.split(' ')[0])
  const failure = async () => JSON.parse(await root.read('run/clawdinator/failure.json'))
  const asked = async () => (existsSync(root.path('systemctl.log')) ? root.read('systemctl.log') : '')
  const failed = { SERVICE_RESULT: 'exit-code', EXIT_STATUS: '4', INVOCATION_ID: 'a'.repeat(32) }

  it('records each stage once with its time, and sends a heartbeat immediately', async () => {
    for (const one of ['bundle', 'secrets', 'bundle', 'secrets', 'standby', 'active', 'yielded', 'active']) {
      const outcome = await stage(['working', one])
      expect(outcome.code, outcome.stderr).to.equal(0)
    }
    expect((await stages()).filter(Boolean)).to.deep.equal([
      'booted',
      'bundle',
      'secrets',
      'standby',
      'active',
      'yielded',
      'active',
    ])
    expect(await root.read('run/clawdinator/stages')).to.match(/^(\w+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n)+$/)
    const beats = (await asked()).split('\n').filter((line) => line.includes('clawdinator-heartbeat.service'))
    expect(beats).to.have.length(6)
    expect(await root.read('dev/console')).to.contain('clawdinator: stage secrets\n')
  })

  it('reports a failure with its last lines, also on the console, and clears it when the unit succeeds', async () => {
    await stage(['working', 'bundle'])
    await root.write('journal', `${'x'.repeat(3000)}\nS3 does not give config.json (status 403): AccessDenied\n`)
    await stage(['ended', 'bundle', UNIT], failed)
    const report = await failure()
    expect(report).to.include({ stage: 'bundle', unit: UNIT })
    expect(report.lines.at(-2)).to.equal('S3 does not give config.json (status 403): AccessDenied')
    expect(report.lines.at(-1)).to.equal(`${UNIT}: exit-code (4)`)
    expect(Buffer.byteLength(report.lines.join(''))).to.be.at.most(2048)
    expect(await root.read('dev/console')).to.contain('AccessDenied')

    await mkdir(root.path('var/lib/clawdinator/bootstrap/current'), { recursive: true })
    await root.write('var/lib/clawdinator/bootstrap/current/config.json', '{"generation": 7}')
    const passed = await stage(['passed', 'bundle', UNIT, 'start', 'clawdinator-secrets.service'])
    expect(passed.code, passed.stderr).to.equal(0)
    expect(existsSync(root.path('run/clawdinator/failure.json'))).to.equal(false)
    expect(await root.read('run/clawdinator/bundle')).to.equal('7\n')
    expect(await asked()).to.contain('--no-block start clawdinator-secrets.service')
  })

  it('reports no failure of a stopped unit, or of one in an earlier stage', async () => {
    await stage(['ended', 'bundle', UNIT], { SERVICE_RESULT: 'success' })
    await stage(['working', 'active'])
    await stage(['ended', 'bundle', UNIT], failed)
    expect(existsSync(root.path('run/clawdinator/failure.json'))).to.equal(false)
    await stage(['ended', 'active', 'clawdinator-gateway.service'], failed)
    expect(await failure()).to.include({ stage: 'active', unit: 'clawdinator-gateway.service' })
  })

  it('starts the next stage only during a boot', async () => {
    await root.write('var/lib/clawdinator/bootstrap/current/config.json', '{"generation": 1}')
    await stage(['working', 'standby'])
    await stage(['passed', 'bundle', UNIT, 'start', 'clawdinator-secrets.service'])
    expect(await asked()).not.to.contain('clawdinator-secrets.service')
  })

  it('lengthens the pauses, and resets them after a success', async () => {
    await root.program('sleep', 'printf "%s\\n" "$1" >>"$CLAWCTL_HOST_ROOT/slept"')
    await root.write('var/lib/clawdinator/bootstrap/current/config.json', '{"generation": 1}')
    for (let time = 0; time < 6; time++) await stage(['ended', 'bundle', UNIT], { ...failed, STAGE_PAUSE: '' })
    await stage(['passed', 'bundle', UNIT])
    await stage(['ended', 'bundle', UNIT], { ...failed, STAGE_PAUSE: '' })
    expect((await root.read('slept')).trim().split('\n')).to.deep.equal(['0', '5', '10', '20', '40', '40', '0'])
  })

  it('removes secrets from the report: known ones, and text in the form of one', async () => {
    const discord = `MTIzNDU2Nzg5MDEyMzQ1Njc4.${'GhIjKl'}.${'a1-_'.repeat(7)}`
    const aws = `wJalrXUtnFEMI/K7MDENG/${'bPxRfiCYzzzzzzzzzz'}`
    await root.write('run/agenix/anthropic-api-key', 'plain words that are the secret\n')
    await root.write('run/agenix/github-app-key', '-----BEGIN KEY-----\nline one of it\n-----END KEY-----\n')
    await root.write('run/clawdinator-gateway/token', `${'0123abcd'.repeat(4)}\n`)
    const lines = [
      'key=plain words that are the secret!',
      'PEM line one of it',
      `gateway ${'0123abcd'.repeat(4)}`,
      `discord ${discord}`,
      `aws ${aws}`,
      `id AKIA${'ABCDEFGHIJKLMNOP'}`,
      'Authorization: Bearer abcdef123456',
      'password="hunter22"',
      'https://jo:geheim@example.org/x',
      `age AGE-SECRET-KEY-1${'QQQQ'.repeat(12)}`,
      `github ghs_${'A1b2'.repeat(9)}`,
      `telegram 123456789:${'AaBb1-_'.repeat(5)}`,
    ]
    const useful = [
      'error: builder for /nix/store/0abf4qgmdhvmdjjyr5vx8ixshkjvbvz0-openclaw-gateway-2026.6.11.drv failed',
      'commit 63f9b56aa0e5c1b2d3f4a5b6c7d8e9f0a1b2c3d4 of /var/lib/clawd/repos/clawdinators',
      'at /var/lib/clawd/repos/clawdinators/nix/hosts/Common2.nix:12:3',
      'i-0123456789abcdef0 ami-0123456789abcdef0 2026-11-22T10:00:00Z https://github.com/openclaw/openclaw',
    ]
    await root.write('journal', `${[...lines, ...useful].join('\n')}\n`)
    await stage(['ended', 'active', 'clawdinator-gateway.service'], failed)
    const said: string = (await failure()).lines.join('\n')
    for (const secret of [
      'plain words',
      'line one',
      '0123abcd0123',
      discord.slice(0, 20),
      discord.slice(-12),
      'wJalr',
      'bPxRfi',
      'AKIAABC',
      'abcdef123456',
      'hunter22',
      'geheim',
      'KEY-1',
      'ghs_',
      'AaBb1',
    ]) {
      expect(said).not.to.contain(secret)
    }
    for (const line of useful) expect(said).to.contain(line)
    expect(await root.read('dev/console')).not.to.contain('hunter22')
  })
})

const age = execaSync('bash', ['-c', 'type -P age'], { reject: false }).exitCode === 0

describe('take-secrets.sh', () => {
  const root = throwAwayRoot()
  let identity: string
  const bundle = () => root.path('var/lib/clawdinator/bootstrap/current')
  beforeEach(async () => {
    identity = await generateX25519Identity()
    await root.program('systemctl', SYSTEMCTL)
    // Reads the file that the unit would decrypt; without age itself, only by the file's first line.
    if (!age)
      await root.program(
        'age',
        'grep -qs "$(tail -c 9 "$3")" "$4" || { echo "age: error: no identity matched" >&2; exit 1; }',
      )
    await root.write(
      'run/current-system/activate',
      '#!/usr/bin/env bash\necho activate >>"$CLAWCTL_HOST_ROOT/systemctl.log"\nmkdir -p "$CLAWCTL_HOST_ROOT/run/agenix"; echo token >"$CLAWCTL_HOST_ROOT/run/agenix/a"\n',
    )
    execaSync('chmod', ['+x', root.path('run/current-system/activate')])
    await install('one', identity)
  })

  /** A bundle with one secret, encrypted for an identity; `current` points to it. */
  async function install(name: string, recipient: string) {
    const folder = `var/lib/clawdinator/bootstrap/bundles/${name}`
    await root.write(`${folder}/config.json`, '{}')
    await root.write(`${folder}/secrets/age-identity.key`, `${identity}\n`)
    if (age) {
      const encrypter = new Encrypter()
      encrypter.addRecipient(await identityToRecipient(recipient))
      await root.write(`${folder}/secrets/a.age`, Buffer.from(await encrypter.encrypt('token')))
    } else await root.write(`${folder}/secrets/a.age`, `${recipient}\n`)
    await rm(bundle(), { force: true })
    await symlink(root.path(folder), bundle())
  }
  const take = (...files: string[]) =>
    runScript('take-secrets.sh', [bundle(), ...files], {
      env: { ...root.withPrograms(), CLAWCTL_HOST_ROOT: root.path() },
    })
  const asked = async () => (existsSync(root.path('systemctl.log')) ? root.read('systemctl.log') : '')

  it('only verifies in the image, decrypts on a host, and does nothing the second time', async () => {
    const image = await take()
    expect(image.code, image.stderr).to.equal(0)
    expect(await asked()).to.equal('')
    const host = await take('/run/agenix/a')
    expect(host.code, host.stderr).to.equal(0)
    expect(await asked()).to.equal('activate\n')
    await take('/run/agenix/a')
    expect(await asked()).to.equal('activate\n')
  })

  it('names a secret for another identity, and one that is missing after decryption', async () => {
    await install('two', await generateX25519Identity())
    const wrong = await take()
    expect(wrong.code).to.equal(1)
    expect(wrong.stderr)
      .to.contain("a.age can't be decrypted with this machine's identity")
      .and.contain('bootstrap upload')
    await install('three', identity)
    const missing = await take('/run/agenix/b')
    expect(missing.code).to.equal(1)
    expect(missing.stderr).to.contain('/run/agenix/b is missing or empty')
    await rm(root.path('var/lib/clawdinator/bootstrap/bundles/three/secrets/age-identity.key'))
    expect((await take()).stderr).to.contain('no age identity')
    expect((await runScript('take-secrets.sh', [root.path('none')], { env: root.withPrograms() })).code).to.equal(1)
  })

  it('restarts units that failed or use the old secrets, but only units that may run', async () => {
    await root.write(
      'units/clawdinator-active.target',
      'ActiveState=active\nWants=clawdinator-gateway.service x.timer\n',
    )
    await take('/run/agenix/a')
    expect(await asked()).not.to.contain('restart')
    await install('two', identity)
    const outcome = await take('/run/agenix/a')
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await asked())
      .to.contain('reset-failed clawdinator-*\nrestart --no-block clawdinator-gateway.service x.timer\n')
      .and.contain('start --no-block clawdinator-github-token.service')
    expect(await asked()).not.to.contain('standby')
  })
})

describe('switch-host.sh', () => {
  const root = throwAwayRoot()
  const system = (name: string) => root.path('systems', name)
  beforeEach(async () => {
    for (const name of ['image', 'host']) await mkdir(system(name), { recursive: true })
    for (const link of ['run/current-system', 'nix/var/nix/profiles/system']) {
      await mkdir(root.path(link, '..'), { recursive: true })
      await symlink(system('image'), root.path(link))
    }
    await root.write('etc/clawdinator/instance-name', 'clawdinator-1\n')
    await root.write('etc/clawdinator/host', 'host-1\n')
    await root.program('systemctl', 'echo "● clawdinator-github-sync.service loaded failed"')
    await root.write('var/lib/clawd/repos/clawdinators/flake.nix', '{ }')
    await root.write('var/lib/clawd/repos/clawdinators/flake.lock', '{ }')
  })
  const rebuild = (text: string) =>
    root.program(
      'nixos-rebuild',
      `R=$CLAWCTL_HOST_ROOT; echo "$*" >>$R/log; test -e $R/run/clawdinator/switching && echo still >>$R/log
       activate() { ln -sfn $R/systems/host $R/run/current-system; ln -sfn $R/systems/host $R/nix/var/nix/profiles/system; }
       ${text}`,
    )
  const switchHost = () =>
    runScript('switch-host.sh', [], { env: { ...root.withPrograms(), CLAWCTL_HOST_ROOT: root.path() } })
  const done = () => existsSync(root.path('var/lib/clawdinator/switched'))

  it('switches once to the host of the user data, while the checkout does not change', async () => {
    await rebuild('activate')
    const outcome = await switchHost()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await root.read('log')).to.equal(
      `switch --flake ${root.path('var/lib/clawd/repos/clawdinators')}#host-1\nstill\n`,
    )
    expect(existsSync(root.path('run/clawdinator/switching'))).to.equal(false)
    expect(await root.read('var/lib/clawdinator/switched')).to.equal(`unknown ${system('host')}\n`)
  })

  describe('the commit of the image', () => {
    const flake = () => root.path('var/lib/clawd/repos/clawdinators')
    const git = (folder: string, ...args: string[]) =>
      execFileSync('git', ['-C', folder, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: root.path(), GIT_CONFIG_NOSYSTEM: '1' },
      }).trim()
    let older: string
    let newer: string
    beforeEach(async () => {
      const origin = root.path('origin')
      await mkdir(origin)
      git(origin, 'init', '--quiet', '--initial-branch=main')
      git(origin, 'config', 'uploadpack.allowAnySHA1InWant', 'true')
      await mkdir(`${origin}/nix`)
      for (const ids of [['host-1'], ['host-1', 'host-2']]) {
        const registry = Object.fromEntries(ids.map((id) => [id, { host: id }]))
        await writeFile(`${origin}/nix/instances.json`, JSON.stringify(registry))
        await writeFile(`${origin}/flake.nix`, '{ }')
        await writeFile(`${origin}/flake.lock`, '{ }')
        git(origin, 'add', '--all')
        git(origin, 'commit', '--quiet', '--message=a commit')
      }
      ;[older, newer] = [git(origin, 'rev-parse', 'HEAD~1'), git(origin, 'rev-parse', 'HEAD')]
      await rm(flake(), { recursive: true })
      git(root.path(), 'clone', '--quiet', '--depth', '1', `file://${origin}`, flake())
      await rebuild('activate')
    })

    it('is used by an older image, although the bundle is newer', async () => {
      await root.write('var/lib/clawdinator/image-revision', older)
      const outcome = await switchHost()
      expect(outcome.code, outcome.stderr).to.equal(0)
      expect(await root.read('var/lib/clawdinator/switched')).to.match(new RegExp(`^${older} `))
      expect(outcome.stderr).to.contain('the configuration of the image is used')
    })

    it('is replaced by the newest commit if a person requested that', async () => {
      await root.write('var/lib/clawdinator/image-revision', older)
      await root.write('etc/clawdinator/config-revision', 'newest\n')
      expect((await switchHost()).code).to.equal(0)
      expect(await root.read('var/lib/clawdinator/switched')).to.match(new RegExp(`^${newer} `))
    })

    it('is replaced by the newest commit if the host was added after the image was built', async () => {
      await root.write('var/lib/clawdinator/image-revision', older)
      await root.write('etc/clawdinator/host', 'host-2\n')
      const outcome = await switchHost()
      expect(outcome.code, outcome.stderr).to.equal(0)
      expect(outcome.stderr).to.contain('has no host host-2')
      expect(await root.read('var/lib/clawdinator/switched')).to.match(new RegExp(`^${newer} `))
    })

    it("is reported if it can't be fetched, and the bundle's commit is used", async () => {
      await root.write('var/lib/clawdinator/image-revision', 'f'.repeat(40))
      const outcome = await switchHost()
      expect(outcome.code, outcome.stderr).to.equal(0)
      expect(outcome.stderr).to.contain("can't be fetched")
      expect(await root.read('var/lib/clawdinator/switched')).to.match(new RegExp(`^${newer} `))
    })
  })

  it('accepts a unit that fails for a reason other than the switch', async () => {
    await rebuild('activate; exit 4')
    const outcome = await switchHost()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(outcome.stderr).to.contain('but units failed')
    expect(done()).to.equal(true)
  })

  it('fails if the switch did not happen, and unlocks the checkout', async () => {
    await rebuild('exit 1')
    const outcome = await switchHost()
    expect(outcome.code).to.equal(1)
    expect(outcome.stderr).to.contain('switch to host-1')
    expect(done()).to.equal(false)
    expect(existsSync(root.path('run/clawdinator/switching'))).to.equal(false)
    await rm(root.path('var/lib/clawd/repos/clawdinators/flake.lock'))
    expect((await switchHost()).stderr).to.contain('no flake.lock')
    await writeFile(root.path('etc/clawdinator/host'), 'x; rm -rf /\n')
    expect((await switchHost()).code).to.equal(2)
    await rm(root.path('var/lib/clawd'), { recursive: true })
    await writeFile(root.path('etc/clawdinator/host'), 'host-1\n')
    expect((await switchHost()).stderr).to.contain('no checkout')
    expect(await readFile(root.path('log'), 'utf8')).to.contain('switch')
  })
})
