import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { expect } from 'chai'
import { execa } from 'execa'
import { runScript, sha256, throwAwayRoot } from './hostSupport.js'

describe('the shared memory', () => {
  const root = throwAwayRoot()
  beforeEach(() => mkdir(root.path('memory')))

  const environment = () => ({ CLAWDINATOR_MEMORY_DIR: root.path('memory'), MEMORY_LOCK_SECONDS: '1' })
  const read = (...args: string[]) => runScript('memory-read.sh', args, { env: environment() })
  const write = (input: string | Buffer, ...args: string[]) =>
    runScript('memory-write.sh', args, { env: environment(), input })
  const edit = (args: readonly string[], input?: string) =>
    runScript('memory-edit.sh', args, { env: environment(), ...(input === undefined ? {} : { input }) })
  const file = (path: string) => readFile(root.path('memory', path), 'utf8')

  it('loses no line of sixteen concurrent writers', async () => {
    await write('# ops\n', 'ops.md')
    const lines = Array.from({ length: 32 }, (_, i) => `- writer ${i % 16}, line ${i >> 4}`)
    const outcomes = await Promise.all(
      Array.from({ length: 16 }, async (_, writer) => {
        const codes: number[] = []
        for (const line of lines.filter((_line, i) => i % 16 === writer)) {
          const one = await runScript('memory-write.sh', ['--append', 'ops.md'], {
            env: { ...environment(), MEMORY_LOCK_SECONDS: '30' },
            input: line,
          })
          codes.push(one.code)
        }
        return codes
      }),
    )
    expect(outcomes.flat().every((code) => code === 0)).to.equal(true)
    const found = (await file('ops.md')).split('\n')
    expect(found.slice(1, -1).sort()).to.deep.equal([...lines].sort())
    expect(found[0]).to.equal('# ops')
    expect((await readdir(root.path('memory'))).filter((name) => name.endsWith('.new'))).to.deep.equal([])
  })

  it('writes, reads and lists files', async () => {
    expect((await write('one\ntwo', 'notes/a b.md')).code).to.equal(0)
    expect((await read('notes/a b.md')).stdout).to.equal('one\ntwo\n')
    expect((await read('--digest', 'notes/a b.md')).stdout.trim()).to.equal(sha256('one\ntwo\n'))
    expect((await read()).stdout).to.match(/^8\t\d{4}-\d\d-\d\d \d\d:\d\d\tnotes\/a b\.md\n$/)
  })

  it('replaces only the content that the writer has read, with --if-digest', async () => {
    await write('one\n', 'a.md')
    const digest = sha256('one\n')
    expect((await write('two\n', '--if-digest', digest, 'a.md')).code).to.equal(0)
    const late = await write('three\n', '--if-digest', digest, 'a.md')
    expect(late.code).to.equal(3)
    expect(late.stderr).to.contain('has changed since you read it')
    expect((await write('x\n', '--create', 'a.md')).code).to.equal(3)
    expect(await file('a.md')).to.equal('two\n')
  })

  it('edits exactly the given passage', async () => {
    await write('a $x "y" \\n *b*\nsame\nsame\n', 'a.md')
    expect((await edit(['a.md', '--old', '$x "y" \\n *b*', '--new', '& [z] \\1'])).code).to.equal(0)
    expect(await file('a.md')).to.equal('a & [z] \\1\nsame\nsame\n')
    const twice = await edit(['a.md', '--old', 'same', '--new', 'other'])
    expect(twice.code).to.equal(3)
    expect(twice.stderr).to.contain('2 times')
    expect((await edit(['a.md', '--all'], JSON.stringify({ old: 'same\n', new: '' }))).code).to.equal(0)
    expect(await file('a.md')).to.equal('a & [z] \\1\n')
    expect((await edit(['a.md', '--old', 'gone', '--new', 'x'])).stderr).to.contain('is not in "a.md"')
  })

  it('waits for a lock, and reports a timeout', async () => {
    await write('one\n', 'a.md')
    const hold = `exec 9<>${root.path('memory/.a.md.lock')}; flock -x 9; echo held; exec sleep 20`
    const holder = execa('bash', ['-c', hold], { reject: false })
    await once(holder.stdout, 'data')
    const [writer, reader] = await Promise.all([write('two\n', 'a.md'), read('a.md')])
    holder.kill('SIGKILL')
    expect([writer.code, reader.code]).to.deep.equal([5, 5])
    expect(writer.stderr).to.contain('was locked for 1 seconds')
    expect(await file('a.md')).to.equal('one\n')
  })

  it('removes the temporary file of a killed writer of the same file, and nothing else', async () => {
    await write('one\n', 'a.md')
    const names = ['.a.md.Ab12cd.new', '.a.md.x.Ab12cd.new', '.b.md.Ab12cd.new']
    for (const name of names) await writeFile(root.path(`memory/${name}`), 'half')
    expect((await write('two\n', 'a.md')).code).to.equal(0)
    expect(names.map((name) => existsSync(root.path(`memory/${name}`)))).to.deep.equal([false, true, true])
    expect(await file('a.md')).to.equal('two\n')
  })

  it('refuses paths that lead out of the memory', async () => {
    await writeFile(root.path('outside.md'), 'secret\n')
    await symlink(root.path('outside.md'), root.path('memory/link.md'))
    await symlink(root.path(), root.path('memory/up'))
    const paths = [
      '../outside.md',
      root.path('outside.md'),
      'a/../../outside.md',
      'link.md',
      'up/outside.md',
      '.hidden',
      'a\nb',
      '',
    ]
    const outcomes = await Promise.all(
      paths.flatMap((path) => [
        write('x\n', path),
        ...(path === '' ? [] : [read(path), edit([path, '--old', 's', '--new', 'x'])]),
      ]),
    )
    for (const outcome of outcomes) {
      expect(outcome.code, outcome.stderr).to.equal(2)
      expect(outcome.stdout).to.equal('')
    }
    expect(await readFile(root.path('outside.md'), 'utf8')).to.equal('secret\n')
  })

  it('reports what is wrong with a call', async () => {
    await mkdir(root.path('memory/folder'))
    await execa('mkfifo', [root.path('memory/pipe')])
    const cases: [Promise<{ code: number; stderr: string }>, number, string][] = [
      [read('none.md'), 1, '  memory-read without a path lists'],
      [read('folder'), 2, 'is a folder'],
      [read('pipe'), 2, 'neither a file'],
      [write('x', '--append', 'pipe'), 2, 'neither a file'],
      [write('x', `folder/${'é'.repeat(120)}.md`), 2, 'longer than 239 bytes'],
      [read('--nonsense'), 2, 'no option --nonsense'],
      [write('', 'a.md'), 2, 'Standard input is empty'],
      [write(Buffer.alloc(1024 * 1024 + 1, 'x'), 'a.md'), 2, 'the limit is 1048576'],
      [write('x', '--append', '--create', 'a.md'), 2, 'exclude each other'],
      [edit(['a.md'], 'no json'), 2, 'Standard input is not'],
      [edit(['a.md', '--old', 'x']), 2, 'Both --old and --new'],
      [runScript('memory-read.sh', ['a.md'], { env: { CLAWDINATOR_MEMORY_DIR: root.path('none') } }), 4, 'no memory'],
    ]
    for (const [outcome, code, says] of cases) {
      const { code: found, stderr } = await outcome
      expect(stderr).to.contain(says)
      expect(found, stderr).to.equal(code)
    }
  })
})
