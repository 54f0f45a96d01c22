import { existsSync } from 'node:fs'
import { chmod, mkdir, readlink, rm, symlink } from 'node:fs/promises'
import { expect } from 'chai'
import { runScript, serve, sha256, throwAwayRoot } from './hostSupport.js'

describe('github-sync.sh', () => {
  const root = throwAwayRoot()
  interface Item {
    number: number
    title: string
    updated_at: string
    pull_request?: object
  }
  let github: Awaited<ReturnType<typeof serve>>
  let items: Record<string, Item[]>
  let more: string[]
  let asked: { url: string; status: number }[]
  let limit: { remaining: number; status?: number; message?: string }

  beforeEach(async () => {
    items = { claw: [], old: [] }
    more = []
    asked = []
    limit = { remaining: 4000 }
    github = await serve((request, response) => {
      const url = new URL(request.url ?? '/', 'http://x')
      const page = Number(url.searchParams.get('page') ?? '1')
      const repo = /^\/repos\/o\/([^/]+)\/issues$/.exec(url.pathname)?.[1]
      const all =
        url.pathname === '/orgs/o/repos'
          ? [
              { name: 'claw', archived: false, has_issues: true },
              ...more.map((name) => ({ name, archived: false, has_issues: true })),
              { name: 'old', archived: true, has_issues: true },
            ]
          : (items[repo ?? ''] ?? []).map((item) => ({
              ...item,
              html_url: `https://github.com/o/${repo}/issues/${item.number}`,
              user: { login: 'jo' },
              labels: [{ name: 'bug' }],
              created_at: '2026-01-01T00:00:00Z',
            }))
      const body = JSON.stringify(all.slice((page - 1) * 2, page * 2))
      const etag = `"${sha256(body)}"`
      const status =
        (repo === 'moved' && !items.moved ? 410 : limit.status) ??
        (request.headers.authorization !== 'Bearer ghs_token'
          ? 401
          : request.headers['if-none-match'] === etag
            ? 304
            : 200)
      asked.push({ url: request.url ?? '', status })
      url.searchParams.set('page', String(page + 1))
      const next = `<${github.url}${url.pathname}${url.search}>; rel="next"`
      response.writeHead(status, {
        etag,
        'x-ratelimit-remaining': String(limit.remaining),
        ...(all.length > page * 2 ? { link: next } : {}),
      })
      response.end(status === 200 ? body : JSON.stringify({ message: limit.message ?? '' }))
    })
  })
  afterEach(() => github.close())

  const sync = (env: Record<string, string> = {}) =>
    runScript('github-sync.sh', ['o', root.path('memory/github')], {
      env: { GITHUB_API_URL: github.url, GITHUB_TOKEN_FILE: root.path('token.env'), GITHUB_SYNC_PAUSE: '0', ...env },
    })
  const open = async () => JSON.parse(await root.read('memory/github/open.json'))
  const issue = (number: number, updated: number, more: Partial<Item> = {}): Item => ({
    number,
    title: `issue ${number}`,
    updated_at: `2026-11-${String(updated).padStart(2, '0')}T00:00:00Z`,
    ...more,
  })

  it('lists open items and their changes, and requests only pages that changed', async () => {
    await root.write('token.env', 'GITHUB_TOKEN=ghs_token\n')
    items.claw = [issue(1, 3), issue(2, 2), issue(3, 1, { pull_request: {}, title: '[x](http://evil) `a`\n# b' })]
    const first = await sync()
    expect(first.code, first.stderr).to.equal(0)
    expect((await open()).map((item: { number: number; kind: string }) => `${item.number} ${item.kind}`)).to.deep.equal(
      ['1 issue', '2 issue', '3 pull'],
    )
    expect(await root.read('memory/github/changes.md')).to.contain('first run: 3 open, 1 of them pull requests')
    expect(asked.some(({ url }) => url.includes('/old/'))).to.equal(false)

    asked = []
    const before = await root.read('memory/github/changes.md')
    expect((await sync()).code).to.equal(0)
    expect(asked.map(({ status }) => status)).to.deep.equal([304, 304, 304])
    expect(await root.read('memory/github/changes.md')).to.equal(before)

    items.claw = [issue(4, 5), issue(1, 4), issue(3, 1, { pull_request: {}, title: '[x](http://evil) `a`\n# b' })]
    await sync()
    const changes = await root.read('memory/github/changes.md')
    expect(changes).to.contain('- opened: [claw#4](https://github.com/o/claw/issues/4) issue 4 — jo, bug')
    expect(changes).to.contain('- changed: [claw#1]').and.contain('- closed: [claw#2]')
    expect(changes).not.to.contain('claw#3')
    expect(changes.indexOf('opened:')).to.be.below(changes.indexOf('first run'))

    items.claw = []
    await sync()
    expect(await root.read('memory/github/changes.md')).to.contain(
      '\\[x\\](http://evil) \\`a\\` # b — jo, pull request',
    )
  })

  it('writes no control character of a title', async () => {
    await root.write('token.env', 'ghs_token\n')
    await sync()
    items.claw = [issue(1, 3, { title: 'a\u001b[31m\u0000b\u007f\u009bc\u202ed\u2028e\tf' })]
    await sync()
    const changes = await root.read('memory/github/changes.md')
    expect(changes)
      .to.contain('a \\[31m b c d e f — jo')
      .and.not.to.match(/[^\n\P{C}]/u)
  })

  it('changes nothing if GitHub throttles, and keeps requests for the agent', async () => {
    await root.write('token.env', 'ghs_token\n')
    items.claw = [issue(1, 3)]
    await sync()
    const before = await open()
    items.claw = [issue(2, 4)]
    limit = { remaining: 0, status: 403 }
    const waits = await sync()
    expect(waits.code).to.equal(0)
    expect(waits.stderr).to.contain('throttles requests')
    for (const said of [{ status: 429 }, { status: 403, message: 'You have exceeded a secondary rate limit.' }]) {
      limit = { remaining: 4000, ...said }
      expect((await sync()).stderr).to.contain('throttles requests')
    }
    limit = { remaining: 10 }
    expect((await sync()).stderr).to.contain('10 requests are left')
    expect(await open()).to.deep.equal(before)
  })

  it('continues without a missing repository, and does not show its issues as closed', async () => {
    await root.write('token.env', 'ghs_token\n')
    more = ['moved']
    items = { claw: [issue(1, 3)], moved: [issue(7, 1)] }
    await sync()
    items = { claw: [issue(2, 4)] }
    const outcome = await sync()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(outcome.stderr).to.contain('no issues of o/moved (status 410)')
    expect((await open()).map((item: { number: number }) => item.number)).to.deep.equal([2, 7])
    const changes = await root.read('memory/github/changes.md')
    expect(changes).to.contain('closed: [claw#1]').and.not.contain('moved#7')
  })

  it('reports a wrong token, a missing permission and a failed service', async () => {
    await root.write('token.env', 'GITHUB_TOKEN=ghs_wrong\n')
    const wrong = await sync()
    expect([wrong.code, wrong.stderr.includes('rejects the token')]).to.deep.equal([4, true])
    await root.write('token.env', 'GITHUB_TOKEN=ghs_token\n')
    limit = { remaining: 4000, status: 502 }
    expect((await sync()).stderr).to.contain('does not answer (status 502)')
    limit = { remaining: 4000, status: 403 }
    expect((await sync()).stderr).to.contain('denies')
    await root.write('token.env', '\n')
    expect((await sync()).code).to.equal(2)
    expect(existsSync(root.path('memory/github/open.json'))).to.equal(false)
  })
})

describe('self-update.sh', () => {
  const root = throwAwayRoot()
  /** Programs of a simulated system: `current` names the booted system, `unit` has the gateway's state. */
  async function system(newest: string) {
    await root.write('flake/flake.lock', lock('v1'))
    await root.write('newest', newest)
    await root.write('unit', 'active')
    const R = root.path()
    await root.program('nix', `cat ${R}/lock-$(cat ${R}/newest) >${R}/flake/flake.lock; echo "nix $*" >>${R}/log`)
    await root.program(
      'nixos-rebuild',
      `echo "$1" >>${R}/log
       v=$(jq -r .nodes.gateway.locked.rev ${R}/flake/flake.lock)
       if [[ -e ${R}/broken-$1-$v ]]; then exit 1; fi
       if [[ $1 == build ]]; then ln -sfn ${R}/systems/$v result; fi
       if [[ $1 == switch ]]; then ln -sfn ${R}/systems/$v ${R}/run/current-system; ln -sfn ${R}/systems/$v ${R}/nix/var/nix/profiles/system; fi
       if [[ -e ${R}/unit-fails-$1-$v ]]; then exit 4; fi`,
    )
    await root.program('nix-env', `echo "set $4" >>${R}/log; ln -sfn "$4" ${R}/nix/var/nix/profiles/system`)
    await root.program(
      'systemctl',
      `v=$(readlink ${R}/run/current-system)
       v=\${v##*/}
       case $* in
         *ActiveState*) if [[ -e ${R}/crashes-$v ]]; then echo failed; else echo "$(<${R}/unit)"; fi ;;
         *MainPID*) if [[ -e ${R}/loops-$v ]]; then echo $RANDOM; else echo 42; fi ;;
         *NRestarts*) echo 0 ;;
       esac`,
    )
    for (const version of ['v1', 'v2', 'v3']) {
      await root.write(`lock-${version}`, lock(version))
      const text = `#!/usr/bin/env bash\nln -sfn ${R}/systems/${version} ${R}/run/current-system\n`
      await chmod(await root.write(`systems/${version}/bin/switch-to-configuration`, text), 0o755)
    }
    await mkdir(root.path('run'), { recursive: true })
    await mkdir(root.path('nix/var/nix/profiles'), { recursive: true })
    for (const link of ['run/current-system', 'nix/var/nix/profiles/system']) await rm(root.path(link), { force: true })
    await symlink(root.path('systems/v1'), root.path('run/current-system'))
    await symlink(root.path('systems/v1'), root.path('nix/var/nix/profiles/system'))
  }
  const lock = (rev: string) =>
    JSON.stringify({
      root: 'root',
      nodes: { root: { inputs: { 'nix-openclaw': 'gateway' } }, gateway: { locked: { rev } } },
    })
  const update = () =>
    runScript('self-update.sh', [], {
      env: {
        ...root.withPrograms(),
        CLAWCTL_HOST_ROOT: root.path(),
        SELF_UPDATE_FLAKE: root.path('flake'),
        SELF_UPDATE_HOST: 'clawdinator-1',
        SELF_UPDATE_SETTLE_SECONDS: '1',
        SELF_UPDATE_POLL_SECONDS: '0.2',
      },
    })
  const current = async () => {
    return [
      await readlink(root.path('run/current-system')),
      await readlink(root.path('nix/var/nix/profiles/system')),
    ].map((path) => path.split('/').at(-1))
  }
  const locked = async () => JSON.parse(await root.read('flake/flake.lock')).nodes.gateway.locked.rev
  const log = async () => (existsSync(root.path('log')) ? (await root.read('log')).split('\n').filter(Boolean) : [])

  const reported = async () => JSON.parse(await root.read('var/lib/clawdinator/self-update.json'))

  it('installs a newer version that stays up, and reports the outcome', async () => {
    await system('v2')
    const outcome = await update()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await current()).to.deep.equal(['v2', 'v2'])
    expect(await locked()).to.equal('v2')
    expect(await reported()).to.include({ outcome: 'updated' })
    expect((await update()).stderr).to.contain('there is no newer version')
    expect(await reported()).to.include({ outcome: 'kept', detail: 'there is no newer version' })
  })

  it('checks only the gateway: other failed units are accepted, a refused plugin is not', async () => {
    await system('v2')
    await root.write('unit-fails-switch-v2', '')
    const outcome = await update()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await current()).to.deep.equal(['v2', 'v2'])

    await root.write('newest', 'v3')
    const probe = { mainPid: 42, plugins: [{ name: 'discord', error: 'record-missing' }] }
    await root.write('run/clawdinator-probe/probe.json', JSON.stringify({ ...probe, mainPid: 41 }))
    expect((await update()).code, 'the probe of another process').to.equal(0)
    await system('v2')
    await root.write('run/clawdinator-probe/probe.json', JSON.stringify(probe))
    expect((await update()).code).to.equal(1)
    expect(await reported()).to.include({
      outcome: 'rolled-back',
      detail: 'the gateway refuses a plugin after the update: discord: record-missing',
    })
    expect(await current()).to.deep.equal(['v1', 'v1'])
  })

  it('rolls back if the switch itself failed', async () => {
    await system('v2')
    await root.write('broken-switch-v2', '')
    expect((await update()).stderr).to.contain('the switch failed')
    expect(await current()).to.deep.equal(['v1', 'v1'])
  })

  it('rolls back if the gateway does not stay up, and does not try that version again', async () => {
    await system('v2')
    await root.write('crashes-v2', '')
    const outcome = await update()
    expect(outcome.code).to.equal(1)
    expect(await current()).to.deep.equal(['v1', 'v1'])
    expect(await locked()).to.equal('v1')
    const switches = (await log()).filter((line) => line === 'switch').length
    const again = await update()
    expect(again.code, again.stderr).to.equal(0)
    expect(again.stderr).to.contain('failed within the last seven days')
    expect(await reported()).to.include({ outcome: 'skipped' })
    expect((await log()).filter((line) => line === 'switch')).to.have.length(switches)
    expect(await locked()).to.equal('v1')

    await root.write('newest', 'v3')
    expect((await update()).code).to.equal(0)
    expect(await current()).to.deep.equal(['v3', 'v3'])
  })

  it('tries a failed version again after seven days', async () => {
    await system('v2')
    await root.write('crashes-v2', '')
    await update()
    const bad = 'var/lib/clawdinator/self-update/bad'
    const [digest, at] = (await root.read(bad)).trim().split(' ')
    await rm(root.path('crashes-v2'))
    await root.write(bad, `${digest} ${Number(at) - 7 * 86_400 + 60}\n`)
    expect((await update()).stderr).to.contain('failed within the last seven days')
    await root.write(bad, `${digest} ${Number(at) - 7 * 86_400}\n`)
    expect((await update()).code).to.equal(0)
    expect(await current()).to.deep.equal(['v2', 'v2'])
  })

  it('treats a gateway that restarts repeatedly as down', async () => {
    await system('v2')
    await root.write('loops-v2', '')
    expect((await update()).code).to.equal(1)
    expect(await current()).to.deep.equal(['v1', 'v1'])
  })

  it('skips the update without a lock, without the input, or during another update', async () => {
    await system('v2')
    await rm(root.path('flake/flake.lock'))
    const outcome = await update()
    expect(outcome.code, outcome.stderr).to.equal(2)
    expect(await reported()).to.include({ outcome: 'skipped', detail: 'the checkout has no flake.lock' })
    await root.write('flake/flake.lock', JSON.stringify({ root: 'root', nodes: { root: { inputs: {} } } }))
    expect((await update()).code).to.equal(2)
    expect(await reported()).to.include({ outcome: 'failed', detail: 'the flake has no input nix-openclaw' })
    await system('v2')
    // The first update holds the lock during its whole switch.
    await root.program(
      'nixos-rebuild',
      `: >${root.path('held')}; while [[ ! -e ${root.path('go')} ]]; do sleep 0.1; done; exit 1`,
    )
    const first = update()
    while (!existsSync(root.path('held'))) await new Promise((resolve) => setTimeout(resolve, 20))
    const second = await update()
    expect(await reported()).to.include({ outcome: 'skipped', detail: 'another update is under way' })
    await root.write('go', '')
    await first
    expect(second.code, second.stderr).to.equal(1)
  })

  it('changes nothing if the version does not build, or the gateway was already down', async () => {
    await system('v2')
    await root.write('broken-build-v2', '')
    expect((await update()).stderr).to.contain('does not build; nothing was changed')
    expect(await locked()).to.equal('v1')
    await root.write('unit', 'failed')
    expect((await update()).stderr).to.contain("an update can't be verified")
    expect((await log()).filter((line) => line === 'switch')).to.have.length(0)
  })

  it('starts again after a kill before the switch, and does not count the new lock as running', async () => {
    await system('v2')
    await root.program('nixos-rebuild', 'kill -9 $PPID')
    await update()
    expect(await locked()).to.equal('v2')
    await system('v2')
    await root.write('flake/flake.lock', lock('v2'))
    const outcome = await update()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await log()).to.include('switch')
    expect(await current()).to.deep.equal(['v2', 'v2'])
  })

  it('reverts a switch in which it was killed, also for the next boot', async () => {
    await system('v2')
    const before = root.path('systems/v1')
    await root.write('var/lib/clawdinator/self-update/pending', `${'a'.repeat(64)} ${before}\n`)
    await rm(root.path('nix/var/nix/profiles/system'))
    await symlink(root.path('systems/v3'), root.path('nix/var/nix/profiles/system'))
    await root.write('newest', 'v1')
    const outcome = await update()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await current()).to.deep.equal(['v1', 'v1'])
  })

  it('first checks the update after which it was killed, then searches for another', async () => {
    await system('v2')
    await root.write('var/lib/clawdinator/self-update/pending', `${'a'.repeat(64)} ${root.path('systems/v1')}\n`)
    await root.write('var/lib/clawdinator/self-update/lock', lock('v1'))
    await root.program('nixos-rebuild', 'exit 9')
    await rm(root.path('run/current-system'))
    await symlink(root.path('systems/v2'), root.path('run/current-system'))
    await root.write('crashes-v2', '')
    expect((await update()).stderr).to.contain('was rolled back')
    expect((await current())[0]).to.equal('v1')
  })
})
