// biome-ignore-all lint/suspicious/noTemplateCurlyInString: workflow files hold ${{ }}
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { build } from 'esbuild'
import { parse } from 'yaml'
import { render } from '../../sandbox/github/expressions.js'
import { loadWorkflow, type Workflow } from '../../sandbox/github/workflow.js'
import {
  CONFIG_REVISIONS,
  formatRunTitle,
  inputsOf,
  ORDER_INPUTS,
  type Order,
  parseRunTitle,
  STRATEGIES,
} from '../../src/lib/domain/contract/order.js'
import { REQUEST_ID_PATTERN } from '../../src/lib/domain/contract/patterns.js'
import { ROOT } from '../support/plane.js'
import { readStack } from '../support/stacks.js'

const DEPLOY = '.github/workflows/fleet-deploy.yml'
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** Every workflow and local action, by path. */
function yamlFiles(): string[] {
  const list = (folder: string) =>
    existsSync(join(ROOT, folder))
      ? readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`)
      : []
  return [...list('.github/workflows'), ...list('.github/actions')].filter((file) => /\.ya?ml$/.test(file))
}

interface Parsed {
  on: unknown
  permissions: Record<string, string>
  concurrency?: object
  jobs: Record<string, { permissions?: Record<string, string>; if?: string; env?: object }>
}

/** The write permissions of each workflow. */
const WRITES: Record<string, Record<string, string>> = {
  [DEPLOY]: { 'id-token': 'write' },
  '.github/workflows/bootstrap-upload.yml': { 'id-token': 'write' },
  '.github/workflows/flake-lock.yml': { contents: 'write', 'pull-requests': 'write' },
  '.github/workflows/fleet-recover.yml': { 'id-token': 'write' },
  '.github/workflows/fleet-drift.yml': { 'id-token': 'write', issues: 'write' },
  '.github/workflows/image-build.yml': { 'id-token': 'write' },
  '.github/workflows/release.yml': { contents: 'write', 'id-token': 'write', 'pull-requests': 'write' },
  '.github/workflows/infra.yml': { 'id-token': 'write', 'pull-requests': 'write' },
  '.github/workflows/tofu-lock.yml': { contents: 'write', 'pull-requests': 'write' },
}

/** Every value of a key with this name. */
function valuesOf(node: unknown, name: string): unknown[] {
  if (typeof node !== 'object' || node === null) return []
  return Object.entries(node).flatMap(([key, value]) => [
    ...(!Array.isArray(node) && key === name ? [value] : []),
    ...valuesOf(value, name),
  ])
}

describe('the deploy workflow', () => {
  let workflow: Workflow
  let raw: { permissions?: unknown; jobs: Record<string, Record<string, unknown>> }
  before(async () => {
    workflow = await loadWorkflow(DEPLOY, read(DEPLOY))
    raw = parse(read(DEPLOY))
  })

  it('has exactly the inputs that a dispatch sends', () => {
    expect(Object.keys(workflow.inputs ?? {})).to.have.members(Object.values(ORDER_INPUTS).map(({ input }) => input))
    const { retire, strategy, config_revision: configRevision, ...texts } = workflow.inputs ?? {}
    for (const [name, input] of Object.entries(texts)) {
      expect(input, name).to.deep.equal({ required: name === 'target', default: null, type: 'string', options: [] })
    }
    // A checkbox, because a typed word could be misread.
    expect(retire).to.deep.equal({ required: false, default: 'false', type: 'boolean', options: [] })
    const choice = { required: false, default: '', type: 'choice' }
    expect(strategy).to.deep.equal({ ...choice, options: ['', ...STRATEGIES] })
    expect(configRevision).to.deep.equal({ ...choice, options: ['', ...CONFIG_REVISIONS] })
  })

  it('can only be dispatched', () => {
    expect(Object.keys(parse(read(DEPLOY)).on)).to.deep.equal(['workflow_dispatch'])
  })

  const names = [undefined, 'Jo', "O'Neil {0} [x] ${{ inputs.target }} via y by z ✓"]
  const titles = names.flatMap((requestedBy) =>
    [undefined, 'ami-0123456789abcdef0'].flatMap((amiOverride) =>
      [undefined, 'clawdinator-1'].flatMap((caller) =>
        [undefined, true].flatMap((retire) =>
          [undefined, ...STRATEGIES].map((strategy) => ({ requestedBy, amiOverride, caller, retire, strategy })),
        ),
      ),
    ),
  )
  const deployStep = () => workflow.jobs.at(-1)?.steps.find(({ id }) => id === 'deploy')

  it('has the run name that the code parses', () => {
    for (const title of titles) {
      const order: Order = { target: 'clawdinator-2', requestId: 'request-0001', ...title }
      const absent = Object.fromEntries(Object.keys(workflow.inputs ?? {}).map((name) => [name, '']))
      const inputs = { ...absent, ...inputsOf(order), retire: order.retire === true }
      const name = render(workflow.runName ?? '', { contexts: { inputs, github: { run_id: '42' } } })
      expect(name).to.equal(formatRunTitle(order))
      expect(formatRunTitle(parseRunTitle(name) as Order)).to.equal(name)
    }
  })

  it("uses the run's own id if a person dispatches it by hand", () => {
    const absent = Object.fromEntries(Object.keys(workflow.inputs ?? {}).map((name) => [name, '']))
    const inputs = { ...absent, target: 'all', retire: false }
    // GitHub guarantees no length of ids; a self-hosted server counts from 1.
    for (const runId of ['1', '20000000001', '9'.repeat(20)]) {
      const scope = { contexts: { inputs, github: { run_id: runId }, vars: {} } }
      expect(parseRunTitle(render(workflow.runName ?? '', scope))?.requestId).to.equal(`github-${runId}`)
      const requestId = render(deployStep()?.env.CLAWCTL_REQUEST_ID ?? '', scope)
      expect(requestId).to.equal(`github-${runId}`).and.to.match(REQUEST_ID_PATTERN)
    }
  })

  it('has a recovery workflow in the same concurrency group, which reads its inputs from the environment', () => {
    const recover = parse(read('.github/workflows/fleet-recover.yml'))
    expect(recover.concurrency).to.deep.equal(parse(read(DEPLOY)).concurrency)
    expect(recover.permissions).to.deep.equal(raw.permissions)
    expect(recover.jobs.recover.permissions).to.deep.equal(raw.jobs.deploy?.permissions)
    expect(recover.jobs.recover.environment).to.equal(raw.jobs.deploy?.environment)
    const source = read('src/commands/fleet/recover.ts')
    const { TARGET, GITHUB_TOKEN: _, ...options } = recover.jobs.recover.steps.at(-1).env
    expect(TARGET).to.equal('${{ inputs.target }}')
    expect(Object.values(options)).to.deep.equal(
      ['plan_only', 'unlock', 'terminate'].map((name) => `\${{ inputs.${name} }}`),
    )
    for (const name of Object.keys(options)) expect(source).to.include(`env: '${name}'`)
  })

  it('queues runs instead of cancelling them', () => {
    expect(parse(read(DEPLOY)).concurrency).to.deep.equal({
      group: 'fleet-deploy',
      'cancel-in-progress': false,
      queue: 'max',
    })
    expect(valuesOf(raw.jobs, 'concurrency')).to.deep.equal([])
  })

  it('may only read code and runs, and assume its role', () => {
    expect(raw.permissions).to.deep.equal({ contents: 'read' })
    expect(raw.jobs.build?.permissions).to.deep.equal({ contents: 'read' })
    expect(raw.jobs.deploy?.permissions).to.deep.equal({ actions: 'read', contents: 'read', 'id-token': 'write' })
    expect(raw.jobs.deploy?.environment).to.equal('fleet')
  })

  it('ends before the credentials of its role expire', () => {
    for (const job of Object.values(raw.jobs)) {
      const minutes = job['timeout-minutes']
      expect(minutes).to.be.a('number')
      const [duration] = valuesOf(job, 'role-duration-seconds')
      // A cancelled job has five more minutes for its last steps.
      if (duration === undefined) expect(minutes).to.be.at.most(15)
      else expect((Number(minutes) + 5) * 60).to.be.at.most(Number(duration))
    }
  })

  it('runs only clawctl', () => {
    const runs = workflow.jobs.flatMap((job) => job.steps).flatMap((step) => (step.run === null ? [] : [step.run]))
    expect(runs).not.to.deep.equal([])
    for (const run of runs) {
      for (const line of run.trim().split('\n')) {
        expect(line).to.match(/^(?:exec )?clawctl [^;&|`$<>]*(?:"\$[A-Z_]+"[^;&|`$<>]*)*$/)
      }
    }
  })

  it('passes its inputs in the variables that the command reads', () => {
    const step = deployStep()
    const handed = Object.values(ORDER_INPUTS).map(({ input, variable }) => [
      variable,
      input === 'request_id'
        ? "${{ inputs.request_id || format('github-{0}', github.run_id) }}"
        : `\${{ inputs.${input} }}`,
    ])
    // In addition: the token to check whether the run that holds the lock is over, and the webhooks.
    expect(step?.env).to.deep.equal({
      ...Object.fromEntries(handed),
      GITHUB_TOKEN: '${{ github.token }}',
      CLAWCTL_WEBHOOKS: '${{ secrets.DEPLOY_WEBHOOKS }}',
    })
    const source = read('src/lib/cli/deployFlags.ts') + read('src/lib/adapters/settings.ts')
    expect(source).to.include(`'${ORDER_INPUTS.caller.variable}'`)
    expect(source).to.include('ORDER_INPUTS.identity.variable')
    const { target: _, caller: __, identity: ___, ...options } = ORDER_INPUTS
    for (const field of Object.keys(options)) expect(source).to.include(`env: ORDER_INPUTS.${field}.variable`)
    for (const name of Object.keys(workflow.jobs.at(-1)?.env ?? {})) expect(source).to.include(`'${name}'`)
  })
})

describe('the image workflow', () => {
  const IMAGE = '.github/workflows/image-build.yml'
  let workflow: Workflow
  before(async () => {
    workflow = await loadWorkflow(IMAGE, read(IMAGE))
  })

  it("runs by hand, every week, and after a change of the image's content", () => {
    const { on, permissions } = parse(read(IMAGE))
    expect(on.push.branches).to.deep.equal(['main'])
    // The files of clawctl's package, and the files outside of nix/ that the modules use.
    const packaged = /parts = .*?\[(.*?)\]/s.exec(read('nix/packages/clawctl.nix'))?.[1]?.match(/[\w./-]+/g) ?? []
    const modules = readdirSync(join(ROOT, 'nix/modules/clawdinator')).flatMap((file) =>
      [...read(`nix/modules/clawdinator/${file}`).matchAll(/\.\.\/\.\.\/\.\.\/([\w./-]+)/g)].map(([, path]) => path),
    )
    const { files } = JSON.parse(read('package.json'))
    const used = [...packaged, ...modules, ...files, 'flake.nix', 'flake.lock', 'nix']
    expect(used).to.include.members(['src', 'package-lock.json', 'scripts', 'clawdinator/workspace', 'memory'])
    const built = (path: string) => path.startsWith('dist/') || path === 'oclif.manifest.json'
    const covers = (pattern: string, path: string) => `${path}/`.startsWith(pattern.replace(/(?:\/\*\*)?$/, '/'))
    const missed = used.filter((path) => !built(path) && !on.push.paths.some((one: string) => covers(one, path)))
    expect(missed).to.deep.equal([])
    expect([on.schedule.length, Object.keys(on.workflow_dispatch.inputs)]).to.deep.equal([1, ['method', 'smoke']])
    expect(permissions).to.deep.equal({ contents: 'read' })
  })

  it('ends before the credentials of its role expire, which no build step has', () => {
    const [duration] = valuesOf(parse(read(IMAGE)), 'role-duration-seconds')
    expect(Number(workflow.jobs.at(-1)?.timeoutMinutes) * 60).to.be.at.most(Number(duration))
    const names = workflow.jobs.at(-1)?.steps.map((step) => step.name) ?? []
    expect(names.indexOf('Assume the image role')).to.be.above(names.indexOf('Build'))
  })

  it('runs only clawctl, configured by the variables that the commands read', () => {
    const all = workflow.jobs.at(-1)?.steps.filter((step) => step.run !== null) ?? []
    const steps = all.filter(({ run }) => run?.includes('clawctl'))
    expect(all.filter((step) => !steps.includes(step)).map(({ name }) => name)).to.deep.equal([
      'Warn if no lock is committed',
    ])
    for (const { run } of steps) expect(run?.trim()).to.match(/^exec clawctl image [a-z -]+(?: -- "\$[A-Z]+")?$/)
    const source = ['report', 'smoke'].map((name) => read(`src/commands/image/${name}.ts`)).join('')
    const names = [...steps.flatMap((step) => Object.keys(step.env)), ...Object.keys(workflow.jobs.at(-1)?.env ?? {})]
    for (const name of names.filter((name) => /^(?:CLAWCTL|FLEET)_/.test(name))) expect(source).to.include(`'${name}'`)
    expect(names).to.include('CLAWCTL_BUILD_SECONDS')
  })

  it('also boots the image of a scheduled run', () => {
    const smoke = workflow.jobs.at(-1)?.steps.find((step) => step.name === 'Smoke boot')
    const github = (event_name: string) => ({ contexts: { github: { event_name }, inputs: {} } })
    expect(render(smoke?.if ?? '', github('push'))).to.equal('true')
    expect(render(smoke?.if ?? '', github('workflow_dispatch'))).to.equal('false')
  })
})

describe('workflows and local actions', () => {
  const files = yamlFiles()

  it('exist', () =>
    expect(files).to.include.members([
      DEPLOY,
      '.github/actions/build-clawctl/action.yml',
      '.github/actions/setup-clawctl/action.yml',
    ]))

  for (const file of files) {
    it(`${file}: pins every action by commit, with its version as a comment`, () => {
      const used = read(file)
        .split('\n')
        .filter((line) => /^\s*(?:- )?uses:/.test(line))
      expect(used).to.have.length(valuesOf(parse(read(file)), 'uses').length)
      for (const line of used)
        expect(line).to.match(/uses: (?:\.\/\S+$|[\w.-]+(?:\/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/)
    })

    it(`${file}: has no expression inside a script`, () => {
      for (const run of valuesOf(parse(read(file)), 'run')) expect(run).not.to.include('${{')
    })
  }

  const workflows = files.filter((file) => file.startsWith('.github/workflows/'))
  for (const file of workflows) {
    it(`${file}: has permissions and a time limit for every job, and a concurrency group`, () => {
      const { permissions, concurrency, jobs } = parse(read(file)) as Parsed
      expect(permissions).to.be.an('object').and.to.include({ contents: 'read' })
      expect(concurrency).to.have.property('group')
      for (const job of Object.values(jobs)) expect(job).to.have.property('timeout-minutes')
    })

    it(`${file}: has only the necessary write permissions`, () => {
      const { permissions, jobs } = parse(read(file)) as Parsed
      const all = [permissions, ...Object.values(jobs).map((job) => job.permissions ?? {})]
      const written = all.flatMap((granted) => Object.entries(granted).filter(([, level]) => level === 'write'))
      expect(Object.fromEntries(written)).to.deep.equal(WRITES[file] ?? {})
    })

    it(`${file}: leaves no token in the checkout`, () => {
      const steps = valuesOf(parse(read(file)), 'steps').flat() as { uses?: string; with?: object }[]
      const checkouts = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'))
      expect(checkouts).not.to.deep.equal([])
      for (const step of checkouts) expect(step.with).to.include({ 'persist-credentials': false })
    })

    it(`${file}: reads only repository variables of the platform stack, except a few choices`, async () => {
      const given = (await readStack('platform')).locals.get('repository_variables') as object
      const used = [...read(file).matchAll(/vars\.([A-Z0-9_]+)/g)].map(([, name]) => name ?? '')
      const chosen = [
        'APP_ID',
        'APP_INSTALLATION_ID',
        'DEPLOY_STRATEGY',
        'HEALTH_TIMEOUT',
        'ROOT_VOLUME_GIB',
        'SECRETS_REPOSITORY',
        'SUBNET_ID',
      ]
      expect(used.filter((name) => !(name in given) && !chosen.includes(name))).to.deep.equal([])
    })
  }

  it("give a fork's pull request neither an identity nor the permission to comment", () => {
    for (const file of workflows) {
      const { on, permissions, jobs } = parse(read(file)) as Parsed
      if (!(on !== null && typeof on === 'object' && 'pull_request' in on)) continue
      for (const job of Object.values(jobs)) {
        const granted = { ...permissions, ...job.permissions }
        if (!Object.values(granted).includes('write')) continue
        expect(job.if, file).to.match(
          /^github\.event\.pull_request\.head\.repo\.full_name == github\.repository(?: && |$)/,
        )
      }
    }
    expect(workflows.filter((file) => read(file).includes('pull_request_target'))).to.deep.equal([])
  })

  it('open their pull requests with one script', () => {
    const proposing = workflows.filter((file) => /scripts\/propose\.sh|gh pr|git push/.test(read(file)))
    expect(proposing.map((file) => file.replace('.github/workflows/', ''))).to.have.members([
      'flake-lock.yml',
      'release.yml',
      'tofu-lock.yml',
    ])
    for (const file of proposing) {
      expect(read(file), file)
        .to.match(/scripts\/propose\.sh/)
        .and.not.to.match(/gh pr|git push|gh auth/)
      const step = valuesOf(parse(read(file)), 'steps')
        .flat()
        .find((one) => String((one as { run?: string }).run).includes('scripts/propose.sh'))
      expect((step as { env: object }).env, file).to.deep.equal({
        GH_TOKEN: '${{ github.token }}',
        BASE: '${{ github.ref_name }}',
      })
    }
  })

  it('release documents with the released version', () => {
    const [prepare] = (valuesOf(parse(read('.github/workflows/release.yml')), 'run') as string[]).filter((run) =>
      run.includes('@changesets/cli'),
    )
    expect(prepare).to.match(/changesets\/cli@\S+ version[\s\S]*\n *npm run docs/)
    expect(parse(read('docs/control-api.openapi.yaml')).info.version).to.equal(JSON.parse(read('package.json')).version)
  })

  it('build nothing in a job with a role, except the plan of a pull request', () => {
    for (const file of workflows.filter((file) => !/infra|release/.test(file))) {
      const { permissions, jobs } = parse(read(file)) as Parsed
      for (const job of Object.values(jobs)) {
        const granted = { ...permissions, ...job.permissions }
        const uses = valuesOf(job, 'uses').map(String)
        const builds =
          uses.includes('./.github/actions/build-clawctl') ||
          valuesOf(job, 'run').some((run) => /npm /.test(String(run)))
        expect(builds && granted['id-token'] === 'write', file).to.equal(false)
        // The installed package is that of the build job.
        const digests = valuesOf(valuesOf(job, 'with'), 'digest').filter((digest) =>
          /^\$\{\{ (?:needs\.build|steps\.clawctl)\.outputs\.digest \}\}$/.test(String(digest)),
        )
        expect(digests, file).to.have.length(uses.includes('./.github/actions/setup-clawctl') ? 1 : 0)
      }
    }
  })

  it('assume a role only if its trust names them', async () => {
    const roles = (await readStack('platform')).locals.get('ci_roles') as Record<string, { workflows: string[] }>
    const trusted = [...Object.values(roles).flatMap(({ workflows }) => workflows), 'infra.yml']
    const assuming = workflows.filter((file) => read(file).includes('role-to-assume:'))
    expect(assuming).not.to.deep.equal([])
    for (const file of assuming) expect(trusted).to.include(file.replace('.github/workflows/', ''))
  })

  it('plan the fleet for drift with the same settings as for a deploy', () => {
    const settings = (file: string) => {
      const job = Object.values((parse(read(file)) as Parsed).jobs).at(-1)
      // Settings that a plan does not depend on: how a deploy waits, whose AMIs it accepts, and how it replaces a host.
      const ofDeploys = ['CLAWCTL_HEALTH_TIMEOUT', 'CLAWCTL_AMI_OWNERS', 'FLEET_DEPLOY_STRATEGY']
      return Object.fromEntries(Object.entries(job?.env ?? {}).filter(([name]) => !ofDeploys.includes(name)))
    }
    expect(settings('.github/workflows/fleet-drift.yml')).to.deep.equal(settings(DEPLOY))
    expect(settings('.github/workflows/fleet-recover.yml')).to.deep.equal(settings(DEPLOY))
  })
})

describe('the workflows of the stacks', () => {
  it('install the OpenTofu version of .opentofu-version', () => {
    expect(read('.opentofu-version')).to.match(/^1\.\d+\.\d+\n$/)
    const installs = yamlFiles()
      .flatMap((file) => valuesOf(parse(read(file)), 'steps').flat() as { uses?: string; with?: object }[])
      .filter(({ uses }) => uses?.startsWith('opentofu/setup-opentofu@'))
    expect(installs).to.have.length.of.at.least(5)
    for (const step of installs)
      expect(step.with).to.deep.equal({ tofu_version_file: '.opentofu-version', tofu_wrapper: false })
  })

  it('plan on every change of a file that the Lambda bundles', async () => {
    const { metafile } = await build({
      ...{ entryPoints: ['lambda/index.ts'], bundle: true, write: false, metafile: true, packages: 'external' },
      ...{ absWorkingDir: ROOT, platform: 'node', format: 'esm', logLevel: 'silent' },
    })
    const paths = parse(read('.github/workflows/infra.yml')).on.pull_request.paths as string[]
    const planned = (file: string) =>
      paths.some((path) => (path.endsWith('/**') ? file.startsWith(path.slice(0, -2)) : file === path))
    const sources = [...Object.keys(metafile.inputs), 'package.json', 'package-lock.json', 'scripts/build/build.mjs']
    expect(sources).to.have.length.above(20)
    expect(sources.filter((file) => !planned(file))).to.deep.equal([])
  })
})
