import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from '@cdktf/hcl2json'
import { expect } from 'chai'
import { type Body, parseFile } from '../../sandbox/tofu/hcl.js'
import { Module } from '../../sandbox/tofu/module.js'
import { readStack } from '../../sandbox/tofu/stack.js'
import { parseRegistry } from '../../src/lib/domain/registry/registry.js'
import { ROOT, STACK, userDataOf, VARS } from './tofuSupport.js'

const installed = (program: string) => !spawnSync(program, ['--version']).error

describe('the fleet stack', () => {
  const stack = readStack(STACK)

  it('declares exactly the variables that clawctl passes', () => {
    const passed = [...Object.keys(VARS), 'ami_id', 'instance_ids', 'kept_prefixes']
    const declared = stack.variables.map(({ name }) => name)
    const required = stack.variables.filter(({ fallback }) => fallback === null).map(({ name }) => name)
    expect(declared).to.include.members(passed)
    expect(passed).to.include.members(required)
  })

  it('changes no host that is not named', () => {
    expect(stack.resources.get('aws_instance.clawdinator')?.ignores).to.equal('all')
  })

  it('locks its state in S3', () => {
    expect(Object.fromEntries(stack.backend ?? [])).to.deep.equal({ use_lockfile: 'true' })
  })

  it('reads the registry of this repository', () => {
    const registry = parseRegistry(readFileSync(join(ROOT, 'nix/instances.json'), 'utf8'), 'nix/instances.json')
    const read = stack.locals.get('registry')
    const value = read && new Module(stack, new Map()).evaluate(read)
    expect(Object.keys(value as object)).to.deep.equal(registry.map(({ id }) => id))
  })

  it('is parsed like hcl2json parses it', async () => {
    for (const file of readdirSync(STACK).filter((name) => name.endsWith('.tf'))) {
      const text = readFileSync(join(STACK, file), 'utf8')
      expect(shapeOf(parseFile(text, file)), file).to.deep.equal(convertedShape(await parse(file, text)))
    }
  })

  it('is formatted as tofu fmt does', function () {
    const binary = ['tofu', 'terraform'].find(installed)
    if (!binary) return this.skip()
    const { status, stdout } = spawnSync(binary, ['fmt', '-check', '-diff', STACK], { encoding: 'utf8' })
    expect(stdout).to.equal('')
    expect(status).to.equal(0)
  })
})

/** Every block and argument by its path, in a form that both parsers' results can be converted to. */
function shapeOf(body: Body, path = ''): string[] {
  return [
    ...body.attributes.map(({ name }) => `${path}${name}`),
    ...body.blocks.flatMap(({ type, labels, body: inner }) => {
      const at = `${path}${[type, ...labels].join('.')}.`
      return [at, ...shapeOf(inner, at)]
    }),
  ].sort()
}

/** hcl2json returns blocks as lists of objects below their labels, and arguments as values. */
function convertedShape(json: Record<string, unknown>): string[] {
  const LABELS: Record<string, number> = {
    resource: 2,
    data: 2,
    variable: 1,
    output: 1,
    provider: 1,
    backend: 1,
    dynamic: 1,
  }
  const block = (at: string, body: Record<string, unknown>): string[] => [at, ...members(at, body)]
  const labelled = (at: string, value: unknown, labels: number): string[] =>
    labels === 0
      ? (value as Record<string, unknown>[]).flatMap((body) => block(`${at}.`, body))
      : Object.entries(value as object).flatMap(([label, inner]) => labelled(`${at}.${label}`, inner, labels - 1))
  const members = (path: string, body: Record<string, unknown>): string[] =>
    Object.entries(body).flatMap(([name, value]) => {
      if (name in LABELS && typeof value === 'object') return labelled(`${path}${name}`, value, LABELS[name] ?? 0)
      const isBlocks =
        Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'object' && one !== null)
      return isBlocks ? value.flatMap((one) => block(`${path}${name}.`, one)) : [`${path}${name}`]
    })
  return members('', json).sort()
}

describe('user data', () => {
  let script = ''
  before(async () => {
    const values = { ...VARS, bucket: 'clawdinator-fleet', ami_id: `ami-${'0'.repeat(17)}`, request_id: 'request-0001' }
    const more = { control_api_url: 'https://abc.lambda-url.eu-central-1.on.aws/', instance_ids: '["clawdinator-2"]' }
    script = await userDataOf({ ...values, ...more }, 'clawdinator-2')
  })

  it('is a script below the limit of 16 KB, with every placeholder filled', () => {
    expect(script).to.match(/^#!.*bash\n/)
    expect(script).to.include('\nset -euo pipefail\n')
    expect(script).not.to.match(/[$%]\{/)
    expect(Buffer.byteLength(script)).to.be.below(16 * 1024)
  })

  it('runs its steps in the designed order', () => {
    const steps = [
      "write_value instance-name 'clawdinator-2'",
      "write_value bootstrap-prefix 'bootstrap/clawdinator-2'",
      "write_value control-api-url 'https://abc.lambda-url.eu-central-1.on.aws/'",
      "write_value bucket 'clawdinator-fleet'",
      "write_value host 'clawdinator-2'",
      "write_value request-id 'request-0001'",
      'systemctl start --no-block clawdinator.target',
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
