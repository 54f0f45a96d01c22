import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { clawctl, expectFailure, type Outcome, ROOT, TestSandbox } from '../support/cli.js'

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

describe('the command line', () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  it('--version', async () => {
    const { code, stdout } = await clawctl(['--version'], { process: true })
    expect(code).to.equal(0)
    expect(stdout).to.match(new RegExp(`^clawctl/${version} \\S+ node-v\\d`))
  })

  it('prints --help for the program, for a topic and for a command', async () => {
    const [whole, topic, command] = await Promise.all([
      clawctl(['--help']),
      clawctl(['fleet', '--help']),
      clawctl(['fleet', 'deploy', '--help']),
    ])
    expect([whole.code, topic.code, command.code]).to.deep.equal([0, 0, 0])
    expect(whole.stdout).to.include('fleet').and.include('registry').and.include('sandbox')
    expect(topic.stdout).to.include('fleet deploy').and.include('fleet history').and.include('fleet status')
    expect(command.stdout)
      .to.match(/TARGET[\s\S]+there\s+is\s+no\s+default/)
      .and.include('--requested-by')
    for (const { stderr } of [whole, topic, command]) expect(stderr).to.equal('')
  })

  it('behaves the same in a process as in a thread of the tests', async () => {
    const commands = [
      ['registry', 'list', '--json'],
      ['fleet', 'deploy', 'clawdinator-9', '--request-id', 'request-0001'],
      ['fleet', 'status', '--json', '--mode', 'ci'],
      ['fleet', '--help'],
    ]
    for (const args of commands) {
      const [thread, own] = await Promise.all(
        [false, true].map((process) => sandbox.clawctl('laptop', args, { process })),
      )
      const of = ({ code, stdout, stderr }: Outcome) => ({ code, stdout, stderr })
      expect(of(thread as Outcome)).to.deep.equal(of(own as Outcome))
    }
  })

  it('exits with 2 for an unknown command, with a suggestion', async () => {
    const [near, topic, far, bare] = await Promise.all([
      clawctl(['fleet', 'deply']),
      clawctl(['flet', 'status']),
      clawctl(['something', 'else']),
      clawctl(['status']),
    ])
    expect([near.code, topic.code, far.code]).to.deep.equal([2, 2, 2])
    expect(near.stderr).to.include('Did you mean `clawctl fleet deploy`?')
    expect(topic.stderr).to.include('Did you mean `clawctl fleet status`?')
    expect(far.stderr).to.include('clawctl --help')
    expect(bare.stderr).to.include('Did you mean `clawctl fleet status` or `clawctl sandbox status`?\n')
    expect(near.stdout + topic.stdout + far.stdout).to.equal('')
  })

  it('exits with 2 for an unknown option, with a suggestion', async () => {
    const { code, stdout, stderr } = await clawctl(['fleet', 'status', '--jsno'])
    expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' })
    expect(stderr).to.include('--jsno').and.include('Did you mean --json?')
    const all = await clawctl(['fleet', 'deploy', '--all'])
    expect(all.stderr).to.include('All instances are the target `all`: `clawctl fleet deploy all`.')
    const reason = await clawctl(['fleet', 'freeze', 'clawdinator-1'])
    expect(reason.stderr).to.include('--reason is missing.')
    const shell = await clawctl(['completion'])
    expect(shell.stderr).to.include('SHELL is missing: one of bash, zsh, fish.')
  })

  it('reports what the parser refuses in one line, with a correction', async () => {
    const [duration, both, option] = await Promise.all([
      clawctl(['fleet', 'status', '--timeout', 'soon']),
      clawctl(['fleet', 'status', '--chat', '--watch']),
      clawctl(['--versoin']),
    ])
    expect(duration.stderr).to.equal(
      'Error (USAGE): --timeout: "soon" is not a duration.\n  Write it as 90s, 30m or 2h.\n',
    )
    expect(both.stderr).to.match(/^Error \(USAGE\): --watch=true cannot also be provided/)
    expect(option.stderr).to.include('Did you mean --version?')
    expect([duration, both, option].map(({ code }) => code)).to.deep.equal([2, 2, 2])
  })

  it('reports what the parser refuses as one document with --json', async () => {
    const wrong = [
      ['fleet', 'status', '--jsno', '--json'],
      ['fleet', 'deploy', '--json'],
      ['fleet', 'deploy', 'clawdinator-1', 'clawdinator-2', '--json'],
      ['fleet', 'status', '--mode', 'server', '--json'],
      ['fleet', 'history', '--limit', 'many', '--json'],
      ['fleet', 'deply', '--json'],
      ['flet', '--json'],
    ]
    for (const outcome of await Promise.all(wrong.map((args) => clawctl(args)))) {
      expectFailure(outcome, 'USAGE', 2)
      expect(outcome.stderr).to.equal('')
    }
  })

  it('has --json with one document for every command with a result', async () => {
    const commands = [
      ['fleet', 'status'],
      ['fleet', 'history'],
      ['registry', 'list'],
    ]
    const outcomes = await Promise.all(commands.map((args) => sandbox.clawctl('laptop', [...args, '--json'])))
    expect(outcomes.map((o) => Object.keys(o.json()))).to.deep.equal([
      ['ok', 'fleet'],
      ['ok', 'deploys', 'next', 'sources'],
      ['ok', 'instances'],
    ])
    expect(outcomes[2]?.json().instances[0]).to.deep.equal({
      id: 'clawdinator-1',
      host: 'clawdinator-1',
      instanceType: 't3.large',
      bootstrapPrefix: 'bootstrap/clawdinator-1',
      discordTokenSecret: 'clawdinator-discord-token-1',
    })
  })

  it('reports that there is no deploy yet', async () => {
    const { stdout } = await sandbox.clawctl('laptop', ['fleet', 'history'])
    expect(stdout).to.equal('No deploy yet.\n')
  })

  it('adds an annotation to the job in GitHub Actions', async () => {
    const env = { GITHUB_ACTIONS: 'true' }
    const { code, stderr } = await sandbox.clawctl(
      'ci',
      ['fleet', 'deploy', 'clawdinator-9', '--request-id', 'request-0001'],
      { env },
    )
    expect(code).to.equal(2)
    expect(stderr).to.match(/^::error title=UNKNOWN_TARGET::There is no instance/m)
  })

  it('uses colours on a terminal, but not with NO_COLOR', async function () {
    const inTerminal = (env: Record<string, string>) =>
      sandbox.run('laptop', ['script', '-qec', 'clawctl fleet status', '/dev/null'], { env: { TERM: 'xterm', ...env } })
    const coloured = await inTerminal({})
    // `script` of util-linux provides the terminal.
    if (coloured.code === -1 || coloured.stderr.includes('usage')) this.skip()
    expect(coloured.code).to.equal(0)
    expect(coloured.stdout).to.include('\u001b[32mrunning')
    expect((await inTerminal({ NO_COLOR: '1' })).stdout)
      .to.include('running')
      .and.not.include('\u001b[3')
  })

  it('leaves no secret behind if a signal ends it while the editor is open', async function () {
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-test-'))
    for (const signal of ['HUP', 'INT', 'TERM']) {
      const seen = join(folder, `seen-${signal}`)
      const env = { TMPDIR: folder, RUNNER_TEMP: undefined, EDITOR: `touch ${seen}; kill -${signal} $PPID; sleep 5; :` }
      const command = ['script', '-qec', 'clawctl secrets control-api edit', '/dev/null']
      const { code } = await sandbox.run('ci', command, { env })
      // Without `script` of util-linux there is no terminal.
      if (code === -1) this.skip()
      expect(existsSync(seen), signal).to.equal(true)
      expect(readdirSync(folder).filter((name) => name.startsWith('clawctl-secrets'))).to.deep.equal([])
    }
    rmSync(folder, { recursive: true })
  })

  it('ends without an error if the reader of its output has ended', async () => {
    const script =
      'set -o pipefail; clawctl fleet deploy --help | head -1; echo $PIPESTATUS; clawctl fleet status | true'
    const { stdout, stderr } = await sandbox.run('laptop', ['bash', '-c', script])
    expect(stderr).to.equal('')
    expect(stdout).to.match(/\n0\n$/)
  })

  it('finishes its work if the reader of its progress has ended', async () => {
    const untilClosed = 'trap "" PIPE; while echo; do :; done 2>/dev/null'
    const script = `exec 3>&1; { ${untilClosed}; clawctl fleet shwo >/dev/null; echo $? >&3; } 2>&1 | true`
    const { stdout } = await sandbox.run('laptop', ['bash', '-c', script])
    expect(stdout).to.equal('2\n')
  })

  it('goes on to its own end, and fails, where its output is lost', async function () {
    if (!existsSync('/dev/full')) this.skip()
    const script = 'for json in "" --json; do clawctl registry list $json >/dev/full; echo $?; done'
    const { stdout, stderr } = await sandbox.run('laptop', ['bash', '-c', script])
    const lost = "Error (NOT_WRITABLE): The output can't be written (ENOSPC). The command goes on to its end.\n"
    expect({ stdout, stderr }).to.deep.equal({ stdout: '1\n1\n', stderr: lost + lost })
  })

  it('runs outside of a checkout, unless it needs files of it', async () => {
    const [unset, status] = await Promise.all([
      clawctl(['fleet', 'status', '--mode', 'agent'], { cwd: '/' }),
      sandbox.clawctl('laptop', ['fleet', 'status', '--json'], { cwd: '/' }),
    ])
    expect(unset.code).to.equal(4)
    expect(unset.stderr).to.include('NOT_CONFIGURED')
    expect(status.code).to.equal(0)
  })

  it('prints the cause with DEBUG=clawctl, without a secret', async () => {
    const env = { DEBUG: 'clawctl,*', CLAWDINATOR_CONTROL_API_URL: 'http://127.0.0.1:1' }
    const { code, stderr } = await sandbox.clawctl('laptop', ['fleet', 'status'], { env, process: true })
    expect(code).to.equal(4)
    expect(stderr).to.include('UPSTREAM').and.include(' at ')
    expect(stderr).not.to.include(sandbox.inner.session.controlToken)
  })
})
