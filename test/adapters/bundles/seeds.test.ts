import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect } from 'chai'
import { createGit } from '../../../src/lib/adapters/bundles/seeds/git.js'
import { seedInspector } from '../../../src/lib/adapters/bundles/seeds/inspect.js'
import { folderSeeds, listedSeeds } from '../../../src/lib/adapters/bundles/seeds/sources.js'
import { parseSeeds } from '../../../src/lib/domain/bundles/seeds.js'
import { SecretsWorld } from '../../support/bundles.js'
import { ROOT } from '../../support/cli.js'
import { failureOf } from '../../support/failure.js'
import { startServer } from '../../support/server.js'

const TOKEN = 'ghs_0123456789abcdef0123456789abcdef'

describe('repository seeds', () => {
  let world: SecretsWorld
  let scratches = 0
  before(async () => {
    world = await SecretsWorld.make([])
    const folder = world.repository('clawdinators')
    // Similar contents, so that git stores some as deltas of others.
    const lines = Array.from({ length: 400 }, (_, n) => createHash('md5').update(String(n)).digest('hex'))
    for (let n = 0; n < 20; n += 1)
      writeFileSync(`${folder}/alike-${n}`, `${lines.join('\n')}\n${n}\n`.repeat(1 + (n % 2)))
    world.repository('clawdinators', 'more')
  })
  after(() => world.remove())

  const scratch = () => {
    scratches += 1
    const folder = world.path(`scratch-${scratches}`)
    return () => folder
  }
  const git = createGit(process.env, TOKEN)
  const packed = async (list: ReturnType<typeof listedSeeds>) => {
    const [source] = await list.list()
    if (!source) throw new Error('no source')
    return { source, ...(await source.pack()) }
  }
  const listed = (file = world.repos) => packed(listedSeeds(file, { git, scratch: scratch() }))
  const clones = () => packed(folderSeeds(world.path('repositories'), { git, scratch: scratch() }))

  it('have the same bytes for the same commit, however the repository stores it', async () => {
    const first = await listed()
    const folder = world.path('repositories', 'clawdinators')
    world.git(folder, '-c', 'pack.compression=0', 'repack', '-a', '-d', '-F', '--quiet', '--depth=50', '--window=50')
    const second = await listed()
    expect(second.sha256).to.equal(first.sha256)
    expect(createHash('sha256').update(readFileSync(second.file)).digest('hex')).to.equal(first.sha256)
    expect(second.commit)
      .to.equal(world.git(folder, 'rev-parse', 'HEAD').trim())
      .and.equal(await second.source.commit())
    expect(readFileSync(first.file).length).to.equal(first.size)
  })

  it('unpack to a shallow repository at the commit, with tools that every host has', async () => {
    const { file, commit, source } = await listed()
    const folder = world.path('host')
    mkdirSync(folder)
    execFileSync('tar', ['-xzf', file, '-C', folder, '--no-same-owner'])
    const installed = world.path('host', 'clawdinators')
    world.git(installed, 'reset', '--hard', '--quiet')
    expect(world.git(installed, 'status', '--porcelain')).to.equal('')
    expect(world.git(installed, 'rev-parse', 'HEAD', 'refs/remotes/origin/main').trim().split('\n')).to.deep.equal([
      commit,
      commit,
    ])
    expect(world.git(installed, 'rev-list', '--count', 'HEAD').trim()).to.equal('1')
    expect(world.git(installed, 'ls-files', '--stage', 'bin/run')).to.match(/^100755 /)
    expect(world.git(installed, 'config', 'remote.origin.url').trim()).to.equal(source.url)
    world.git(installed, 'fsck', '--strict')
    expect(await seedInspector(git, scratch()).inspect(file, 'clawdinators', commit)).to.deep.equal([])
  })

  it("report git's error, not its advice, if a clone fails", async () => {
    const list = world.path('gone.tsv')
    writeFileSync(list, `gone\tfile://${world.path('gone')}\tmain\n`)
    const failure = await failureOf(listed(list))
    expect(failure.message).to.match(/^gone could not be cloned: '.*gone' does not appear to be a git repository\.$/)
    expect(failure.details.at(-1)).to.include('and the repository exists')
  })

  it('name the full disk of this machine where they do not fit', async function () {
    if (!existsSync('/dev/full')) this.skip()
    const folder = scratch()
    mkdirSync(`${folder()}/clawdinators`, { recursive: true })
    symlinkSync('/dev/full', `${folder()}/clawdinators/clawdinators.tar.gz`)
    const failure = await failureOf(packed(listedSeeds(world.repos, { git, scratch: folder })))
    expect(failure.code).to.equal('NOT_WRITABLE')
    expect(failure.message).to.equal('clawdinators could not be packed: there is no space left on this machine.')
  })

  it('contain no time, place or person of the packing', async () => {
    const tar = gunzipSync(readFileSync((await listed()).file))
    const header = tar.subarray(0, 512).toString('latin1')
    expect(header.slice(108, 124)).to.match(/^0+ ?\0?0+ ?\0?/)
    expect(Number.parseInt(header.slice(136, 148), 8)).to.equal(0)
    expect(tar.includes('hooks')).to.equal(false)
  })

  it('are packed from local clones at their checked-out commit, without credentials', async () => {
    const folder = world.path('repositories', 'clawdinators')
    world.git(folder, 'remote', 'add', 'origin', `https://x:${TOKEN}@github.com/openclaw/clawdinators.git`)
    const { file, source, commit } = await clones()
    expect(source).to.include({
      name: 'clawdinators',
      branch: 'main',
      url: 'https://github.com/openclaw/clawdinators.git',
    })
    expect(commit).to.equal(world.git(folder, 'rev-parse', 'HEAD').trim())
    expect(gunzipSync(readFileSync(file)).includes(TOKEN)).to.equal(false)
    world.git(folder, 'checkout', '--quiet', '--detach')
    expect((await failureOf(clones())).message).to.include('no branch checked out')
    world.git(folder, 'checkout', '--quiet', 'main')
    mkdirSync(world.path('repositories', 'plain'))
    expect((await failureOf(clones())).message).to.include('plain is not a repository')
  })

  it("send the token only to GitHub's server, as a header, and never show it", async () => {
    const server = await startServer((response) => response.writeHead(404).end(`no ${TOKEN} here`))
    try {
      const options = (own: string) => ({
        git: createGit({ ...process.env, GITHUB_SERVER_URL: own }, TOKEN),
        scratch: scratch(),
      })
      const file = world.path('http.tsv')
      writeFileSync(file, `clawdinators\t${server.url}/x.git\tmain\n`)
      for (const own of [server.url, 'https://github.com']) {
        const [source] = await listedSeeds(file, options(own)).list()
        const failure = await failureOf(source?.commit() ?? Promise.resolve())
        expect(failure.code).to.equal('UPSTREAM')
        expect(`${failure.message} ${failure.details.join(' ')}`)
          .to.include('clawdinators')
          .and.not.include(TOKEN)
      }
      const sent = server.received.map(({ headers }) => headers.authorization)
      expect(sent).to.deep.equal([`Basic ${btoa(`x-access-token:${TOKEN}`)}`, undefined])
    } finally {
      await server.close()
    }
  })

  it('never run a program that an archive names while it is inspected', async () => {
    const { file, commit } = await listed()
    const [folder, ran, changed] = [world.path('changed'), world.path('ran'), world.path('changed.tar.gz')]
    mkdirSync(folder)
    execFileSync('tar', ['-xzf', file, '-C', folder])
    const within = world.path('changed', 'clawdinators', '.git')
    const inspect = () => {
      execFileSync('tar', ['-czf', changed, '-C', folder, 'clawdinators'])
      return seedInspector(git, scratch()).inspect(changed, 'clawdinators', commit)
    }
    const filter = `[filter "evil"]\n\tsmudge = touch ${ran}\n`
    appendFileSync(`${within}/config`, `${filter}[core]\n\tattributesFile = ${world.path('attributes')}\n`)
    writeFileSync(world.path('attributes'), '* filter=evil\n')
    expect(await inspect()).to.deep.equal([])
    mkdirSync(`${within}/info`)
    expect((await inspect())[0]).to.include('.git/info/", which no packed repository has')
    expect(existsSync(ran)).to.equal(false)
  })

  it('refuse unsafe archives', async () => {
    const { file, commit } = await listed()
    const inspect = (name: string, at: string) => seedInspector(git, scratch()).inspect(file, name, at)
    expect((await inspect('other', commit))[0]).to.include('which is not of other/.git')
    expect((await inspect('clawdinators', '0'.repeat(40)))[0]).to.include(`is at ${commit}`)
    const broken = world.path('broken.tar.gz')
    writeFileSync(broken, readFileSync(file).subarray(0, 900))
    expect((await seedInspector(git, scratch()).inspect(broken, 'clawdinators', commit))[0]).to.match(
      /not a valid gzip'd tar/,
    )
  })
})

describe('parseSeeds', () => {
  it("reads the checkout's own list", () => {
    const { seeds, problems } = parseSeeds(readFileSync(`${ROOT}/clawdinator/repos.tsv`, 'utf8'))
    expect(problems).to.deep.equal([])
    expect(seeds.map(({ name }) => name)).to.include('clawdinators')
  })

  const bad: [line: string, problem: RegExp][] = [
    ['a https://x.example/a.git main', /tabs between them/],
    ['a\thttps://x.example/a.git', /tabs between them/],
    ['../a\thttps://x.example/a.git\tmain', /is not a valid name/],
    ['a\thttps://user:secret@x.example/a.git\tmain', /holds credentials/],
    ['a\thttps://token@x.example/a.git\tmain', /holds credentials/],
    ['a\text::sh -c x\tmain', /only https:, ssh: and file:/],
    ['a\thttp://x.example/a.git\tmain', /only https:/],
    ['a\t--upload-pack=x\tmain', /the URL is not valid/],
    ['a\thttps://x.example/a.git\t--all', /is not a branch name/],
    ['a\thttps://x.example/a.git\ta..b', /is not a branch name/],
    ['# nothing', /no repository is named/],
  ]
  for (const [line, problem] of bad) {
    it(`refuses ${JSON.stringify(line)}`, () => {
      const { seeds, problems } = parseSeeds(`${line}\n`)
      expect(seeds).to.deep.equal([])
      expect(problems[0]).to.match(problem)
      expect(problems.join()).not.to.include('secret@')
    })
  }

  it('accepts comments, empty lines, CRLF and ssh URLs, and reports repeated names', () => {
    const text = '# a\r\n\r\na\tssh://git@x.example/a.git\tfeature/x\r\na\thttps://x.example/b.git\tmain\r\n'
    const { seeds, problems } = parseSeeds(text)
    expect(seeds).to.deep.equal([{ name: 'a', url: 'ssh://git@x.example/a.git', branch: 'feature/x' }])
    expect(problems).to.deep.equal(['line 4: the name a occurs twice'])
  })
})
