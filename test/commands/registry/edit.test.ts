import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { expect } from 'chai'
import { hostFileText } from '../../../src/lib/domain/registry/hostFile.js'
import { clawctl, expectFailure, type Outcome, registryOf, surroundings, temporaryFolder } from '../../support/cli.js'
import { ageText } from '../../support/fakes.js'

describe('clawctl registry add, remove, check', () => {
  const files = temporaryFolder()
  let number = 0

  /** A new checkout, and `clawctl registry …` in it. */
  async function checkout(
    text = `${registryOf(['clawdinator-1', 'clawdinator-2'])}\n`,
    hosts = ['clawdinator-1', 'clawdinator-2'],
  ) {
    const root = files.path(`checkout-${++number}`)
    await mkdir(`${root}/nix/hosts`, { recursive: true })
    await writeFile(`${root}/nix/instances.json`, text)
    for (const id of hosts) await writeFile(`${root}/nix/hosts/${id}.nix`, hostFileText(id))
    return {
      root,
      run: (...args: string[]): Promise<Outcome> =>
        clawctl(['registry', ...args], { env: { ...surroundings(), CLAWCTL_CHECKOUT: root } }),
      /** As a process, because the command uses its current folder. */
      runThere: (...args: string[]): Promise<Outcome> =>
        clawctl(['registry', ...args], { cwd: root, env: { ...surroundings(), CLAWCTL_CHECKOUT: root } }),
      registry: () => readFile(`${root}/nix/instances.json`, 'utf8'),
      hosts: async () => (await readdir(`${root}/nix/hosts`)).sort(),
    }
  }

  it('adds both files without a credential, and lists the remaining steps', async () => {
    const { run, runThere, root, registry, hosts } = await checkout()
    await mkdir(`${root}/secrets`)
    await writeFile(`${root}/secrets/clawdinator-discord-token-3.age`, ageText('a token'))
    const { code, stdout, stderr } = await runThere('add', 'clawdinator-3', '--secrets-dir', 'secrets')
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' })
    expect(stdout).to.match(/^Added clawdinator-3\.\n {2}created {2}nix\/hosts\/clawdinator-3\.nix\n {2}modified nix/)
    expect(stdout).to.match(/\[x\] 1\. Its own Discord bot.*\n {2}\[x\] 2\. Entry.*\n {2}\[x\] 3\. Host file/)
    expect(stdout).to.match(
      /\[ \] 4\. Its own age identity.*\n +clawctl secrets identity new clawdinator-3 .*\n {2}\[ \] 5\. Its own control token.*\n +clawctl token add clawdinator-3 .*\n {2}\[ \] 6\. .*not known here.*\n +git add nix\/instances\.json nix\/hosts\/clawdinator-3\.nix/,
    )
    expect(stdout).to.match(/\[ \] 8\. Deployed.*\n +clawctl fleet deploy clawdinator-3 --wait/)
    expect(JSON.parse(await registry())['clawdinator-3']).to.deep.equal({
      host: 'clawdinator-3',
      instanceType: 't3.large',
      bootstrapPrefix: 'bootstrap/clawdinator-3',
      discordTokenSecret: 'clawdinator-discord-token-3',
    })
    expect(await hosts()).to.include('clawdinator-3.nix')
    const [again, check] = [await run('add', 'clawdinator-3', '--json'), await run('check')]
    expect(again.json()).to.include({ ok: true, status: 'unchanged', diff: '' })
    expect(check.stdout).to.equal('3 instances, no error.\n')
  })

  it('prints only the diff with --dry-run, as text or in the one document', async () => {
    const { run, registry, hosts } = await checkout()
    const before = await registry()
    const [text, json] = await Promise.all([
      run('add', 'clawdinator-3', '--dry-run'),
      run('remove', 'clawdinator-2', '--dry-run', '--json'),
    ])
    expect(text.stdout).to.include('+  "clawdinator-3": {\n').and.include('Dry run: nothing was changed.')
    expect(json.stderr).to.equal('')
    const { status, files: changed, diff, stays } = json.json()
    expect(status).to.equal('planned')
    expect(changed).to.deep.equal([
      { path: 'nix/hosts/clawdinator-2.nix', change: 'deleted' },
      { path: 'nix/instances.json', change: 'modified' },
    ])
    expect(diff).to.include('-  "clawdinator-2": {\n')
    expect(stays[0].command).to.equal('clawctl fleet deploy --retire clawdinator-2')
    expect([await registry(), await hosts()]).to.deep.equal([before, ['clawdinator-1.nix', 'clawdinator-2.nix']])
  })

  it('loses no concurrent addition', async () => {
    const { runThere, registry } = await checkout('{}')
    const ids = ['a', 'b', 'c', 'd']
    const outcomes = await Promise.all(ids.map((id) => runThere('add', id)))
    expect(outcomes.map(({ code }) => code)).to.deep.equal([0, 0, 0, 0])
    expect(Object.keys(JSON.parse(await registry())).sort()).to.deep.equal(ids)
  })

  it('removes what it added, byte for byte, and lists what remains', async () => {
    const { run, registry, hosts } = await checkout()
    const before = await registry()
    await run('add', 'clawdinator-3')
    const { code, stdout } = await run('remove', 'clawdinator-3')
    expect(code).to.equal(0)
    expect(stdout).to.include('Removed clawdinator-3').and.include('Not removed:')
    expect([await registry(), await hosts()]).to.deep.equal([before, ['clawdinator-1.nix', 'clawdinator-2.nix']])
  })

  it('refuses with a code, and changes nothing', async () => {
    const { run, registry } = await checkout()
    const before = await registry()
    const refusals: [string[], string, number][] = [
      [['add', 'clawdinator-2', '--host', 'x'], 'REGISTRY_CONFLICT', 2],
      [['add', '../x'], 'INVALID_REQUEST', 2],
      [['add', 'x', '--host', ''], 'USAGE', 2],
      [['remove', 'clawdinator-3'], 'UNKNOWN_TARGET', 2],
      [['add', 'x', '--pr'], 'NOT_CONFIGURED', 4],
    ]
    const outcomes = await Promise.all(refusals.map(([args]) => run(...args, '--json')))
    for (const [index, outcome] of outcomes.entries()) {
      const [, code, exit] = refusals[index] ?? [[], '', 0]
      expectFailure(outcome, code, exit)
    }
    expect(await registry()).to.equal(before)
  })

  it('prints one line per problem with its place, and all problems as data', async () => {
    const bad = registryOf(['clawdinator-1', 'clawdinator-2']).replace('"t3.large"', '"large"')
    const { run } = await checkout(bad, ['clawdinator-1', 'old'])
    const [text, json] = await Promise.all([run('check'), run('check', '--json')])
    expect(text.code).to.equal(2)
    expect(text.stdout.split('\n')).to.deep.equal([
      'nix/instances.json:4:21: error: clawdinator-1: instanceType must be an EC2 instance type such as t3.large [value]',
      'nix/instances.json:8:3: error: clawdinator-2: there is no nix/hosts/clawdinator-2.nix [missing-host-file]',
      'nix/hosts/old.nix:1:1: warning: no entry of nix/instances.json uses this file [unused-host-file]',
      '',
    ])
    expect(text.stderr).to.match(/^Error \(INVALID_REGISTRY\): nix\/instances\.json has 2 problems\./)
    expectFailure(json, 'INVALID_REGISTRY', 2)
    expect(json.json().problems[1]).to.deep.equal({
      file: 'nix/instances.json',
      line: 8,
      column: 3,
      severity: 'error',
      rule: 'missing-host-file',
      id: 'clawdinator-2',
      message: 'there is no nix/hosts/clawdinator-2.nix',
    })
  })
})
