import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { ageIdentities } from '../../../src/lib/adapters/bundles/ageIdentities.js'
import { secretsFolder } from '../../../src/lib/adapters/bundles/secretsFolder.js'
import { checkSecrets } from '../../../src/lib/ops/bundles/checkSecrets.js'
import { PLAINTEXT, SecretsWorld } from '../../support/bundles.js'
import { failureOf } from '../../support/failure.js'
import { entryOf, registrySource } from '../../support/fakes.js'

const IDS = ['a', 'b']
const registry = registrySource(IDS.map((id) => entryOf(id, { discordTokenSecret: `token-${id}` })))

describe('a secrets directory', () => {
  let world: SecretsWorld
  let whole: string[]
  before(async () => {
    world = await SecretsWorld.make(IDS)
    whole = readdirSync(world.secretsDir)
  })
  after(() => world.remove())
  afterEach(() => {
    for (const name of readdirSync(world.secretsDir, { encoding: 'buffer' })) {
      const path = Buffer.concat([Buffer.from(`${world.secretsDir}/`), name])
      if (!whole.includes(name.toString())) rmSync(path, { recursive: true })
    }
  })

  const at = (name: string) => join(world.secretsDir, name)
  const check = async (options: Parameters<typeof ageIdentities>[0] = {}, extra: string[] = []) => {
    const ports = { registry, secrets: secretsFolder(world.secretsDir), identities: ageIdentities(options) }
    const { report, failure } = await checkSecrets(extra, ports)
    expect(JSON.stringify([report, failure, failure?.message, failure?.details])).not.to.include(PLAINTEXT)
    return { report, failure }
  }

  it('passes the check if every instance has every secret that it needs', async () => {
    const { report, failure } = await check()
    expect(failure).to.equal(null)
    expect(report.instances.map(({ cells }) => cells.map(({ state }) => state))).to.deep.equal([
      [...Array(5).fill('untested'), 'missing', 'untested'],
      [...Array(5).fill('untested'), 'missing', 'untested'],
    ])
    expect([report.orphans, report.strays, report.shared]).to.deep.equal([[], [], []])
  })

  it('reports unused and wrongly named files without failing', async () => {
    writeFileSync(at('secrets.nix'), '{}')
    writeFileSync(at('README.md'), 'x')
    mkdirSync(at('.git'))
    mkdirSync(at('old'))
    await world.put('retired-key', ['a'])
    const { report, failure } = await check()
    expect(failure).to.equal(null)
    expect(report.strays).to.deep.equal(['"README.md"', '"old"', '"secrets.nix"'])
    expect(report.orphans).to.deep.equal(['retired-key'])
    expect((await check({}, ['retired-key'])).report.orphans).to.deep.equal([])
  })

  it('names every file that must not be in the directory', async () => {
    const outside = world.path('outside.age')
    writeFileSync(outside, 'x')
    writeFileSync(at('plain.age'), `${PLAINTEXT} in the clear`)
    writeFileSync(at('empty.age'), '')
    mkdirSync(at('folder.age'))
    symlinkSync(outside, at('out.age'))
    symlinkSync('../secrets/token-a.age', at('inside.age'))
    symlinkSync('nowhere', at('dangling.age'))
    symlinkSync('loop.age', at('loop.age'))
    symlinkSync(world.secretsDir, at('self.age'))
    writeFileSync(at('new\nline.age'), 'x')
    writeFileSync(at('\u0430nthropic-api-key.age'), 'x')
    writeFileSync(Buffer.concat([Buffer.from(at('latin-')), Buffer.from([0xff]), Buffer.from('.age')]), 'x')
    writeFileSync(at('huge.age'), Buffer.alloc(1024 * 1024 + 1))
    execFileSync('mkfifo', [at('pipe.age')])
    const { report } = await check()
    const { problems } = report
    for (const said of [
      /^plain\.age is not age ciphertext$/,
      /^empty\.age is empty$/,
      /^folder\.age is a directory$/,
      /^out\.age is a link that leads out of the secrets directory$/,
      /^dangling\.age is a broken link$/,
      /^loop\.age is a link to itself$/,
      /^self\.age is a link that leads out/,
      /^"new\\nline\.age" is not a valid name of a secret/,
      /^"\\u0430nthropic-api-key\.age" is not a valid name of a secret/,
      /^"latin-\\ufffd\.age" is not a valid name of a secret/,
      /^huge\.age has \d+ bytes, too many/,
      /^pipe\.age is not a regular file$/,
      /^inside\.age and token-a\.age have the same content$/,
    ]) {
      expect(
        problems.filter((problem) => said.test(problem)),
        String(said),
      ).to.have.length(1)
    }
    expect(problems).to.have.length(13)
  })

  const isRoot = process.getuid?.() === 0
  const unlessRoot = isRoot ? it.skip : it
  unlessRoot(`says what it may not read${isRoot ? ' (left out: root reads everything)' : ''}`, async () => {
    writeFileSync(at('closed.age'), 'x')
    chmodSync(at('closed.age'), 0)
    expect((await check()).report.problems).to.deep.equal(["closed.age can't be read: permission denied"])
  })

  it('fails if the path is missing or not a directory', async () => {
    for (const [folder, said] of [
      [world.path('none'), /does not exist/],
      [at('token-a.age'), /is not a directory/],
    ] as const) {
      const failure = await failureOf(secretsFolder(folder).read())
      expect(failure.code).to.equal('INVALID_SECRETS')
      expect(failure.message).to.match(said)
    }
  })

  describe('with identities', () => {
    it('decrypts every secret with the identity of its instance', async () => {
      expect((await check({ folder: world.identitiesDir })).failure).to.equal(null)
    })

    it("decrypts the encrypted identities with a maintainer's identity, and reports untested secrets", async () => {
      const untested = await check({})
      expect(untested.failure).to.equal(null)
      expect(untested.report.untested).to.equal(2 * 6)
      const opened = await check({ file: world.maintainerKey })
      expect(opened.report).to.deep.include({ untested: 0, problems: [] })
      expect((await check({ file: join(world.identitiesDir, 'a.key') })).report.problems).to.deep.equal([
        "identities/a.age can't be decrypted with --identity",
        "identities/b.age can't be decrypted with --identity",
      ])
    })

    it("names the secrets that an identity can't decrypt", async () => {
      const folder = world.path('swapped')
      mkdirSync(folder)
      for (const [id, other] of [
        ['a', 'a'],
        ['b', 'a'],
      ] as const) {
        writeFileSync(join(folder, `${id}.key`), `${world.identity(other)}\n`)
      }
      const { report } = await check({ folder })
      expect(report.problems).to.deep.equal(["token-b.age can't be decrypted: the identity of b does not open it"])
      expect(report.instances[1]?.cells[0]).to.include({ name: 'token-b', state: 'bad' })
    })

    it('detects equal tokens in two different ciphertexts', async () => {
      await world.put('clawdinator-control-token-a', ['a'], { plaintext: `${PLAINTEXT} same` })
      await world.put('clawdinator-control-token-b', ['b'], { plaintext: `${PLAINTEXT} same\n` })
      expect((await check()).failure).to.equal(null)
      const { report } = await check({ folder: world.identitiesDir })
      expect(report.shared).to.deep.equal([
        'clawdinator-control-token-a.age and clawdinator-control-token-b.age have the same plaintext',
      ])
    })

    it('refuses a secret that is encrypted only for ssh keys', async () => {
      const text = `age-encryption.org/v1\n-> ssh-ed25519 abcdEF ${'a'.repeat(43)}\n${'b'.repeat(43)}\n--- ${'c'.repeat(43)}\n`
      world.write('clawdinator-control-token-a', text + 'x'.repeat(64))
      const { report, failure } = await check({ folder: world.identitiesDir })
      expect(failure?.code).to.equal('INVALID_SECRETS')
      expect(report.instances[0]?.cells[4]).to.include({ state: 'bad' })
      expect(report.problems[0]).to.match(/^clawdinator-control-token-a\.age is encrypted only for ssh-ed25519 keys/)
      const without = await check({})
      expect(without.report.instances[0]?.cells[4]).to.include({ state: 'untested' })
      expect(without.failure).to.equal(null)
    })

    it('reads an identity from a pipe, and no more of it than an identity has', async () => {
      const pipe = world.path('identity-pipe')
      execFileSync('mkfifo', [pipe])
      const through = (write: string) => {
        const writer = execa('bash', ['-c', `${write} >"$0"`, pipe], { reject: false })
        return Promise.all([check({ file: pipe }), writer])
      }
      const [{ report }] = await through(`echo '${world.identity('a')}'`)
      const file = join(world.identitiesDir, 'a.key')
      expect(report).to.deep.equal((await check({ file })).report)
      const [endless] = await through('yes')
      expect(endless.report.problems[0]).to.match(/identity-pipe" is not an identity file/)
    })

    it('refuses a file that is not an identity, without showing its content', async () => {
      const folder = world.path('bad-identities')
      mkdirSync(folder)
      const identity = world.identity('a')
      writeFileSync(join(folder, 'a.key'), `${identity.slice(0, -1)}${identity.endsWith('Q') ? 'P' : 'Q'}\n`)
      const { report } = await check({ folder })
      const text = report.problems.join('\n')
      expect(report.problems).to.have.length(2)
      expect(text)
        .to.match(/a\.key" holds a damaged age identity/)
        .and.match(/b\.key" does not exist/)
      expect(text).not.to.include(world.identity('a').slice(0, 30))
      writeFileSync(join(folder, 'a.key'), '-----BEGIN OPENSSH PRIVATE KEY-----\nx\n')
      expect((await check({ folder })).report.problems[0]).to.include('is an ssh key')
    })
  })
})
