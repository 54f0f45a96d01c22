import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { surroundings, TestSandbox } from '../support/cli.js'
import { Between, runScript, script, sha256, signedFor, throwAwayRoot } from './hostSupport.js'

const PREFIX = 'bootstrap/clawdinator-1'
const SECRET = 'AKsecret/that+no=process'

interface BundleObject {
  kind: string
  name: string
  file: string
  key: string
  size: number
  sha256: string
  commit?: string
}

describe('bootstrap-runtime.sh', () => {
  const root = throwAwayRoot()
  let sandbox: TestSandbox
  let s3: Between
  before(async () => {
    sandbox = await TestSandbox.start({ running: [] })
    s3 = await Between.start(sandbox.inner.session.ci.AWS_ENDPOINT_URL_S3 ?? '', [SECRET, 'a-session-token'])
  })
  after(async () => {
    await s3.close()
    await sandbox.close()
  })
  beforeEach(async () => {
    s3.sabotage = () => undefined
    s3.seen.length = 0
    await host({})
  })
  afterEach(() => expect(s3.leaked, 'credentials in the process table').to.deep.equal([]))

  const bucket = () => sandbox.inner.session.ci.S3_BUCKET ?? ''
  async function host(values: { id?: string; prefix?: string }) {
    await root.write('etc/clawdinator/instance-name', `${values.id ?? 'clawdinator-1'}\n`)
    await root.write('etc/clawdinator/bootstrap-prefix', `${values.prefix ?? PREFIX}\n`)
  }
  const environment = () => ({
    CLAWCTL_HOST_ROOT: root.path(),
    S3_BUCKET: bucket(),
    AWS_REGION: 'eu-central-1',
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ACCESS_KEY_ID: sandbox.inner.session.ci.AWS_ACCESS_KEY_ID ?? '',
    AWS_SECRET_ACCESS_KEY: SECRET,
    AWS_SESSION_TOKEN: 'a-session-token',
  })
  const bootstrap = (env: Record<string, string> = {}) =>
    runScript('bootstrap-runtime.sh', [], { env: { ...environment(), ...env } })
  const state = (...parts: string[]) => root.path('var/lib/clawdinator/bootstrap', ...parts)
  const installed = (file: string) => readFile(state('current', file), 'utf8')
  const put = (key: string, body: string | Buffer) => sandbox.world.putObject(bucket(), key, Buffer.from(body))

  function bundle(
    contents: Record<string, string | Buffer>,
    change: { generation?: number; prefix?: string; manifest?: (manifest: Record<string, unknown>) => unknown } = {},
  ): BundleObject[] {
    const prefix = change.prefix ?? PREFIX
    const generation = change.generation ?? 1
    const objects = Object.entries(contents).map(([file, body]) => {
      const digest = sha256(body)
      const [, folder, name, ending] = /^(\w+)\/(.*?)\.(.*)$/.exec(file) ?? []
      const key = `${folder}/${name}.${generation}.${digest.slice(0, 16)}.${ending}`
      put(`${prefix}/${key}`, body)
      return { kind: 'secret', name: name ?? '', file, key, size: Buffer.byteLength(body), sha256: digest }
    })
    const manifest = {
      schema: 2,
      generation,
      instance: { id: 'clawdinator-1', host: 'clawdinator-1', bootstrapPrefix: prefix },
      revision: null,
      objects,
    }
    const changed = change.manifest?.(manifest) ?? manifest
    put(`${prefix}/config.json`, typeof changed === 'string' ? changed : JSON.stringify(changed))
    return objects
  }

  it('installs the whole bundle for root only, and does nothing the second time', async () => {
    bundle({
      'secrets/a.age': 'one',
      'secrets/age-identity.key': 'AGE-SECRET-KEY-1',
      'repos/r.tar.gz': Buffer.alloc(0),
    })
    const first = await bootstrap()
    expect(first.code, first.stderr).to.equal(0)
    expect(await installed('secrets/a.age')).to.equal('one')
    expect((await stat(state('current/secrets/age-identity.key'))).mode & 0o777).to.equal(0o400)
    expect((await stat(state())).mode & 0o077).to.equal(0)
    expect(JSON.parse(await installed('config.json')).generation).to.equal(1)
    expect(await installed('repos/r.tar.gz')).to.equal('')

    const before = { link: await readlink(state('current')), at: (await stat(state('installed'))).mtimeMs }
    s3.seen.length = 0
    const second = await bootstrap()
    expect(second.code).to.equal(0)
    expect(second.stderr).to.contain('unchanged')
    expect(s3.seen.map(({ url }) => url.split('/').at(-1))).to.deep.equal(['config.json'])
    expect({ link: await readlink(state('current')), at: (await stat(state('installed'))).mtimeMs }).to.deep.equal(
      before,
    )
  })

  it('signs its requests, with the session token', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    const [request = { method: '', url: '', headers: {} as IncomingMessage['headers'] }] = s3.seen
    const { headers } = request
    expect(headers.authorization).to.match(
      /\/eu-central-1\/s3\/aws4_request,.*x-amz-content-sha256.*x-amz-security-token/,
    )
    expect(signedFor(request, SECRET)).to.equal(true)
    expect(signedFor(request, 'another')).to.equal(false)
    expect(headers['x-amz-security-token']).to.equal('a-session-token')
  })

  it('reads region and credentials from the metadata service if they are not set', async () => {
    bundle({ 'secrets/a.age': 'one' })
    const answers: Record<string, string> = {
      '/latest/api/token': 'the-token',
      '/latest/meta-data/placement/region': 'eu-west-1',
      '/latest/meta-data/iam/security-credentials/': 'a-role',
      '/latest/meta-data/iam/security-credentials/a-role': JSON.stringify({
        AccessKeyId: sandbox.inner.session.ci.AWS_ACCESS_KEY_ID,
        SecretAccessKey: SECRET,
        Token: 'a-session-token',
      }),
    }
    const imds = await Between.start('http://127.0.0.1:9', [])
    // The credentials of a new role are available only after some time.
    let late = 2
    imds.sabotage = ({ url, method, headers }) =>
      url?.includes('security-credentials') && late-- > 0
        ? { status: 404 }
        : method === 'PUT' || headers['x-aws-ec2-metadata-token'] === 'the-token'
          ? { status: 200, body: answers[url ?? ''] ?? '' }
          : { status: 401 }
    const none = { AWS_REGION: '', AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_SESSION_TOKEN: '' }
    const elsewhere = await bootstrap({ ...none, AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url })
    expect(s3.seen[0]?.headers.authorization).to.contain('/eu-west-1/s3/')
    expect(elsewhere.code).to.equal(4)
    expect(elsewhere.stderr).to.include('is not in eu-west-1')
    answers['/latest/meta-data/placement/region'] = 'eu-central-1'
    const outcome = await bootstrap({ ...none, AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url })
    await imds.close()
    expect(outcome.code, outcome.stderr).to.equal(0)
  })

  it('fetches only changed objects, and removes objects that the new bundle does not have', async () => {
    bundle({ 'secrets/a.age': 'one', 'secrets/b.age': 'two' })
    await bootstrap()
    s3.seen.length = 0
    bundle({ 'secrets/a.age': 'one', 'secrets/c.age': 'three' }, { generation: 2 })
    expect((await bootstrap()).code).to.equal(0)
    expect(s3.asked('secrets/')).to.equal(1)
    expect(await installed('secrets/c.age')).to.equal('three')
    expect(existsSync(state('current/secrets/b.age'))).to.equal(false)
    expect(await readdir(state('bundles'))).to.have.length(1)
    expect(await readdir(state('objects'))).to.have.length(2)
  })

  it('installs another bundle if the prefix changes', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    await host({ prefix: 'elsewhere/1' })
    bundle({ 'secrets/a.age': 'moved' }, { prefix: 'elsewhere/1' })
    expect((await bootstrap()).code).to.equal(0)
    expect(await installed('secrets/a.age')).to.equal('moved')
    expect(await root.read('var/lib/clawdinator/bootstrap/installed')).to.contain('elsewhere/1')
  })

  it('repairs an installed bundle with a missing file', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    await execa('rm', ['-f', state('current/secrets/a.age')])
    expect((await bootstrap()).code).to.equal(0)
    expect(await installed('secrets/a.age')).to.equal('one')
  })

  it('keeps the old bundle if an object differs from config.json', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    for (const [body, says] of [
      ['TWO', 'another digest'],
      ['longer', '6 bytes instead of 3'],
      [null, 'does not exist'],
    ] as const) {
      const [object] = bundle({ 'secrets/a.age': 'two' }, { generation: 2 })
      const key = `${PREFIX}/${object?.key}`
      if (body === null) sandbox.bucket.delete(key)
      else put(key, body)
      const outcome = await bootstrap({ BOOTSTRAP_ROUNDS: '1' })
      expect(outcome.code, outcome.stderr).to.equal(1)
      expect(outcome.stderr).to.contain(says).and.contain('clawctl bootstrap verify clawdinator-1')
      expect(await installed('secrets/a.age')).to.equal('one')
    }
  })

  it('starts again if the bundle is replaced meanwhile', async () => {
    const [old] = bundle({ 'secrets/a.age': 'one' })
    s3.sabotage = ({ url }) => {
      if (!url?.includes(old?.key ?? '-')) return undefined
      sandbox.bucket.delete(`${PREFIX}/${old?.key}`)
      bundle({ 'secrets/a.age': 'two' }, { generation: 2 })
      return undefined
    }
    const outcome = await bootstrap()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await installed('secrets/a.age')).to.equal('two')
  })

  it('resumes after a broken connection, in the same run and in the next one', async () => {
    const body = Buffer.alloc(300_000, 'seed')
    const [object] = bundle({ 'repos/r.tar.gz': body })
    const ranges = () => s3.seen.filter(({ url }) => url.includes('repos/')).map(({ headers }) => headers.range)
    s3.sabotage = ({ url }) => (url?.includes('repos/') ? { cutAfter: 70_000 } : undefined)
    const broken = await bootstrap({ S3_ATTEMPTS: '2' })
    expect(broken.code, broken.stderr).to.equal(4)
    expect(ranges()).to.deep.equal([undefined, 'bytes=70000-'])
    expect(existsSync(state('current'))).to.equal(false)

    s3.sabotage = () => undefined
    s3.seen.length = 0
    expect((await bootstrap()).code).to.equal(0)
    expect(ranges()).to.deep.equal(['bytes=140000-'])
    expect(sha256(await readFile(state('current/repos/r.tar.gz')))).to.equal(object?.sha256)
  })

  it('leaves the old or the new bundle complete after a kill at any moment', async () => {
    bundle({ 'secrets/a.age': 'one', 'secrets/b.age': 'one' })
    await bootstrap()
    const manifest = await installed('config.json')
    bundle({ 'secrets/a.age': 'two', 'secrets/b.age': 'two', 'secrets/c.age': 'two' }, { generation: 2 })
    for (const delay of [40, 90]) {
      const run = execa('bash', [script('bootstrap-runtime.sh')], {
        env: { ...surroundings(), ...environment(), S3_PAUSE: '0' },
        extendEnv: false,
        reject: false,
      })
      setTimeout(() => run.kill('SIGKILL'), delay)
      await run
      const values = [await installed('secrets/a.age'), await installed('secrets/b.age')]
      expect(values).to.be.deep.oneOf([
        ['one', 'one'],
        ['two', 'two'],
      ])
      if (values[0] === 'one') expect(await installed('config.json')).to.equal(manifest)
    }
    expect((await bootstrap()).code).to.equal(0)
    expect(await installed('secrets/c.age')).to.equal('two')
  })

  it('retries after throttling, errors and a role that is not active yet', async () => {
    bundle({ 'secrets/a.age': 'one' })
    const statuses = [503, 403, 429, 500]
    s3.sabotage = () => {
      const status = statuses.shift()
      return status === undefined ? undefined : { status }
    }
    const outcome = await bootstrap()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(statuses).to.deep.equal([])
  })

  it("shows S3's own code and message for every error", async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    for (const [status, code] of [
      [403, 'AccessDenied'],
      [403, 'RequestTimeTooSkewed'],
      [403, 'KMS.DisabledException'],
      [404, 'NoSuchBucket'],
    ] as const) {
      s3.sabotage = () => ({
        status,
        body: `<?xml?>\n<Error><Code>${code}</Code><Message>as ${code} says</Message></Error>`,
      })
      const denied = await bootstrap()
      expect(denied.code).to.equal(4)
      expect(denied.stderr).to.contain(`(status ${status}): ${code}: as ${code} says`)
      expect(await installed('secrets/a.age')).to.equal('one')
    }
  })

  it('detects a file that is damaged on the disk, and fetches it again', async () => {
    bundle({ 'secrets/a.age': 'one', 'secrets/b.age': 'two' })
    await bootstrap()
    const file = state('current/secrets/a.age')
    await chmod(file, 0o600)
    await writeFile(file, 'ONE')
    s3.seen.length = 0
    const outcome = await bootstrap()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(outcome.stderr).to.contain('secrets/a.age of the installed bundle has changed on the disk')
    expect(await installed('secrets/a.age')).to.equal('one')
    expect(s3.asked('secrets/')).to.equal(1)
  })

  it('detects it after a reboot and once a day, although no time of the file has changed', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    await bootstrap()
    const file = state('current/secrets/a.age')
    const { atime, mtime } = await stat(file)
    await chmod(file, 0o600)
    await writeFile(file, 'ONE')
    await utimes(file, atime, mtime)
    const seen = await readFile(state('verified'), 'utf8')
    await writeFile(state('verified'), seen.replace(/^\S+ \S+/, 'another-boot 2026-01-01'))
    expect((await bootstrap()).code).to.equal(0)
    expect(await installed('secrets/a.age')).to.equal('one')
  })

  it('removes what an interrupted fetch of another bundle left', async () => {
    bundle({ 'secrets/a.age': 'one' })
    await bootstrap()
    await writeFile(state(`objects/${'a'.repeat(64)}.part`), 'in the way')
    bundle({ 'secrets/a.age': 'two' }, { generation: 2 })
    expect((await bootstrap()).code).to.equal(0)
    expect(await readdir(state('objects'))).to.deep.equal([sha256('two')])
  })

  describe('refuses a manifest', () => {
    const cases: [string, string, (manifest: Record<string, unknown>) => unknown][] = [
      ['of another schema', 'schema is 1', (m) => ({ ...m, schema: 1 })],
      ['of another instance', '"clawdinator-2"', (m) => ({ ...m, instance: { id: 'clawdinator-2' } })],
      ['of another prefix', '"x"', (m) => ({ ...m, instance: { id: 'clawdinator-1', bootstrapPrefix: 'x' } })],
      ['without objects', 'no objects', (m) => ({ ...m, objects: [] })],
      ['that is not an object', 'not a JSON object', () => [1]],
      ['that is empty', 'not one JSON document', () => ''],
      ['that is truncated', 'not JSON', (m) => JSON.stringify(m).slice(0, -9)],
      ['that consists of two documents', 'not one JSON document', (m) => JSON.stringify(m).repeat(2)],
      [
        'whose generation contains a file name',
        'its generation is',
        (m) => ({ ...m, generation: `1\n../../escaped\t${objectOf(m)?.key}\t3\t${objectOf(m)?.sha256}` }),
      ],
      ['with a size that bash cannot represent', 'invalid object', (m) => broken(m, { size: 1e300 })],
      ['that writes outside of the bundle', 'invalid object', (m) => broken(m, { file: '../../../etc/passwd' })],
      ['that writes into another folder', 'invalid object', (m) => broken(m, { file: 'secrets/../x' })],
      ['that reads outside of the prefix', 'invalid object', (m) => broken(m, { key: '../clawdinator-2/config.json' })],
      ['without a digest', 'invalid object', (m) => broken(m, { sha256: 'no' })],
      ['with an invalid size', 'invalid object', (m) => broken(m, { size: -1 })],
      ['with the same file twice', '2 times', (m) => ({ ...m, objects: [objectOf(m), objectOf(m)] })],
    ]
    const objectOf = (manifest: Record<string, unknown>) => (manifest.objects as BundleObject[])[0]
    const broken = (manifest: Record<string, unknown>, change: object) => ({
      ...manifest,
      objects: [{ ...objectOf(manifest), ...change }],
    })
    // Runs concurrently; each host has its own root and prefix.
    const outcomes = new Map<string, Promise<{ code: number; stderr: string; installed: boolean }>>()
    for (const [name, says] of cases) {
      it(name, async () => {
        if (outcomes.size === 0) for (const one of cases) outcomes.set(one[0], refusal(...one))
        const outcome = await outcomes.get(name)
        expect(outcome?.code, outcome?.stderr).to.equal(1)
        expect(outcome?.stderr).to.contain(says)
        expect(outcome?.installed).to.equal(false)
      })
    }
    async function refusal(name: string, _says: string, manifest: (typeof cases)[number][2]) {
      const prefix = `case/${name.replaceAll(' ', '-')}`
      bundle({ 'secrets/a.age': 'one' }, { prefix, manifest })
      const own = await mkdtemp(join(tmpdir(), 'clawctl-host-test-'))
      try {
        await mkdir(join(own, 'etc/clawdinator'), { recursive: true })
        await writeFile(join(own, 'etc/clawdinator/instance-name'), 'clawdinator-1\n')
        await writeFile(join(own, 'etc/clawdinator/bootstrap-prefix'), `${prefix}\n`)
        const { code, stderr } = await bootstrap({ CLAWCTL_HOST_ROOT: own })
        return { code, stderr, installed: existsSync(join(own, 'var/lib/clawdinator/bootstrap/current')) }
      } finally {
        await rm(own, { recursive: true })
      }
    }

    it('reports a bundle that does not exist, and how to create it', async () => {
      sandbox.bucket.delete(`${PREFIX}/config.json`)
      const outcome = await bootstrap()
      expect(outcome.code).to.equal(1)
      expect(outcome.stderr).to.contain('clawctl bootstrap upload clawdinator-1')
    })
  })

  it('refuses invalid values in the files of the user data', async () => {
    for (const [values, says] of [
      [{ prefix: '../other' }, 'is not a valid prefix'],
      [{ prefix: 'a/../b' }, 'is not a valid prefix'],
      [{ prefix: '/etc' }, 'is not a valid prefix'],
      [{ id: 'a b' }, "is not an instance's id"],
    ] as const) {
      await host(values)
      const outcome = await bootstrap()
      expect(outcome.code, outcome.stderr).to.equal(2)
      expect(outcome.stderr).to.contain(says)
    }
    expect(s3.seen).to.have.length(0)
  })
})
