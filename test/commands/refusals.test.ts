import { createServer } from 'node:net'
import { expect } from 'chai'
import { expectFailure, LATEST_AMI, OLDER_AMI, runInSandbox, TestSandbox } from '../support/cli.js'

/** A loopback port on which no server listens. */
async function closedPort(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

describe('refusals', () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  describe('refusals before any network call', () => {
    /** Checks the exit code and the error, and that no service got a request; the Control API is unreachable, too. */
    async function refused(as: string, args: string[], code: string, exit = 3, env: Record<string, string> = {}) {
      const before = sandbox.inner.requests.length
      const outcome = await sandbox.clawctl(as, [...args, '--json'], {
        env: { CLAWDINATOR_CONTROL_API_URL: await closedPort(), ...env },
      })
      const error = expectFailure(outcome, code, exit)
      expect(sandbox.inner.requests.length).to.equal(before)
      return error
    }

    it('SELF_DEPLOY: refuses a deploy of the calling instance for every requester', async () => {
      await Promise.all([
        refused('clawdinator-1', ['fleet', 'deploy', 'clawdinator-1'], 'SELF_DEPLOY'),
        refused('clawdinator-1', ['fleet', 'deploy', 'clawdinator-1', '--requested-by', 'Jo'], 'SELF_DEPLOY'),
      ])
    })

    it('BOT_DEPLOY_ALL: refuses `all` for a bot, also with a blank name', async () => {
      const [error] = await Promise.all([
        refused('clawdinator-1', ['fleet', 'deploy', 'all'], 'BOT_DEPLOY_ALL'),
        refused('clawdinator-1', ['fleet', 'deploy', 'all', '--requested-by', '  '], 'BOT_DEPLOY_ALL'),
      ])
      expect(error.hint).to.include('--requested-by')
    })

    it("uses the host's own name, not a variable", async () => {
      const env = { CLAWDINATOR_INSTANCE_NAME: 'clawdinator-2' }
      await refused('clawdinator-1', ['fleet', 'deploy', 'clawdinator-1'], 'SELF_DEPLOY', 3, env)
    })

    it('UNKNOWN_TARGET: suggests the nearest id, or lists the known ids', async () => {
      const [near, far] = await Promise.all([
        refused('laptop', ['fleet', 'deploy', 'clawdinator2'], 'UNKNOWN_TARGET', 2),
        refused('laptop', ['fleet', 'deploy', 'something-else-altogether'], 'UNKNOWN_TARGET', 2),
      ])
      expect(near.hint).to.equal('Did you mean clawdinator-2?')
      expect(far.hint).to.include('clawdinator-1, clawdinator-2')
    })

    it("INVALID_TARGET: refuses text that can't be an id", async () => {
      const targets = ['Clawdinator-1', '../x', 'clawdinator-1,clawdinator-2', '']
      await Promise.all(targets.map((t) => refused('laptop', ['fleet', 'deploy', t], 'INVALID_TARGET', 2)))
    })

    it('INVALID_AMI: refuses text that is not ami- and 8 or 17 hexadecimal digits', async () => {
      const amis = ['latest', 'ami-', 'ami-123', 'ami-0123456789abcdeg0', 'AMI-0123456789abcdef0', `${LATEST_AMI}0`]
      await Promise.all(
        amis.map((ami) => refused('laptop', ['fleet', 'deploy', 'clawdinator-2', '--ami', ami], 'INVALID_AMI', 2)),
      )
    })

    it('NOT_CI: refuses --plan-only and --on-failure on the control plane', async () => {
      const [error] = await Promise.all([
        refused('laptop', ['fleet', 'deploy', 'clawdinator-2', '--plan-only'], 'NOT_CI'),
        refused('clawdinator-1', ['fleet', 'deploy', 'clawdinator-2', '--on-failure', 'stop'], 'NOT_CI'),
      ])
      expect(error.message).to.include('--plan-only')
    })

    it('ON_AGENT_HOST: refuses ci mode on a fleet host, however it is set, for every command', async () => {
      const status = ['fleet', 'status']
      await Promise.all([
        refused('clawdinator-1', [...status, '--mode', 'ci'], 'ON_AGENT_HOST'),
        refused('clawdinator-1', status, 'ON_AGENT_HOST', 3, { CI: 'true' }),
        refused('clawdinator-1', ['fleet', 'history'], 'ON_AGENT_HOST', 3, { GITHUB_ACTIONS: 'true' }),
        refused('clawdinator-1', ['fleet', 'deploy', 'clawdinator-2'], 'ON_AGENT_HOST', 3, { CLAWCTL_MODE: 'ci' }),
      ])
    })

    it('USAGE: reports a missing TARGET, which has no default', async () => {
      const error = await refused('laptop', ['fleet', 'deploy'], 'USAGE', 2)
      expect(error.message).to.include('TARGET').and.include('there is no default')
    })

    it('refuses malformed names, request ids, modes and durations', async () => {
      const deploy = ['fleet', 'deploy', 'clawdinator-2']
      await Promise.all([
        refused('laptop', [...deploy, '--requested-by', 'x'.repeat(65)], 'INVALID_REQUEST', 2),
        refused('laptop', [...deploy, '--requested-by', 'two\nlines'], 'INVALID_REQUEST', 2),
        refused('laptop', [...deploy, '--request-id', '../../x'], 'INVALID_REQUEST', 2),
        refused('laptop', ['fleet', 'status'], 'USAGE', 2, { CLAWCTL_MODE: 'server' }),
        refused('laptop', [...deploy, '--wait', '--timeout', 'soon'], 'USAGE', 2),
        refused('laptop', ['fleet', 'history', '--limit', '0'], 'USAGE', 2),
      ])
    })

    it('prints the next step for people on stderr, and nothing on stdout', async () => {
      const { code, stdout, stderr } = await sandbox.clawctl('clawdinator-1', ['fleet', 'deploy', 'all'])
      expect({ code, stdout }).to.deep.equal({ code: 3, stdout: '' })
      expect(stderr).to.match(/^request [\w-]+\nError \(BOT_DEPLOY_ALL\): .+\n {2}.*--requested-by NAME.*\n$/)
    })
  })

  describe('settings', () => {
    it('NOT_CONFIGURED: names the file and the variable for a missing URL, and their value', async () => {
      const env = { CLAWDINATOR_CONTROL_API_URL: undefined }
      const error = expectFailure(
        await sandbox.clawctl('laptop', ['fleet', 'status', '--json'], { env }),
        'NOT_CONFIGURED',
        4,
      )
      expect(error.hint).to.include('/etc/clawdinator/control-api-url').and.include('CLAWDINATOR_CONTROL_API_URL')
      expect(error.hint).to.include('https://')
    })

    it('NOT_CONFIGURED: names the file and the variables for a missing token', async () => {
      const env = { CLAWDINATOR_CONTROL_TOKEN_FILE: undefined }
      const none = expectFailure(
        await sandbox.clawctl('laptop', ['fleet', 'status', '--json'], { env }),
        'NOT_CONFIGURED',
        4,
      )
      expect(none.hint).to.include('/run/agenix/clawdinator-control-token')
      expect(none.hint)
        .to.include('CLAWDINATOR_CONTROL_TOKEN_FILE')
        .and.match(/CLAWDINATOR_CONTROL_TOKEN\b(?!_)/)
      const lost = { CLAWDINATOR_CONTROL_TOKEN_FILE: '/nowhere/token' }
      const gone = await sandbox.clawctl('laptop', ['fleet', 'status', '--json'], { env: lost })
      expect(expectFailure(gone, 'NOT_CONFIGURED', 4).message).to.include('/nowhere/token')
    })

    it('never sends a token over plain HTTP', async () => {
      const url = ['--control-api-url', 'http://api.example.com']
      const outcome = await sandbox.clawctl('laptop', ['fleet', 'status', '--json', ...url])
      expect(expectFailure(outcome, 'NOT_CONFIGURED', 4).message).to.include('https://')
    })

    it('NOT_CONFIGURED: names the missing variable on the direct plane', async () => {
      for (const name of ['AWS_REGION', 'S3_BUCKET']) {
        const outcome = await sandbox.clawctl('ci', ['fleet', 'status', '--json'], {
          env: { [name]: undefined, AWS_DEFAULT_REGION: undefined },
        })
        expect(expectFailure(outcome, 'NOT_CONFIGURED', 4).message).to.include(name)
      }
    })

    it('UNAUTHORIZED: exits with 4 for a wrong token, without quoting it', async () => {
      const env = { CLAWDINATOR_CONTROL_TOKEN_FILE: undefined, CLAWDINATOR_CONTROL_TOKEN: 'another-token-altogether' }
      const outcome = await sandbox.clawctl('laptop', ['fleet', 'status', '--json'], { env })
      expectFailure(outcome, 'UNAUTHORIZED', 4)
      expect(outcome.stdout + outcome.stderr).not.to.include('another-token')
    })

    it('UPSTREAM: fails within seconds if the Control API is down', async () => {
      const url = await closedPort()
      const started = Date.now()
      const outcome = await sandbox.clawctl('laptop', ['fleet', 'status', '--json', '--control-api-url', url])
      const error = expectFailure(outcome, 'UPSTREAM', 4)
      expect(Date.now() - started).to.be.below(60_000)
      expect(`${error.message} ${error.hint}`).to.include(url)
    })

    it('UPSTREAM: fails if another server answers at the URL', async () => {
      const { AWS_ENDPOINT_URL_S3: elsewhere = '' } = sandbox.inner.session.ci
      const outcome = await sandbox.clawctl('laptop', ['fleet', 'status', '--json', '--control-api-url', elsewhere])
      expectFailure(outcome, 'UPSTREAM', 4)
    })
  })

  describe('the environment', () => {
    for (const as of ['laptop', 'clawdinator-1']) {
      it(`has no AWS variable and no credential of the caller for ${as}`, async () => {
        const env = { ...process.env, AWS_ACCESS_KEY_ID: 'AKIAFOREIGN', AWS_PROFILE: 'x', GITHUB_TOKEN: 'foreign' }
        let stdout: string
        if (as === 'laptop') stdout = (await runInSandbox({ as, env, printsSecrets: true }, ['env'])).stdout
        else {
          const variables = await sandbox.inner.environment({ kind: 'instance', id: as }, env)
          stdout = Object.entries(variables)
            .map((pair) => pair.join('='))
            .join('\n')
        }
        expect(stdout).not.to.match(/^(?:AWS_|S3_BUCKET|TF_)/m)
        // The credential for pull requests at the sandbox's own GitHub.
        const github = [...stdout.matchAll(/^(GITHUB_\w+)=/gm)].map((match) => match[1]).sort()
        expect(github).to.deep.equal(['GITHUB_API_URL', 'GITHUB_REPO', 'GITHUB_TOKEN'])
        expect(stdout).to.match(/^GITHUB_API_URL=http:\/\/127\.0\.0\.1:/m)
        expect(stdout).not.to.match(/AKIA|foreign/)
        expect(stdout).to.match(as === 'laptop' ? /^CLAWDINATOR_CONTROL_API_URL=http/m : /^CLAWCTL_HOST_ROOT=/m)
      })
    }

    it("has the direct plane's settings for ci", async () => {
      const variables: Record<string, string> = await sandbox.environment('ci')
      for (const name of ['AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_ENDPOINT_URL_S3', 'S3_BUCKET']) {
        expect(variables[name], name).to.match(/./)
      }
      expect(variables.CLAWCTL_MODE).to.equal('ci')
    })
  })

  describe('refusals by the Control API, whatever the client sends', () => {
    const post = (body: unknown, token?: string | null) => sandbox.request('POST', '/v1/deploys', body, token)

    after('started nothing', () => {
      expect(sandbox.inner.github.runs).to.have.length(0)
    })

    const cases: [string, unknown, number][] = [
      ['SELF_DEPLOY', { target: 'clawdinator-1', caller: 'clawdinator-1' }, 403],
      ['SELF_DEPLOY', { target: 'clawdinator-1', caller: 'clawdinator-1', requestedBy: 'Jo' }, 403],
      ['BOT_DEPLOY_ALL', { target: 'all', caller: 'clawdinator-1' }, 403],
      ['UNKNOWN_TARGET', { target: 'clawdinator-9' }, 404],
      ['INVALID_TARGET', { target: '' }, 400],
      ['INVALID_TARGET', { target: 'all; rm -rf /' }, 400],
      ['INVALID_AMI', { target: 'clawdinator-2', amiOverride: 'ami-$(id)' }, 400],
      ['INVALID_REQUEST', {}, 400],
      ['INVALID_REQUEST', { target: 'clawdinator-2', onFailure: 'stop' }, 400],
      ['INVALID_REQUEST', { target: 'clawdinator-2', requestedBy: 'two\nlines' }, 400],
      ['INVALID_REQUEST', '{"target":', 400],
      ['PAYLOAD_TOO_LARGE', { target: 'x'.repeat(20_000) }, 413],
    ]
    for (const [code, body, status] of cases) {
      it(`answers ${code} for ${(typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 90)}`, async () => {
        const answer = await post(body)
        expect(answer.status).to.equal(status)
        expect(answer.body.ok).to.equal(false)
        expect(answer.body.error.code).to.equal(code)
      })
    }

    it('answers UNAUTHORIZED, 401, before it reads anything else', async () => {
      for (const token of [null, 'wrong', `${sandbox.inner.session.controlToken}x`]) {
        const answer = await post({ target: 'clawdinator-1', caller: 'clawdinator-1' }, token)
        expect(answer).to.deep.include({ status: 401 })
        expect(answer.body.error.code).to.equal('UNAUTHORIZED')
      }
      expect((await sandbox.request('GET', '/v1/nowhere', undefined, null)).status).to.equal(401)
    })

    it('answers 404 and 405 for unknown routes and methods', async () => {
      expect((await sandbox.request('GET', '/v1/nowhere')).body.error.code).to.equal('NOT_FOUND')
      expect((await sandbox.request('DELETE', '/v1/deploys')).body.error.code).to.equal('METHOD_NOT_ALLOWED')
      expect((await sandbox.request('GET', '/v1/deploys?limit=0')).body.error.code).to.equal('INVALID_REQUEST')
      expect((await sandbox.request('GET', '/v1/deploys/no-such-request')).body.error.code).to.equal('NOT_FOUND')
    })
  })

  it('refuses in CI what the policy refuses, whatever dispatched the run', async () => {
    const env = { CLAWDINATOR_INSTANCE_NAME: 'clawdinator-1' }
    const [self, all] = await Promise.all([
      sandbox.clawctl('ci', ['fleet', 'deploy', 'clawdinator-1', '--json'], { env }),
      sandbox.clawctl('ci', ['fleet', 'deploy', 'all', '--json'], { env }),
    ])
    expectFailure(self, 'SELF_DEPLOY', 3)
    expectFailure(all, 'BOT_DEPLOY_ALL', 3)
    expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`])
  })
})
