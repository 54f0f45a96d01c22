import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { CODES, type Code } from '../../../src/lib/domain/errors.js'
import { expectFailure, ROOT, run, TestSandbox, temporaryFolder } from '../../support/cli.js'

const SCRIPT = join(ROOT, 'scripts/fleet-control.sh')
const SKILL = readFileSync(join(ROOT, 'clawdinator/workspace/skills/fleet/SKILL.md'), 'utf8')
const WITHOUT_CLAWCTL = `${dirname(process.execPath)}:/usr/bin:/bin`

/** Codes with which a deploy's run can end, in addition to the Control API's own. */
const OF_A_RUN: Code[] = [
  'PLAN_OUT_OF_SCOPE',
  'NOT_IN_STATE',
  'BUNDLE_INCOMPLETE',
  'STATE_LOCKED',
  'PLAN_FAILED',
  'APPLY_FAILED',
  'HEALTH_FAILED',
  'KEPT',
  'ROLLED_BACK',
  'ROLLBACK_FAILED',
  'DEPLOY_FAILED',
  'CANCELLED',
]

describe('scripts/fleet-control.sh', () => {
  const folder = temporaryFolder()
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  const onHost = (args: readonly string[], options: Parameters<TestSandbox['run']>[2] = {}) =>
    sandbox.run('clawdinator-1', [SCRIPT, ...args], options)

  it('passes shellcheck (skipped where it is not installed)', function () {
    const { status, stdout, error } = spawnSync('shellcheck', [SCRIPT], { encoding: 'utf8' })
    if (error) this.skip()
    expect(status, stdout).to.equal(0)
  })

  it('answers as the skill shows it, command by command', async () => {
    const shown = examples()
    expect(shown.map(({ command }) => command.split(' ')[1])).to.include.members([
      'status',
      'deploy',
      'follow',
      'history',
    ])
    const ids = new Map<string, string>()
    for (const { command, output } of shown) {
      const typed = [...ids].reduce((text, [inSkill, real]) => text.replaceAll(inSkill, real), command)
      const { code, stdout, stderr } = await sandbox.run('clawdinator-1', ['bash', '-c', typed])
      const refused = code === 3
      const said = (refused ? stderr : stdout).trimEnd()
      expect(shape(said), typed).to.equal(shape(output))
      expect([0, 3], stderr).to.include(code)
      const [inSkill, real] = [output, said].map((text) => /^ {2}request (\S+)$/m.exec(text)?.[1])
      if (inSkill && real) ids.set(inSkill, real)
    }
    const requests = sandbox.inner.github.runs.map(({ inputs }) => [inputs.requested_by, inputs.caller])
    expect(requests).to.deep.equal(
      ids.size === 2
        ? [
            ['Jo', 'clawdinator-1'],
            ['Jo', 'clawdinator-1'],
          ]
        : [],
    )
  })

  it("works from any folder, through links, and with the checkout's own clawctl", async () => {
    mkdirSync(folder.path('a b'))
    symlinkSync(SCRIPT, folder.path('first'))
    symlinkSync('../first', folder.path('a b/second'))
    const [linked, relative] = await Promise.all([
      sandbox.run('clawdinator-1', [folder.path('a b/second'), '/fleet', 'status'], {
        cwd: folder.path(''),
        env: { PATH: WITHOUT_CLAWCTL, CDPATH: '/' },
      }),
      sandbox.run('clawdinator-1', ['bash', 'second', 'history', '--json'], {
        cwd: folder.path('a b'),
        env: { PATH: WITHOUT_CLAWCTL, CI: 'false' },
      }),
    ])
    expect(linked.code, linked.stderr).to.equal(0)
    expect(linked.stdout).to.match(/^clawdinator-1: running/)
    expect(relative.json()).to.have.all.keys('ok', 'deploys', 'next', 'sources')
  })

  it('passes on the exit code and the one document of --json', async () => {
    const [refused, unknown] = await Promise.all([
      onHost(['deploy', 'clawdinator-1', '--json']),
      onHost(['follow', 'x', '--json']),
    ])
    expectFailure(refused, 'SELF_DEPLOY', 3)
    expectFailure(unknown, 'NOT_FOUND', 2)
  })

  it('names what is missing if no clawctl can run', async () => {
    mkdirSync(folder.path('bin'))
    for (const tool of ['bash', 'readlink']) {
      symlinkSync(spawnSync('which', [tool], { encoding: 'utf8' }).stdout.trim(), folder.path(`bin/${tool}`))
    }
    const { code, stdout, stderr } = await run([SCRIPT, 'status'], { env: { PATH: folder.path('bin') } })
    expect([code, stdout]).to.deep.equal([4, ''])
    expect(stderr).to.match(/^Error \(TOOL_MISSING\): clawctl is not in PATH/)
  })

  for (const [title, args, exit] of [
    ['no command', [], 2],
    ['an unknown command', ['terminate', 'clawdinator-2'], 2],
    ['a command with control characters', ['\u001b[2Jdeploy'], 2],
    ['an option before the command', ['--json', 'status'], 2],
    ['another Control API', ['status', '--control-api-url', 'https://evil.example'], 2],
    ['another Control API, in one word', ['status', '--control-api-url=https://evil.example'], 2],
    ['another mode', ['deploy', 'clawdinator-2', '--mode', 'ci'], 2],
    ['help', ['--help'], 0],
  ] as const) {
    it(`prints its usage for ${title}, and runs nothing`, async () => {
      const { code, stdout, stderr } = await run([SCRIPT, ...args], { env: { PATH: process.env.PATH } })
      expect(code).to.equal(exit)
      expect(exit === 0 ? stdout : stderr).to.include('Usage: fleet-control.sh deploy TARGET')
      expect(exit === 0 ? stderr : stdout).to.equal('')
      expect(stderr).not.to.include('\u001b')
    })
  }
})

describe('the skill fleet', () => {
  it('has the front matter of a skill', () => {
    const [, front = ''] = /^---\n([\s\S]*?)\n---\n/.exec(SKILL) ?? []
    expect(front).to.match(/^name: fleet$/m)
    const description = /^description: (.+)$/m.exec(front)?.[1] ?? ''
    expect(description.length).to.be.within(50, 1024)
  })

  it('explains every code that an agent can get, with its exit code', () => {
    const rows = [...SKILL.matchAll(/^\| `([A-Z_]+)` \| (\d) \|/gm)].map(([, code = '', exit]) => `${code} ${exit}`)
    const met = Object.entries(CODES).filter(([code, entry]) => 'http' in entry || OF_A_RUN.includes(code as Code))
    expect(rows).to.include.members(met.map(([code, { exit }]) => `${code} ${exit}`))
    const known = Object.entries(CODES).map(([code, { exit }]) => `${code} ${exit}`)
    expect(known).to.include.members(rows)
    expect(new Set(rows).size).to.equal(rows.length)
  })
})

function examples(): { command: string; output: string }[] {
  return [...SKILL.matchAll(/^```console\n\$ (.+)\n([\s\S]*?)^```$/gm)].map(([, command = '', output = '']) => {
    return { command, output: output.trimEnd() }
  })
}

/** Replaces values that differ in each run. A run may start before it has a name. */
function shape(text: string): string {
  return text
    .replace(/^(Deploy of \S+): running$/m, '$1: queued')
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, 'UUID')
    .replace(/https?:\/\/\S+\/actions\/runs\/\d+/g, 'RUN')
    .replace(/\bi-[0-9a-f]{17}\b/g, 'INSTANCE')
    .replace(/\b\d+[smhd]\b/g, 'AGE')
}
