import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import ms from 'ms'
import { ID_PATTERN } from '../../src/lib/domain/contract/patterns.js'
import { HEARTBEAT_STALE_MS } from '../../src/lib/domain/deploy/health.js'
import { DEFAULT_INSTANCE_TYPE, defaultPrefix } from '../../src/lib/domain/registry/addition.js'
import { ROOT } from '../support/plane.js'
import { sourcesBelow } from '../support/sources.js'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
/** The first group of every match; at least one match must exist. */
function found(path: string, pattern: RegExp): string[] {
  const matches = [...read(path).matchAll(pattern)].map(([, value = '']) => value)
  expect(matches, `${path} has nothing that matches ${pattern}`).not.to.deep.equal([])
  return matches
}

/** Facts that TypeScript, HCL, Nix and bash each have to contain are compared here with the domain's. */
describe('a fact that several languages share', () => {
  it('is the form of an id', () => {
    const pattern = ID_PATTERN.source.replace(/^\^|\$$/g, '')
    for (const [path, spelt] of [
      ['infra/opentofu/aws/fleet/variables.tf', /regex\("\^(\[a-z\][^"]*)\$", id\)/g],
      ['nix/modules/clawdinator/options.nix', /strMatching "(\[a-z\][^"]*)"/g],
      ['nix/lib/default.nix', /match "(\[a-z\][^"]*)" id\b/g],
      ['scripts/heartbeat.sh', /\$id =~ \^(\S+)\$ /g],
      ['scripts/bootstrap-runtime.sh', /\$id =~ \^(\S+)\$ /g],
    ] as const) {
      for (const one of found(path, spelt)) expect(one, path).to.equal(pattern)
    }
  })

  it('is the default instance type and bundle prefix of an entry', () => {
    const stack = 'infra/opentofu/aws/fleet/main.tf'
    expect(found(stack, /host = id, instanceType = "([^"]+)"/g)).to.deep.equal([DEFAULT_INSTANCE_TYPE])
    // biome-ignore lint/suspicious/noTemplateCurlyInString: HCL
    expect(found(stack, /bootstrapPrefix = "(bootstrap[^"]*)" \}/g)).to.deep.equal([defaultPrefix('${id}')])
  })

  it('is the interval of heartbeats: one is stale after five intervals', () => {
    const interval = /interval = mkOption \{[^}]*?default = "([^"]+)"/g
    const [spelt] = found('nix/modules/clawdinator/heartbeat.nix', interval)
    expect(HEARTBEAT_STALE_MS).to.equal(5 * ms(spelt as ms.StringValue))
  })

  it('is the pace at which the active machine looks for its successor: a deploy waits longer for the answer', () => {
    const [seconds] = found('scripts/active-watch.sh', /WATCH_ACTIVE_SECONDS:-(\d+)/g)
    const [waits] = found('src/lib/ops/deploy/transfer.ts', /\bYIELD_MS = ([\d_]+)/g)
    expect(Number(waits?.replaceAll('_', ''))).to.be.greaterThan(1000 * Number(seconds))
  })

  it('is the options of fleet commands that a value follows, which the script of the skill must not take for a code', () => {
    const script = 'scripts/fleet-control.sh'
    const offered = found(script, /^ {2}([a-z |]+)\) options=/gm).flatMap((names) => names.split(' | '))
    const commands: Record<string, { flags: Record<string, { type: string }> }> = JSON.parse(
      read('test/repository/command-snapshot.json'),
    )
    const withValue = offered.flatMap((name) =>
      Object.entries(commands[`fleet ${name}`]?.flags ?? {}).flatMap(([flag, { type }]) =>
        type === 'option' ? [`--${flag}`] : [],
      ),
    )
    const refused = ['--mode', '--control-api-url']
    const listed = found(script, /^ {4}(--[a-z |-]+)\) value_follows=1/gm).flatMap((names) => names.split(' | '))
    expect(new Set([...listed, ...refused])).to.deep.equal(new Set(withValue))
  })

  it('is defined once in TypeScript', () => {
    const files = ['src', 'lambda'].flatMap(sourcesBelow)
    const holding = (pattern: RegExp) => files.filter((file) => pattern.test(read(file)))
    expect(holding(/= \['pending', 'running', 'shutting-down'/)).to.deep.equal(['src/lib/domain/deploy/host.ts'])
    expect(holding(/LOOKBACK = /)).to.deep.equal(['src/lib/domain/deploy/run.ts'])
    expect(holding(/= 't3\.large'/)).to.deep.equal(['src/lib/domain/registry/addition.ts'])
  })
})
