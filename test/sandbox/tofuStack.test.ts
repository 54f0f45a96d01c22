import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { readStack } from '../../sandbox/tofu/stack.js'
import { parseRegistry } from '../../src/lib/domain/registry/registry.js'
import { ROOT, STACK, VARS } from './tofuSupport.js'

const installed = (program: string) => !spawnSync(program, ['--version']).error

describe('the fleet stack', () => {
  const stack = readStack(STACK)

  it('asks for no variable that clawctl does not pass, and declares all that it does', () => {
    const passed = [...Object.keys(VARS), 'ami_id', 'instance_ids', 'kept_prefixes']
    const declared = stack.variables.map(({ name }) => name)
    const required = stack.variables.filter((variable) => variable.required).map(({ name }) => name)
    expect(declared).to.include.members(passed)
    expect(passed).to.include.members(required)
  })

  it('lets no host change that is not named', () => {
    for (const name of ['ami', 'instance_type', 'user_data', 'tags', 'vpc_security_group_ids', 'metadata_options']) {
      expect(stack.ignores(name), name).to.equal(true)
    }
  })

  it('locks its state in S3', () => {
    expect(Object.fromEntries(stack.backend ?? [])).to.deep.equal({ use_lockfile: 'true' })
  })

  it('reads the registry of this repository', () => {
    const registry = parseRegistry(readFileSync(join(ROOT, 'nix/instances.json'), 'utf8'), 'nix/instances.json')
    expect([...stack.registry().keys()]).to.deep.equal(registry.map(({ id }) => id))
  })

  it('is formatted as tofu fmt does', function () {
    const binary = ['tofu', 'terraform'].find(installed)
    if (!binary) return this.skip()
    const { status, stdout } = spawnSync(binary, ['fmt', '-check', '-diff', STACK], { encoding: 'utf8' })
    expect(stdout).to.equal('')
    expect(status).to.equal(0)
  })
})

describe('user data', () => {
  const script =
    readStack(STACK).userData({
      instance_name: 'clawdinator-2',
      bootstrap_prefix: 'bootstrap/clawdinator-2',
      control_api_url: 'https://abc.lambda-url.eu-central-1.on.aws/',
      bucket: 'clawdinator-fleet',
      host: 'clawdinator-2',
    }) ?? ''

  it('is a script below the limit of 16 KB, with every placeholder filled', () => {
    expect(script).to.match(/^#!.*bash\n/)
    expect(script).to.include('\nset -euo pipefail\n')
    expect(script).not.to.match(/[$%]\{/)
    expect(Buffer.byteLength(script)).to.be.below(16 * 1024)
  })

  it('does its steps in the order of the design', () => {
    const steps = [
      "write_value instance-name 'clawdinator-2'",
      "write_value bootstrap-prefix 'bootstrap/clawdinator-2'",
      "write_value control-api-url 'https://abc.lambda-url.eu-central-1.on.aws/'",
      "write_value bucket 'clawdinator-fleet'",
      'systemctl start clawdinator-bootstrap.service',
      'systemctl start clawdinator-repo-seed.service',
      "nixos-rebuild switch --flake '/var/lib/clawd/repos/clawdinators#clawdinator-2'",
    ]
    expect(script.split('\n').filter((line) => steps.includes(line))).to.deep.equal(steps)
  })

  it('is bash', () => {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' })
    expect(stderr).to.equal('')
    expect(status).to.equal(0)
  })

  it('passes shellcheck', function () {
    if (!installed('shellcheck')) return this.skip()
    const { status, stdout } = spawnSync('shellcheck', ['--shell=bash', '-'], { input: script, encoding: 'utf8' })
    expect(stdout).to.equal('')
    expect(status).to.equal(0)
  })
})
