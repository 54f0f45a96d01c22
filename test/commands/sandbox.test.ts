import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, clawctl, ROOT, runInSandbox, surroundings, TestSandbox } from '../support/cli.js'
import { leftIn, NOTHING, temporaryFolders } from '../support/leftovers.js'

describe('clawctl sandbox', () => {
  const ownFolder = temporaryFolders()

  describe('run', () => {
    let sandbox: TestSandbox
    before(async () => {
      sandbox = await TestSandbox.start()
    })
    after(() => sandbox.close())
    /** A script in the tests' sandbox; each `clawctl sandbox run` in it joins that sandbox. */
    const joining = (script: string) => sandbox.run('laptop', ['bash', '-c', script])

    it("passes the command's output through, and exits with its code, above 128 for a signal", async () => {
      const [code, joined] = await Promise.all([
        runInSandbox({}, 'echo out; echo err >&2; exit 42'),
        joining(`clawctl sandbox run -- bash -c 'echo out; kill -9 $$'; echo $?`),
      ])
      expect(code).to.include({ code: 42, stdout: 'out\n', stderr: 'err\n' })
      expect(joined).to.include({ stdout: 'out\n137\n', stderr: '' })
    })

    it('joins the running sandbox in another role', async () => {
      const { stdout, stderr } = await joining(
        `echo "$CLAWCTL_SANDBOX"
         clawctl sandbox run --as clawdinator-2 -- bash -c 'echo "$CLAWCTL_SANDBOX"; clawctl fleet deploy clawdinator-2'
         echo $?
         clawctl sandbox run --as ci -- clawctl fleet status | grep -c running
         clawctl sandbox run --running clawdinator-2 -- true
         echo $?`,
      )
      const [outer, inner, ...rest] = stdout.trimEnd().split('\n')
      expect(outer).to.match(/session\.json$/)
      expect(inner).to.equal(outer)
      expect(rest).to.deep.equal(['3', '1', '2'])
      expect(stderr).to.include('SELF_DEPLOY').and.include('need a fresh sandbox')
    })

    it('adds its faults while its command runs in a joined sandbox', async () => {
      const { stdout } = await joining(
        `clawctl sandbox run --fault api:error=always -- clawctl fleet status --json
         echo $?
         clawctl fleet status --json >/dev/null; echo $?`,
      )
      expect(stdout)
        .to.include('UPSTREAM')
        .and.match(/\n4\n0\n$/)
    })

    it('joins several times concurrently', async () => {
      await Promise.all(['a', 'b', 'c', 'd'].map(() => sandbox.inner.environment({ kind: 'ci' }, surroundings())))
    })

    it('starts a fresh sandbox if CLAWCTL_SANDBOX names one that has ended', async () => {
      const env = { ...surroundings(), CLAWCTL_SANDBOX: '/nowhere/session.json' }
      const { code, stdout } = await runInSandbox({ env }, 'echo "$CLAWCTL_SANDBOX"')
      expect(code).to.equal(0)
      expect(stdout).to.match(/clawctl-sandbox-\w+\/session\.json\n$/)
    })

    it('passes all flags and arguments after -- to the command, also those equal to its own', async () => {
      const { stdout } = await joining(
        `clawctl sandbox run -- echo --json --fault x -h --as=nobody -- -- b
         clawctl sandbox run --as ci --fault ec2:slow=1ms -- echo --as ci --fault ec2:slow=1ms run`,
      )
      expect(stdout).to.equal('--json --fault x -h --as=nobody -- -- b\n--as ci --fault ec2:slow=1ms run\n')
    })
  })

  describe('invalid options', () => {
    const cases: [string, string[], RegExp][] = [
      ['no command', [], /No command to run was given\.\n {2}Write it after --/],
      ['a program that does not exist', ['--', 'no-such-program'], /"no-such-program" can't be run/],
      ['a role', ['--as', 'lapto', '--', 'true'], /no role "lapto"\.\n {2}Did you mean --as laptop\?/],
      ['an instance as a role', ['--as', 'clawdinator1', '--', 'true'], /Did you mean --as clawdinator-1\?/],
      [
        'a fault',
        ['--fault', 'ec2:throtle', '--', 'true'],
        /no fault "ec2:throtle"\.\n {2}Did you mean ec2:throttle\?/,
      ],
      ["a fault's number", ['--fault', 'ec2:throttle=often', '--', 'true'], /"often" is not a number of times/],
      ["a fault's duration", ['--fault', 'api:slow=late', '--', 'true'], /"late" is not a duration/],
      ['an instance to run', ['--running', 'No!', '--', 'true'], /"No!" is not an instance id/],
      ['an option', ['--registri', 'x', '--', 'true'], /Did you mean --registry\?/],
    ]
    let outcomes: ReturnType<typeof clawctl>[]
    before(() => {
      outcomes = cases.map(([, args]) => clawctl(['sandbox', 'run', ...args]))
    })
    for (const [index, [what, , says]] of cases.entries()) {
      it(`${what}: exits with 2 and a suggestion`, async () => {
        const { code, stdout, stderr } = (await outcomes[index]) ?? expect.fail()
        expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' })
        expect(stderr).to.match(says)
      })
    }
  })

  describe('up', () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      it(`prints lines for eval, ends cleanly on ${signal}, and leaves nothing behind`, async () => {
        const { folder, env } = await ownFolder()
        const child = execa(process.execPath, [BIN, 'sandbox', 'up'], {
          env,
          extendEnv: false,
          cwd: ROOT,
          reject: false,
        })
        const lines: string[] = []
        child.stdout.on('data', (chunk) => lines.push(String(chunk)))
        await new Promise<void>((resolve) => {
          child.stderr.on('data', (chunk) => String(chunk).includes('Ctrl-C ends it') && resolve())
          child.once('exit', () => resolve())
        })
        const printed = readdirSync(folder)
        const script = `${lines.join('')}\nclawctl fleet status --json`
        const used = await execa('bash', ['-c', script], {
          env: surroundings(),
          extendEnv: false,
          cwd: '/',
          reject: false,
        })
        child.kill(signal)
        const { exitCode, stdout } = await child
        expect(printed).to.have.length(1)
        expect(stdout).to.match(/^export CLAWCTL_SANDBOX='/m)
        expect(stdout).not.to.match(/AWS_/)
        expect(used.exitCode, used.stderr).to.equal(0)
        expect(JSON.parse(used.stdout).fleet.instances).to.have.length(2)
        expect(exitCode).to.equal(0)
        expect(await leftIn(folder)).to.deep.equal(NOTHING)
      })
    }
  })

  describe('up --detach, status, down', () => {
    for (const shell of ['bash', 'zsh']) {
      it(`sets the variables and prompt of ${shell}, and reverts them at the end`, async function () {
        if (!(process.env.PATH ?? '').split(':').some((at) => existsSync(join(at, shell)))) {
          process.stdout.write(`    ${shell} is not installed\n`)
          this.skip()
        }
        const { folder, env } = await ownFolder()
        const script = `
          clawctl() { "$NODE" "$BIN" "$@"; }
          PS1='$ '; export AWS_PROFILE=mine
          eval "$(clawctl sandbox up --detach)" || exit 9
          unset -f clawctl
          echo "prompt $PS1 profile \${AWS_PROFILE-none}"
          command clawctl fleet status --json | head -2
          command clawctl sandbox status
          ls "$TMPDIR"
          BEFORE=$PATH
          eval "$(command clawctl sandbox down)" || exit 8
          echo "after $PS1 sandbox \${CLAWCTL_SANDBOX-none}"
          case $PATH in *clawctl-sandbox*) echo "path $PATH" ;; esac
          "$NODE" "$BIN" sandbox status`
        const { exitCode, stdout, stderr } = await execa(shell, [...(shell === 'zsh' ? ['-f'] : []), '-c', script], {
          env: { ...env, NODE: process.execPath, BIN },
          extendEnv: false,
          cwd: ROOT,
          reject: false,
        })
        expect(exitCode, stderr).to.equal(0)
        expect(stdout).to.include('prompt (sandbox) $  profile none').and.include('"ok": true')
        expect(stdout).to.match(/^\*\s+\S*clawctl-sandbox-\w+\s+http:/m)
        expect(stdout).to.include('after $  sandbox none').and.include('No sandbox is running.')
        expect(stdout).not.to.match(/^path /m)
        expect(stderr).to.match(/^Ended \S*clawctl-sandbox-\w+\.$/m)
        expect(await leftIn(folder)).to.deep.equal(NOTHING)
      })
    }

    it('reports a failed start like a foreground sandbox, and leaves nothing behind', async () => {
      const { folder, env } = await ownFolder()
      const outcome = await clawctl(['sandbox', 'up', '--detach', '--fault', 'host:crsh'], { env, process: true })
      expect(outcome.code).to.equal(2)
      expect(outcome.stderr).to.include('Did you mean host:crash?')
      expect(await leftIn(folder)).to.deep.equal(NOTHING)
    })

    it('ends after its time limit', async () => {
      const { folder, env } = await ownFolder()
      const outcome = await clawctl(['sandbox', 'up', '--detach', '--for', '100ms', '--json'], {
        env,
        process: true,
        printsSecrets: true,
      })
      expect(outcome.json().sandbox.env).to.have.property('CLAWCTL_SANDBOX')
      expect(await leftIn(folder)).to.deep.equal(NOTHING)
    })
  })
})
