import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { PLAINTEXT, SecretsWorld } from '../support/bundles.js'
import { expectFailure, type Outcome, registryOf, TestSandbox, temporaryFolder } from '../support/cli.js'

const IDS = ['a', 'b', 'c']
const KMS_KEY = 'arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-0000-0000-000000000000'

describe('bootstrap and secrets', () => {
  const files = temporaryFolder()
  let sandbox: TestSandbox
  let secrets: SecretsWorld
  const shown: Outcome[] = []
  before(async () => {
    const [started, made] = await Promise.all([
      files.write('instances.json', registryOf(IDS)).then((registry) => TestSandbox.start({ registry, running: [] })),
      SecretsWorld.make(IDS),
    ])
    sandbox = started
    secrets = made
  })
  after(async () => {
    await sandbox.close()
    secrets.remove()
    for (const { stdout, stderr } of shown) {
      const said = stdout + stderr
      expect(said, 'a secret was printed')
        .not.to.include(PLAINTEXT)
        .and.not.match(/AGE-SECRET-KEY-1[A-Z0-9]{10}/)
    }
  })

  async function clawctl(as: string, ...args: string[]): Promise<Outcome> {
    const outcome = await sandbox.clawctl(as, args, { env: { CLAWCTL_SECRETS_DIR: secrets.secretsDir } })
    shown.push(outcome)
    return outcome
  }
  const upload = (...args: string[]) => clawctl('ci', 'bootstrap', 'upload', ...args, '--repos', secrets.repos)
  const verify = (...args: string[]) => clawctl('ci', 'bootstrap', 'verify', 'all', '--json', ...args)

  it("verifies the sandbox's own bundles, only in ci mode", async () => {
    const [own, laptop, host, empty, unknown] = await Promise.all([
      verify(),
      clawctl('laptop', 'bootstrap', 'upload', 'all', '--json'),
      clawctl('a', 'bootstrap', 'verify', 'all', '--mode', 'ci', '--json'),
      upload('all', '--json', '--identity='),
      upload('d', '--json'),
    ])
    expect(own.code).to.equal(0)
    const whole = own.json().bundles.map((bundle: { id: string; whole: boolean }) => [bundle.id, bundle.whole])
    expect(whole).to.deep.equal(IDS.map((id) => [id, true]))
    expectFailure(laptop, 'NOT_CI', 3)
    expectFailure(host, 'ON_AGENT_HOST', 3)
    expectFailure(empty, 'USAGE', 2)
    expectFailure(unknown, 'UNKNOWN_TARGET', 2)
  })

  it('uploads, verifies and deploys, with one document on stdout and nothing sent twice', async () => {
    const identities = ['--identities-dir', secrets.identitiesDir]
    const first = await upload('all', '--json', ...identities, '--kms-key', KMS_KEY)
    expect(first.code, first.stderr).to.equal(0)
    expect(first.json()).to.include({ ok: true })
    expect(first.json().upload.bundles.map(({ outcome }: { outcome: string }) => outcome)).to.deep.equal(
      IDS.map(() => 'replaced'),
    )
    const [verified, again, plan] = await Promise.all([
      verify('--deep', ...identities),
      upload('all'),
      clawctl('ci', 'fleet', 'deploy', 'a', '--plan-only'),
    ])
    expect(verified.code, verified.stdout).to.equal(0)
    expect(again.stdout).to.match(/^a +unchanged +2 +0 /m)
    expect(plan.code, plan.stderr).to.equal(0)
  })

  it('leaves every bundle complete after SIGKILL', async () => {
    const env = { ...(await sandbox.environment('ci')), CLAWCTL_SECRETS_DIR: secrets.secretsDir }
    await secrets.put('openai-api-key', IDS)
    await secrets.put('github-app-key', IDS)
    const puts = () => sandbox.inner.requests.filter(({ method }) => method === 'PUT').length
    const from = puts()
    const child = spawn('clawctl', ['bootstrap', 'upload', 'all', '--repos', secrets.repos], { env, stdio: 'ignore' })
    const ended = new Promise((resolve) => child.once('close', (_code, signal) => resolve(signal)))
    const watch = setInterval(() => puts() - from >= 2 && child.kill('SIGKILL'), 1)
    expect(await ended).to.equal('SIGKILL')
    clearInterval(watch)
    const { code, stdout } = await verify()
    expect(code, stdout).to.equal(0)
    const unnamed = stdout.match(/"unnamed": [1-9]/g) ?? []
    expect(unnamed, 'nothing was under way').not.to.deep.equal([])
  })

  it('refuses an invalid secret before anything is sent, and lists every problem', async () => {
    secrets.write('token-b', `${PLAINTEXT} in the clear`)
    secrets.write('openai-api-key', '')
    const asked = sandbox.asked('s3')
    const [refused, picture] = await Promise.all([upload('all', '--json'), clawctl('laptop', 'secrets', 'check')])
    expectFailure(refused, 'INVALID_SECRETS', 2)
    expect(refused.json().problems).to.deep.equal(['openai-api-key.age is empty', 'token-b.age is not age ciphertext'])
    expect(sandbox.asked('s3')).to.equal(asked)

    expect(picture.code).to.equal(2)
    expect(picture.stdout)
      .to.match(/^a +\? untested +\? untested +✖ bad( +\? untested){2} +- +\? untested$/m)
      .and.match(/^b +✖ bad +\? untested +✖ bad( +\? untested){2} +- +\? untested$/m)
    expect(picture.stderr).to.include('INVALID_SECRETS').and.include('token-b.age is not age ciphertext')
    await secrets.put('token-b', ['b'])
    await secrets.put('openai-api-key', IDS)
  })

  it("shows each instance's secrets on a laptop and on a host, without a request", async () => {
    await secrets.put('clawdinator-control-token-c', ['c'])
    const [picture, json] = await Promise.all([
      clawctl('a', 'secrets', 'check', '--identities-dir', secrets.identitiesDir),
      clawctl('laptop', 'secrets', 'check', '--json'),
    ])
    expect(picture.code).to.equal(0)
    expect(picture.stdout)
      .to.match(/^c +✔ +✔ +✔ +✔ +✔ own +- +✔$/m)
      .and.include('Every instance has all its secrets and can decrypt them.')
    const { secrets: report } = json.json()
    expect(report.instances[0].cells[0]).to.deep.include({ name: 'token-a', required: true, state: 'untested' })
  })

  it('creates and rotates identities in one step, and uploads no mixture of old and new', async () => {
    const maintainer = ['--identity', secrets.maintainerKey]
    const kms = ['--kms-key', KMS_KEY]
    const recipient = () => readFile(secrets.path('secrets/recipients/a.txt'), 'utf8')
    const before = await recipient()
    const [there, missing] = [
      await clawctl('laptop', 'secrets', 'identity', 'new', 'a', ...maintainer, '--json'),
      await clawctl('laptop', 'secrets', 'identity', 'rotate', 'a', '--json'),
    ]
    expectFailure(there, 'USAGE', 2)
    expectFailure(missing, 'USAGE', 2)
    expect(await recipient()).to.equal(before)

    const rotated = await clawctl('laptop', 'secrets', 'identity', 'rotate', 'a', ...maintainer, '--json')
    expect(rotated.code, rotated.stdout).to.equal(0)
    expect(rotated.json().written).to.include.members(['token-a.age', 'identities/a.age', 'recipients/a.txt'])
    expect(await recipient()).not.to.equal(before)
    // The bundle still has the old identity, which can't decrypt the files: the new one must be uploaded with them.
    const mixture = await upload('a', '--json')
    expectFailure(mixture, 'INVALID_SECRETS', 2)
    expect(mixture.json().problems[0]).to.include('the identity of a does not open it')
    const [others, whole] = [await upload('b', '--json'), await upload('a', '--json', ...maintainer, ...kms)]
    expect(others.code, others.stdout).to.equal(0)
    expect(whole.code, whole.stdout).to.equal(0)
    const verified = (await verify('--deep')).json().bundles
    expect(
      verified.map((bundle: { whole: boolean; untested: string[] }) => [bundle.whole, bundle.untested]),
    ).to.deep.equal(IDS.map(() => [true, []]))
    const a = JSON.parse(String(sandbox.bucket.get('bootstrap/a/config.json')?.body))
    const prints = a.objects.flatMap((object: { openedBy?: string }) => object.openedBy ?? [])
    const [identity] = a.objects.filter(({ kind }: { kind: string }) => kind === 'identity')
    expect(new Set(prints)).to.deep.equal(new Set(identity.fingerprints))
  })

  it('refuses a bundle without an identity, and names the command that creates one', async () => {
    sandbox.bucket.delete('bootstrap/b/config.json')
    const refused = await upload('b', '--json')
    expectFailure(refused, 'INVALID_SECRETS', 2)
    expect(refused.json().problems[0]).to.include('clawctl secrets identity new b')
    const mended = await upload('b', '--json', '--identity', secrets.maintainerKey, '--kms-key', KMS_KEY)
    expect(mended.code, mended.stdout).to.equal(0)
  })

  it("refuses secrets that the bundle's identity did not decrypt, by the manifest alone", async () => {
    const key = 'bootstrap/c/config.json'
    const text = String(sandbox.bucket.get(key)?.body)
    const manifest = JSON.parse(text)
    for (const object of manifest.objects) if (object.kind === 'identity') object.fingerprints = ['0123456789abcdef']
    sandbox.world.putObject(sandbox.inner.session.ci.S3_BUCKET ?? '', key, JSON.stringify(manifest))
    const [checked, deploy] = await Promise.all([verify(), clawctl('ci', 'fleet', 'deploy', 'c', '--json')])
    expectFailure(checked, 'BUNDLE_INCOMPLETE', 3)
    expect(JSON.stringify(checked.json().bundles)).to.include("is encrypted for another identity than the bundle's")
    expectFailure(deploy, 'BUNDLE_INCOMPLETE', 3)
    sandbox.world.putObject(sandbox.inner.session.ci.S3_BUCKET ?? '', key, text)
  })

  it('exits with 3 and every problem if a bundle does not verify, also in a deploy', async () => {
    const gone = [...sandbox.bucket.keys()].filter((key) => /\/(?:a\/secrets\/github|b\/repos)/.test(key))
    for (const key of gone) sandbox.bucket.delete(key)
    sandbox.bucket.delete('bootstrap/c/config.json')
    const [outcome, deploy] = await Promise.all([verify(), clawctl('ci', 'fleet', 'deploy', 'all', '--json')])
    expectFailure(outcome, 'BUNDLE_INCOMPLETE', 3)
    const problems = outcome.json().bundles.map((bundle: { problems: string[] }) => bundle.problems.length)
    expect(problems).to.deep.equal([1, 1, 1])
    expectFailure(deploy, 'BUNDLE_INCOMPLETE', 3)
    expect(sandbox.hosts()).to.deep.equal([])
  })
})
