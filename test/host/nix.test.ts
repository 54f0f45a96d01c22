// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Nix and shell have it too
import { readdirSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execaSync } from 'execa'
import { SECRETS } from '../../src/lib/domain/bundles/secrets.js'
import { ROOT, registryOf, run, surroundings } from '../support/cli.js'

const has = (program: string) => execaSync('bash', ['-c', `type -P ${program}`], { reject: false }).exitCode === 0
const nix = has('nix-instantiate')
const without = nix ? '' : ' (skipped: nix-instantiate is not in PATH)'

function files(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file))
    .sort()
}

/** The value of an expression as JSON. Needs no store. */
async function evaluate(expression: string, folder = ROOT): Promise<{ value?: unknown; error: string }> {
  const argv = ['nix-instantiate', '--eval', '--strict', '--json', '-E', expression]
  const { code, stdout, stderr } = await run(argv, {
    cwd: folder,
    env: { ...surroundings(), NIX_REMOTE: `local?root=${join(tmpdir(), 'clawctl-nix-test')}` },
  })
  return code === 0 ? { value: JSON.parse(stdout), error: stderr } : { error: stderr }
}

describe(`the Nix files${without}`, () => {
  before(function () {
    if (!nix) this.skip()
  })
  after(() => rm(join(tmpdir(), 'clawctl-nix-test'), { recursive: true, force: true }))

  it('can all be parsed', async () => {
    const all = ['flake.nix', ...files('nix', '.nix')]
    const { code, stderr } = await run(['nix-instantiate', '--parse', ...all])
    expect(code, stderr).to.equal(0)
  })

  it('derive the system of an instance type', async () => {
    const arm = [
      't4g.small',
      'c7gn.large',
      'm7gd.large',
      'im4gn.large',
      'is4gen.large',
      'x2gd.metal',
      'g5g.xlarge',
      'a1.large',
    ]
    const intel = ['t3.large', 't3a.small', 'm7i.large', 'g4dn.xlarge', 'p4d.24xlarge', 'u-6tb1.metal', 'i3en.large']
    const { value } = await evaluate(
      `map (import ./nix/lib).systemOf (builtins.fromJSON ''${JSON.stringify([...arm, ...intel])}'')`,
    )
    expect(value).to.deep.equal([...arm.map(() => 'aarch64-linux'), ...intel.map(() => 'x86_64-linux')])
  })

  it('report every problem of a registry', async () => {
    const registry = {
      ...JSON.parse(registryOf(['a', 'b'])),
      Bad: 1,
      c: { host: 'a', instanceType: 't3', bootstrapPrefix: '/x', discordTokenSecret: 'token-b' },
    }
    const { value } = await evaluate(
      `(import ./nix/lib).registryProblems (builtins.fromJSON ''${JSON.stringify(registry)}'')`,
    )
    expect(value).to.deep.equal([
      '"Bad" is not a valid id',
      'Bad must be an object',
      'c: bootstrapPrefix is missing or not valid',
      'c: instanceType is missing or not valid',
      'host is shared by a and c',
      'discordTokenSecret is shared by b and c',
    ])
  })

  it('generate the page of options, docs/options.md', async () => {
    const { value, error } = await evaluate('import ./nix/lib/options-page.nix')
    expect(value, error).to.be.a('string')
    const page = join(ROOT, 'docs/options.md')
    if (process.env.UPDATE_SNAPSHOT !== undefined) await writeFile(page, String(value))
    expect(await readFile(page, 'utf8'), 'run again with UPDATE_SNAPSHOT=1').to.equal(value)
    const modules = await Promise.all(files('nix/modules', '.nix').map((file) => readFile(join(ROOT, file), 'utf8')))
    for (const [, name] of modules.join('\n').matchAll(/^ {2,6}(\w+) = mkOption/gm)) {
      if (!['tools', 'scripts', 'configFile', 'name', 'url'].includes(name ?? ''))
        expect(value).to.contain(`.${name}\``)
    }
  })

  it('translate the older form of a Discord channel, report its places, and keep all other settings', async () => {
    const lib = `{ inherit (builtins) mapAttrs attrNames removeAttrs concatLists;
      mapAttrsToList = f: a: map (n: f n a.\${n}) (builtins.attrNames a);
      filterAttrs = p: a: removeAttrs a (builtins.filter (n: !p n a.\${n}) (builtins.attrNames a));
      optionalAttrs = c: a: if c then a else { }; }`
    const config = {
      gateway: { port: 1 },
      channels: {
        telegram: { allow: true },
        discord: {
          enabled: true,
          guilds: {
            1: {
              users: ['u'],
              channels: { a: { allow: true, requireMention: true }, b: { allow: true, enabled: false } },
            },
            2: { requireMention: true },
          },
        },
      },
    }
    const { value, error } = await evaluate(
      `let c = import ./nix/lib/channels.nix { lib = ${lib}; }; x = builtins.fromJSON ''${JSON.stringify(config)}''; in [ (c.modern x) (c.legacy x) (c.modern { }) (c.legacy (c.modern x)) ]`,
    )
    expect(value, error).to.deep.equal([
      {
        ...config,
        channels: {
          ...config.channels,
          discord: {
            enabled: true,
            guilds: {
              1: { users: ['u'], channels: { a: { enabled: true, requireMention: true }, b: { enabled: false } } },
              2: { requireMention: true },
            },
          },
        },
      },
      ['channels.discord.guilds.1.channels.a', 'channels.discord.guilds.1.channels.b'],
      {},
      [],
    ])
  })

  it('list the same secrets as clawctl', async () => {
    const common = await readFile(join(ROOT, 'nix/hosts/common.nix'), 'utf8')
    const block = /secrets = \{([\s\S]*?)\n {2}\/\/ lib\.optionalAttrs \(site\.telegram/.exec(common)?.[1] ?? ''
    const named = [...block.matchAll(/(?:^ {4}|\{ )(\$\{entry\.discordTokenSecret\}|[a-z][a-z-]+) = /gm)].map(
      ([, name]) => name,
    )
    const entry = { id: '${cfg.instanceName}', discordTokenSecret: '${entry.discordTokenSecret}' }
    const names = (required: boolean) =>
      SECRETS.filter((secret) => secret.required === required).map((secret) => secret.nameFor(entry))
    expect(named).to.have.members(names(true))
    // Optional ones are switched on by nix/site.nix.
    for (const name of names(false)) expect(common).to.include(`"${name}"`)
  })

  it('give every package of the lock a URL', async () => {
    const { value } = await evaluate(
      'let lock = (import ./nix/lib).resolveLock "https://r" (builtins.fromJSON (builtins.readFile ./package-lock.json)); in builtins.mapAttrs (_: p: p.resolved or null) lock.packages',
    )
    const addresses = value as Record<string, string | null>
    expect(Object.entries(addresses).filter(([, url]) => url === null)).to.deep.equal([['', null]])
    expect(addresses['node_modules/@oclif/core']).to.match(/^https:\/\/r\/@oclif\/core\/-\/core-\d/)
    expect(addresses['node_modules/ts7']).to.match(/^https:\/\/r\/typescript\/-\/typescript-7/)
  })

  describe('the flake', () => {
    // Replaces the inputs: nixosSystem returns its arguments.
    const outputs = `
      let
        inputs = {
          self = { outPath = ./.; rev = "abc"; nixosModules.default = "default"; };
          nixpkgs.lib = {
            nixosSystem = args: args;
            genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
          };
          agenix = { }; nix-openclaw = { };
        };
        flake = import ./flake.nix;
        host = { modules }: {
          system = (builtins.elemAt modules 2).nixpkgs.hostPlatform;
          module = let m = builtins.elemAt modules 1; in
            if builtins.isAttrs m then m.services.clawdinator.instanceName else baseNameOf m;
          revision = (builtins.elemAt modules 3).system.configurationRevision;
        };
      in builtins.mapAttrs (_: host) (flake.outputs inputs).nixosConfigurations`

    it('makes a host of every registry entry, by its host name', async () => {
      const { value, error } = await evaluate(outputs)
      expect(value, error).to.deep.equal(
        Object.fromEntries(
          ['clawdinator-1', 'clawdinator-2'].map((id) => [
            id,
            { system: 'x86_64-linux', module: `${id}.nix`, revision: 'abc' },
          ]),
        ),
      )
    })

    it('makes a host of a new entry without an edit, and reports an invalid one', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'clawctl-host-test-'))
      try {
        for (const part of ['flake.nix', 'nix']) await cp(join(ROOT, part), join(folder, part), { recursive: true })
        const registry = JSON.parse(registryOf(['clawdinator-1', 'new']))
        Object.assign(registry.new, { host: 'new-host', instanceType: 't4g.small' })
        await writeFile(join(folder, 'nix/instances.json'), JSON.stringify(registry))
        const { value, error } = await evaluate(outputs, folder)
        expect(value, error).to.have.property('new-host')
        expect((value as Record<string, unknown>)['new-host']).to.deep.equal({
          system: 'aarch64-linux',
          module: 'new',
          revision: 'abc',
        })
        registry.new.bootstrapPrefix = registry['clawdinator-1'].bootstrapPrefix
        await writeFile(join(folder, 'nix/instances.json'), JSON.stringify(registry))
        expect((await evaluate(outputs, folder)).error).to.contain('bootstrapPrefix is shared by clawdinator-1 and new')
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('uses all inputs that it declares, and no other', async () => {
      const { value } = await evaluate(
        'let f = import ./flake.nix; in [ (builtins.attrNames f.inputs) (builtins.attrNames (builtins.functionArgs f.outputs)) ]',
      )
      const [inputs, parameters] = value as string[][]
      expect(parameters).to.have.members([...(inputs ?? []), 'self'])
    })
  })
})

it('has the same check in CONTRIBUTING and in CI', async () => {
  const [ci, contributing] = await Promise.all(
    ['.github/workflows/ci.yml', 'CONTRIBUTING.md'].map((file) => readFile(join(ROOT, file), 'utf8')),
  )
  const [check] = /nix flake check --.*/.exec(ci ?? '') ?? ['no check']
  expect(contributing).to.contain(`${check} `)
})

describe('the scripts of a host', () => {
  const scripts = files('scripts', '.sh')

  it(`pass shellcheck${has('shellcheck') ? '' : ' (skipped: it is not in PATH)'}`, async function () {
    if (!has('shellcheck')) this.skip()
    const { code, stdout } = await run(['shellcheck', '-x', ...scripts])
    expect(code, stdout).to.equal(0)
  })

  it(`pass shfmt${has('shfmt') ? '' : ' (skipped: it is not in PATH)'}`, async function () {
    if (!has('shfmt')) this.skip()
    const { code, stdout } = await run(['shfmt', '-d', '-i', '2', '-ci', ...scripts])
    expect(code, stdout).to.equal(0)
  })

  it('are exactly those that the units run', async () => {
    const modules = await Promise.all(files('nix/modules', '.nix').map((file) => readFile(join(ROOT, file), 'utf8')))
    const named = modules.flatMap((text) =>
      [...text.matchAll(/cfg\.scripts\}\/([\w-]+\.sh)/g)].map((match) => match[1]),
    )
    expect(named).to.include.members(['bootstrap-runtime.sh', 'heartbeat.sh', 'self-update.sh'])
    for (const name of named) expect(scripts).to.include(`scripts/${name}`)
  })

  it('print their usage with --help', async () => {
    for (const name of ['memory-read', 'memory-write', 'memory-edit', 'build-image', 'upload-bootstrap']) {
      const { code, stdout } = await run(['bash', join(ROOT, 'scripts', `${name}.sh`), '--help'])
      expect(code, name).to.equal(0)
      expect(stdout, name).to.contain(name)
    }
  })
})

describe("the agent's workspace", () => {
  const read = (path: string) => readFile(join(ROOT, 'clawdinator/workspace', path), 'utf8')

  it('has skills with a name and a description', async () => {
    for (const file of files('clawdinator/workspace/skills', 'SKILL.md')) {
      const [, front = ''] = /^---\n([\s\S]*?)\n---\n/.exec(await readFile(join(ROOT, file), 'utf8')) ?? []
      expect(front, file).to.match(/^description: \S.{40,}$/m)
      expect(front, file).to.match(new RegExp(`^name: ${file.split('/').at(-2)}$`, 'm'))
    }
  })

  it('follows the spec: the favourite band, and whom it answers', async () => {
    const identity = await read('IDENTITY.md')
    for (const favourite of ['0oxUux1OSwZpIpSK0JbqSS', '6UrvQgyblrOuvJytote1vu', '4tcDRbXateiJUT7fhQhf12']) {
      expect(identity).to.contain(favourite)
    }
    expect(await read('AGENTS.md')).to.contain('Maintainers only')
  })
})
