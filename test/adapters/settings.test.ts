import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import {
  callerOf,
  controlApiUrl,
  controlToken,
  directSettings,
  type Env,
  findCheckout,
  fleetStack,
  githubSettings,
  githubToken,
  modeOf,
  workflowRun,
} from '../../src/lib/adapters/settings.js'
import { failureOf } from '../support/failure.js'

const NAME = 'etc/clawdinator/instance-name'
const URL_FILE = 'etc/clawdinator/control-api-url'
const TOKEN_FILE = 'run/agenix/clawdinator-control-token'

async function controlApiSettings(env: Env, flag: string | undefined): Promise<{ url: string; token: string }> {
  const { url } = controlApiUrl(env, flag)
  return { url, token: (await controlToken(env, url, async () => null)).token }
}

describe('settings', () => {
  let root: string
  let host: Env
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'clawctl-settings-'))
    host = { CLAWCTL_HOST_ROOT: root }
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const put = (path: string, text: string): string => {
    const full = join(root, path)
    mkdirSync(dirname(full), { recursive: true })
    writeFileSync(full, text)
    return full
  }

  describe('mode', () => {
    const cases: [string, Env, string | undefined, string][] = [
      ['nothing', {}, undefined, 'agent'],
      ['GITHUB_ACTIONS', { GITHUB_ACTIONS: 'true' }, undefined, 'ci'],
      ['CI', { CI: 'true' }, undefined, 'ci'],
      ['CI that is not true', { CI: '1', GITHUB_ACTIONS: 'false' }, undefined, 'agent'],
      ['CLAWCTL_MODE before CI', { CI: 'true', CLAWCTL_MODE: 'agent' }, undefined, 'agent'],
      ['an empty CLAWCTL_MODE', { CI: 'true', CLAWCTL_MODE: '' }, undefined, 'ci'],
      ['the flag before CLAWCTL_MODE', { CLAWCTL_MODE: 'ci' }, 'agent', 'agent'],
    ]
    for (const [name, env, flag, mode] of cases) {
      it(`accepts ${name}`, () => expect(modeOf({ ...host, ...env }, flag)).to.equal(mode))
    }

    it('refuses an unknown mode', async () => {
      const error = await failureOf(() => modeOf({ ...host, CLAWCTL_MODE: 'prod' }, undefined))
      expect(error.code).to.equal('USAGE')
      expect(error.message).to.include('"prod"')
    })

    it('refuses ci mode on a fleet host, whatever requests it and whatever the file contains', async () => {
      for (const text of ['clawdinator-1\n', '', 'Not An Id']) {
        const file = put(NAME, text)
        for (const [env, flag] of [
          [{}, 'ci'],
          [{ CLAWCTL_MODE: 'ci' }, undefined],
          [{ GITHUB_ACTIONS: 'true' }, undefined],
          [{ CI: 'true' }, undefined],
        ] as const) {
          const error = await failureOf(() => modeOf({ ...host, ...env }, flag))
          expect(error.code).to.equal('ON_AGENT_HOST')
          expect(error.message).to.include(file)
        }
        expect(modeOf({ ...host, CI: 'true' }, 'agent')).to.equal('agent')
      }
    })
  })

  describe('caller', () => {
    it('uses the host file, else the variable, else null', () => {
      expect(callerOf(host)).to.equal(null)
      expect(callerOf({ ...host, CLAWDINATOR_INSTANCE_NAME: '' })).to.equal(null)
      expect(callerOf({ ...host, CLAWDINATOR_INSTANCE_NAME: 'clawdinator-2' })).to.equal('clawdinator-2')
      put(NAME, '  clawdinator-1\n')
      expect(callerOf({ ...host, CLAWDINATOR_INSTANCE_NAME: 'clawdinator-2' })).to.equal('clawdinator-1')
    })

    it('refuses a host without a valid name, because it must not count as a person', async () => {
      for (const text of ['', '\n', 'Clawdinator-1', 'a b', 'x\ny']) {
        const file = put(NAME, text)
        const error = await failureOf(() => callerOf({ ...host, CLAWDINATOR_INSTANCE_NAME: 'clawdinator-2' }))
        expect(error.code).to.equal('NOT_CONFIGURED')
        expect(error.message).to.include(file)
        expect(error.hint).to.include('clawdinator-1')
      }
    })

    it('names the variable if it does not hold an id', async () => {
      const error = await failureOf(() => callerOf({ ...host, CLAWDINATOR_INSTANCE_NAME: 'A B' }))
      expect(error.code).to.equal('NOT_CONFIGURED')
      expect(error.message).to.include('CLAWDINATOR_INSTANCE_NAME').and.include('"A B"')
    })

    it("names the file that it can't read", async () => {
      mkdirSync(join(root, NAME), { recursive: true })
      const error = await failureOf(() => callerOf(host))
      expect([error.code, error.message]).to.deep.equal([
        'NOT_CONFIGURED',
        `${join(root, NAME)} can't be read (EISDIR).`,
      ])
    })
  })

  describe('Control API', () => {
    const URL = 'https://abc.lambda-url.eu-central-1.on.aws/'
    const both = { CLAWDINATOR_CONTROL_API_URL: URL, CLAWDINATOR_CONTROL_TOKEN: 'cct_variable' }

    it('reads the URL from the flag, the variable, then the file', async () => {
      put(URL_FILE, 'https://file.example\n')
      const env = { ...host, CLAWDINATOR_CONTROL_TOKEN: 'cct_variable' }
      const url = async (more: Env, flag?: string) => (await controlApiSettings({ ...env, ...more }, flag)).url
      expect(await url(both, 'https://flag.example')).to.equal('https://flag.example')
      expect(await url(both)).to.equal(URL)
      expect(await url({ CLAWDINATOR_CONTROL_API_URL: '  ' })).to.equal('https://file.example')
    })

    it('reads the token from the named file, the variable, then the agenix file', async () => {
      const named = put('home/token', 'cct_named\n')
      put(TOKEN_FILE, 'cct_agenix\n')
      const token = async (more: Env) =>
        (await controlApiSettings({ ...host, CLAWDINATOR_CONTROL_API_URL: URL, ...more }, undefined)).token
      expect(
        await token({ CLAWDINATOR_CONTROL_TOKEN_FILE: named, CLAWDINATOR_CONTROL_TOKEN: 'cct_variable' }),
      ).to.equal('cct_named')
      expect(await token({ CLAWDINATOR_CONTROL_TOKEN: 'cct_variable' })).to.equal('cct_variable')
      expect(await token({ CLAWDINATOR_CONTROL_TOKEN: '' })).to.equal('cct_agenix')
    })

    it('names every place in which a URL may be set', async () => {
      const error = await failureOf(() => controlApiSettings(host, undefined))
      expect(error.code).to.equal('NOT_CONFIGURED')
      expect(error.hint).to.include(join(root, URL_FILE)).and.include('CLAWDINATOR_CONTROL_API_URL')
      expect(error.hint).to.include('lambda-url')
    })

    it('names every place in which a token may be set', async () => {
      const env = { ...host, CLAWDINATOR_CONTROL_API_URL: URL }
      const error = await failureOf(() => controlApiSettings(env, undefined))
      expect(error.code).to.equal('NOT_CONFIGURED')
      expect(error.hint).to.include(join(root, TOKEN_FILE)).and.include('CLAWDINATOR_CONTROL_TOKEN_FILE')
      const named = await failureOf(() =>
        controlApiSettings({ ...env, CLAWDINATOR_CONTROL_TOKEN_FILE: '/nowhere/token' }, undefined),
      )
      expect(named.message).to.include('/nowhere/token does not exist')
    })

    it('does not fall back if the named token file is empty', async () => {
      const CLAWDINATOR_CONTROL_TOKEN_FILE = put('home/token', '\n')
      const error = await failureOf(() =>
        controlApiSettings({ ...host, ...both, CLAWDINATOR_CONTROL_TOKEN_FILE }, undefined),
      )
      expect(error.code).to.equal('NOT_CONFIGURED')
    })

    it('sends a token over plain HTTP only to this machine', async () => {
      for (const url of ['http://127.0.0.1:8080', 'http://localhost:1/x', 'http://[::1]:1', 'HTTPS://A.example']) {
        expect((await controlApiSettings({ ...host, ...both }, url)).url).to.equal(url)
      }
      for (const url of [
        'http://api.example/',
        'http://127.0.0.1.example/',
        'http://localhost.example/',
        'http://localhost@api.example/',
        'ftp://127.0.0.1/',
        'api.example',
        'https://',
        'file:///etc/passwd',
      ]) {
        const error = await failureOf(() => controlApiSettings({ ...host, ...both }, url))
        expect([url, error.code]).to.deep.equal([url, 'NOT_CONFIGURED'])
        expect(error.message).to.include('https://')
      }
    })

    for (const [name, token] of [
      ['two lines', 'cct_a\ncct_b'],
      ['a blank', 'cct a'],
      ['another alphabet', 'cct_é'],
      ['what agenix encrypts', 'age-encryption.org/v1\n-> X25519 x\n\u0001\u0002'],
      ['a control character', 'cct_\u0000a'],
    ] as const) {
      it(`refuses a token with ${name}, without showing it`, async () => {
        const CLAWDINATOR_CONTROL_TOKEN_FILE = put('home/token', token)
        const error = await failureOf(() =>
          controlApiSettings({ ...host, ...both, CLAWDINATOR_CONTROL_TOKEN_FILE }, undefined),
        )
        expect(error.code).to.equal('NOT_CONFIGURED')
        expect(`${error.message} ${error.hint}`).not.to.include(token.slice(0, 5))
      })
    }

    it('names the file or variable with a malformed value', async () => {
      const file = put('home/token', 'two\nlines')
      const bad = await failureOf(() =>
        controlApiSettings({ ...host, ...both, CLAWDINATOR_CONTROL_TOKEN_FILE: file }, undefined),
      )
      expect(`${bad.message} ${bad.hint}`).to.include(file)
      const variable = await failureOf(() =>
        controlApiSettings({ ...host, ...both, CLAWDINATOR_CONTROL_TOKEN: 'a b' }, undefined),
      )
      expect(`${variable.message} ${variable.hint}`).to.include('CLAWDINATOR_CONTROL_TOKEN')
      const url = await failureOf(() =>
        controlApiSettings({ ...host, ...both, CLAWDINATOR_CONTROL_API_URL: 'http://x.example' }, undefined),
      )
      expect(`${url.message} ${url.hint}`).to.include('CLAWDINATOR_CONTROL_API_URL')
    })
  })

  describe('direct plane', () => {
    const aws = { region: 'eu-central-1', bucket: 'fleet' }

    it('names every missing variable', async () => {
      const cases: [() => unknown, string][] = [
        [() => directSettings({ S3_BUCKET: 'b' }), 'AWS_REGION'],
        [() => directSettings({ AWS_REGION: ' ', S3_BUCKET: 'b' }), 'AWS_REGION'],
        [() => directSettings({ AWS_REGION: 'r' }), 'S3_BUCKET'],
        [() => fleetStack({}, aws), 'CLAWDINATOR_CONTROL_API_URL'],
        [() => githubSettings({ GITHUB_TOKEN: 't' }), 'GITHUB_REPOSITORY'],
        [() => githubToken({ GITHUB_REPOSITORY: 'a/b' }), 'GITHUB_TOKEN'],
      ]
      for (const [read, name] of cases) {
        const error = await failureOf(read)
        expect(error.code).to.equal('NOT_CONFIGURED')
        expect(error.message).to.include(`${name}`)
        expect(error.hint).to.match(new RegExp(`^Set ${name} to .{10,}`))
      }
    })

    it('refuses a repository that is not owner/name', async () => {
      for (const value of ['fleet', 'a/b/c', 'https://github.com/a/b', '/b']) {
        const { code, message } = await failureOf(() => githubSettings({ GITHUB_REPOSITORY: value }))
        expect([code, message]).to.deep.equal([
          'NOT_CONFIGURED',
          `GITHUB_REPOSITORY is ${JSON.stringify(value)}, which is not of the form owner/name.`,
        ])
      }
    })

    it('reports, only on a laptop, that CI=true selected ci mode', async () => {
      const hint = async (env: Record<string, string>) => (await failureOf(() => directSettings(env))).hint
      expect(await hint({ CI: 'true' }))
        .to.include('CI=true selected ci mode')
        .and.include('--mode agent')
      expect(await hint({ CI: 'true', GITHUB_ACTIONS: 'true' })).not.to.include('chose')
      expect(await hint({ CI: 'true', CLAWCTL_MODE: 'ci' })).not.to.include('chose')
    })

    it('reads region and bucket', () => {
      expect(directSettings({ AWS_DEFAULT_REGION: 'us-east-1', S3_BUCKET: 'b' })).to.deep.equal({
        region: 'us-east-1',
        bucket: 'b',
      })
      expect(directSettings({ AWS_REGION: 'r', AWS_DEFAULT_REGION: 'x', S3_BUCKET: 'b' }).region).to.equal('r')
    })

    it('passes the stack its backend, with a lock table only if one is set', () => {
      const env = { CLAWDINATOR_CONTROL_API_URL: 'https://x/', TOFU_LOCK_TABLE: '' }
      const backendConfig = { bucket: 'fleet', key: 'state/fleet.tfstate', region: 'eu-central-1' }
      expect(fleetStack(env, aws).backendConfig).to.deep.equal(backendConfig)
      expect(fleetStack({ ...env, TOFU_LOCK_TABLE: 'locks' }, aws).backendConfig).to.deep.equal({
        ...backendConfig,
        dynamodb_table: 'locks',
      })
    })

    it('reads its workflow run from the environment', () => {
      expect(workflowRun({})).to.deep.equal({ id: null, url: null, attempt: 1 })
      expect(workflowRun({ GITHUB_RUN_ID: 'x' })).to.deep.equal({ id: null, url: null, attempt: 1 })
      expect(workflowRun({ GITHUB_RUN_ID: '42', GITHUB_REPOSITORY: 'a/b', GITHUB_RUN_ATTEMPT: '2' })).to.deep.equal({
        id: 42,
        attempt: 2,
        url: 'https://github.com/a/b/actions/runs/42',
      })
    })
  })

  describe('checkout', () => {
    it('uses CLAWCTL_CHECKOUT, else the nearest parent folder with a registry', () => {
      put('nix/instances.json', '{}')
      const deep = join(root, 'infra/opentofu')
      mkdirSync(deep, { recursive: true })
      expect(findCheckout({}, deep)).to.equal(root)
      expect(findCheckout({ CLAWCTL_CHECKOUT: '../elsewhere' }, deep)).to.equal(join(root, 'infra/elsewhere'))
      expect(findCheckout({}, tmpdir())).to.equal(null)
    })
  })
})
