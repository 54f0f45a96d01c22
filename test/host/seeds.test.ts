import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { surroundings } from '../support/cli.js'
import { runScript, throwAwayRoot } from './hostSupport.js'

describe('seed-workspace.sh', () => {
  const root = throwAwayRoot()
  const seed = (...options: string[]) =>
    runScript('seed-workspace.sh', [...options, root.path('templates'), root.path('workspace')])

  it("creates missing files, updates unchanged ones, and never overwrites the agent's changes", async () => {
    await root.write('templates/SOUL.md', 'br00tal\n')
    await root.write('templates/AGENTS.md', 'one\n')
    await root.write('templates/skills/fleet/SKILL.md', 'fleet\n')
    expect((await seed()).code).to.equal(0)
    await root.write('workspace/SOUL.md', 'mine\n')
    await root.write('workspace/notes.md', 'mine too\n')
    await rm(root.path('workspace/skills/fleet/SKILL.md'))

    await root.write('templates/SOUL.md', 'more br00tal\n')
    await root.write('templates/AGENTS.md', 'two\n')
    const again = await seed()
    expect(again.stderr).to.contain('changed by the agent and kept: SOUL.md')
    expect(await root.read('workspace/SOUL.md')).to.equal('mine\n')
    expect(await root.read('workspace/AGENTS.md')).to.equal('two\n')
    expect(await root.read('workspace/notes.md')).to.equal('mine too\n')
    expect(await root.read('workspace/skills/fleet/SKILL.md')).to.equal('fleet\n')
  })

  it('handles a line end, a backslash and blanks in the name of a template', async () => {
    const names = ['two\nlines.md', 'back\\nslash.md', ' blank .md']
    for (const name of names) await root.write(`templates/${name}`, 'one\n')
    expect((await seed()).code).to.equal(0)
    for (const name of names) await root.write(`templates/${name}`, 'two\n')
    const again = await seed()
    expect(again.stderr).to.equal('')
    for (const name of names) expect(await root.read(`workspace/${name}`), name).to.equal('two\n')
  })

  it('changes no existing file with --only-missing', async () => {
    await root.write('templates/project.md', 'one\n')
    await seed('--only-missing')
    await root.write('templates/project.md', 'two\n')
    expect((await seed('--only-missing')).code).to.equal(0)
    expect(await root.read('workspace/project.md')).to.equal('one\n')
    expect(existsSync(root.path('workspace/.seeded'))).to.equal(false)
  })

  it('does not follow a link that leads out of the folder', async () => {
    await root.write('templates/skills/a.md', 'template\n')
    await root.write('templates/b.md', 'template\n')
    await root.write('elsewhere/b.md', 'theirs\n')
    await mkdir(root.path('workspace'))
    await symlink(root.path('elsewhere'), root.path('workspace/skills'))
    await symlink(root.path('elsewhere/b.md'), root.path('workspace/b.md'))
    expect((await seed()).stderr).to.contain('b.md skills/a.md')
    expect(existsSync(root.path('elsewhere/a.md'))).to.equal(false)
    expect(await root.read('elsewhere/b.md')).to.equal('theirs\n')
  })
})

describe('seed-repos.sh', () => {
  const root = throwAwayRoot()
  const git = (folder: string, ...args: string[]) =>
    execa('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      env: { ...surroundings(), GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
      extendEnv: false,
    })
  const seed = (...names: string[]) => runScript('seed-repos.sh', [root.path('bundle'), root.path('repos'), ...names])

  /** A bundle with one repository `r` whose file a.txt holds the text. Returns its commit. */
  async function bundle(text: string): Promise<string> {
    const source = root.path('source/r')
    if (!existsSync(source)) {
      await mkdir(source, { recursive: true })
      await git(source, 'init', '--quiet', '-b', 'main')
      await git(source, 'remote', 'add', 'origin', 'https://github.com/o/r.git')
    }
    await writeFile(join(source, 'a.txt'), text)
    await git(source, 'add', '-A')
    await git(source, 'commit', '--quiet', '-m', text)
    const commit = (await git(source, 'rev-parse', 'HEAD')).stdout
    await mkdir(root.path('bundle/repos'), { recursive: true })
    await execa('tar', ['-czf', root.path('bundle/repos/r.tar.gz'), '-C', root.path('source'), 'r/.git'])
    const object = { kind: 'repo', name: 'r', file: 'repos/r.tar.gz', commit }
    await root.write('bundle/config.json', JSON.stringify({ objects: [{ kind: 'secret', name: 's' }, object] }))
    return commit
  }

  it('unpacks a repository once, updates it to a newer seed, and keeps changed ones', async () => {
    const first = await bundle('one\n')
    const outcome = await seed('r')
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect((await git(root.path('repos/r'), 'rev-parse', 'HEAD')).stdout).to.equal(first)
    expect(await root.read('repos/r/a.txt')).to.equal('one\n')
    await root.write('repos/r/flake.lock', '{}')
    expect((await seed('r')).stderr).to.equal('')
    expect(await root.read('repos/r/flake.lock')).to.equal('{}')

    await bundle('two\n')
    expect((await seed('r')).code).to.equal(0)
    expect(await root.read('repos/r/a.txt')).to.equal('two\n')

    await root.write('repos/r/a.txt', 'mine\n')
    const third = await bundle('three\n')
    const kept = await seed('r')
    expect(kept.stderr).to.contain('was changed on this host').and.contain(third)
    expect(await root.read('repos/r/a.txt')).to.equal('mine\n')
  })

  it('updates to a newer seed although an earlier run was killed before it recorded its seed', async () => {
    await bundle('one\n')
    await seed('r')
    const first = await root.read('repos/.r.seed')
    await bundle('two\n')
    await seed('r')
    await root.write('repos/.r.seed', first)
    expect((await seed('r')).stderr).to.equal('')
    await bundle('three\n')
    expect((await seed('r')).code).to.equal(0)
    expect(await root.read('repos/r/a.txt')).to.equal('three\n')
  })

  it('keeps a repository whose seed record is empty', async () => {
    await bundle('one\n')
    await seed('r')
    await root.write('repos/.r.seed', '')
    await bundle('two\n')
    const kept = await seed('r')
    expect(kept.code, kept.stderr).to.equal(0)
    expect(kept.stderr).to.contain('was changed on this host and is kept')
  })

  it('sets origin to the configured URL', async () => {
    await bundle('one\n')
    await seed('r=https://github.com/other/r.git')
    expect((await git(root.path('repos/r'), 'remote', 'get-url', 'origin')).stdout).to.equal(
      'https://github.com/other/r.git',
    )
  })

  it("names a repository that the bundle lacks, or that can't be unpacked", async () => {
    await bundle('one\n')
    const missing = await seed('r', 'clawdinators')
    expect(missing.code).to.equal(1)
    expect(missing.stderr)
      .to.contain('does not contain the repository clawdinators')
      .and.contain('clawctl bootstrap upload')
    const { objects } = JSON.parse(await root.read('bundle/config.json'))
    await root.write('bundle/config.json', JSON.stringify({ objects: [...objects, { kind: 'repo', name: {} }] }))
    expect((await seed()).stderr).to.contain('has an invalid list of repositories')
    await root.write('bundle/config.json', JSON.stringify({ objects }))
    await rm(root.path('repos'), { recursive: true })
    await writeFile(
      root.path('bundle/repos/r.tar.gz'),
      (await readFile(root.path('bundle/repos/r.tar.gz'))).subarray(0, 200),
    )
    const torn = await seed('r')
    expect(torn.code).to.equal(1)
    expect(torn.stderr).to.contain("can't be unpacked")
    expect(existsSync(root.path('repos/r'))).to.equal(false)
    expect((await runScript('seed-repos.sh', [root.path('none'), root.path('repos')])).stderr).to.contain('no bundle')
  })
})
