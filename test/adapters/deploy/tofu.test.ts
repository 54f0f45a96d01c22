import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { build } from 'esbuild'
import { createTofu, type TofuOptions } from '../../../src/lib/adapters/deploy/tofu.js'
import { guardPlan } from '../../../src/lib/domain/deploy/planGuard.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { account, BACKEND, BUCKET, checkout, ROOT, STATE_KEY, VARS } from '../../sandbox/tofuSupport.js'
import { expected, NO_MORE } from '../../support/fakes.js'

async function failure(promise: Promise<unknown>): Promise<ClawctlError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof ClawctlError) return error
    throw error
  }
  throw new Error('it did not fail')
}

describe('createTofu: failures', () => {
  let home: string
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'clawctl-tofu-'))
  })
  afterEach(() => rmSync(home, { recursive: true, force: true }))

  /** An OpenTofu that is a shell script. */
  function fake(script: string, options: Partial<TofuOptions> = {}) {
    const binary = join(home, 'tofu')
    writeFileSync(binary, `#!/bin/sh\n${script}\n`)
    chmodSync(binary, 0o755)
    return createTofu({ binary, dir: home, backendConfig: {}, vars: {}, ...options })
  }

  const says = (text: string) => `cat >&2 <<'END'\n${text}\nEND\nexit 1`
  const request = { file: 'plan', ami: 'ami-1', instances: ['a'], kept: {}, ...NO_MORE, replace: null }

  it('reports a missing program', async () => {
    const tofu = createTofu({ binary: join(home, 'none'), dir: home, backendConfig: {}, vars: {} })
    const error = await failure(tofu.init())
    expect(error).to.include({ code: 'TOOL_MISSING' })
    expect(error.message).to.include('none is not installed, or not in PATH')
    expect(
      (await failure(createTofu({ dir: '/', env: { PATH: home }, backendConfig: {}, vars: {} }).init())).code,
    ).to.equal('TOOL_MISSING')
  })

  it('passes on the first error of a plan, at most 2 KB of it', async () => {
    const text = `Warning: careful\n\nhm\n\nError: No value for required variable\n\n${'ü'.repeat(3000)}\n\nError: another`
    const error = await failure(fake(says(text)).plan(request))
    expect(error.code).to.equal('PLAN_FAILED')
    expect(error.message).to.match(/^OpenTofu failed in plan: Error: No value for required variable\n\nü+…$/)
    expect(Buffer.byteLength(error.message)).to.be.below(2100)
    const init = await failure(fake(says('Error: short\n\nwhy\n\n\nError: other')).init())
    expect(init.message).to.equal('OpenTofu failed in init: Error: short\n\nwhy')
    expect((await failure(fake('exit 7').init())).message).to.include('exit code 7')
  })

  it('distinguishes a stale plan from other failures of an apply', async () => {
    const stale = await failure(fake(says('\nError: Saved plan is stale\n\nThe given plan file can no')).apply('plan'))
    expect(stale).to.include({ code: 'APPLY_FAILED' })
    expect(stale.message).to.include('The saved plan is stale')
    expect(stale.hint).to.include('Run the deploy again')
    const other = await failure(fake(says('Error: creating EC2 Instance: denied')).apply('plan'))
    expect(other).to.include({ code: 'APPLY_FAILED', hint: undefined })
    expect(other.message).to.include('Error: creating EC2 Instance: denied')
  })

  it("finds the JSON document in OpenTofu's other output", async () => {
    const warning = 'Warning: Deprecated Parameter\n\nThe parameter "dynamodb_table" is deprecated.'
    const around = (json: string) =>
      fake(`cat <<'END'\n${warning}\n{"@level":"warn"}\n${json}\n${warning}\n{"a":1}\nEND`)
    expect(await around('{\n  "version": 4,\n  "lineage": "x",\n  "serial": 3\n}').head()).to.include({ serial: 3 })
    expect(await around('{"version":4}').state()).to.deep.equal([])
    expect(await around('{"format_version":"1.2"}').plan(request)).to.deep.equal({ format_version: '1.2' })
  })

  it('names the command that corrects a digest of another state', async () => {
    const words = 'Error: error loading state: state data in S3 does not have the expected content.'
    expect((await failure(fake(says(words)).state())).hint).to.include('clawctl fleet recover')
  })

  it('asks for space where the disk is full', async () => {
    const words = 'Error: failed to write the plan file: write /tmp/a.tfplan: no space left on device'
    expect((await failure(fake(says(words)).plan(request))).hint).to.include('Free some space')
  })

  it("passes on OpenTofu's text if it can't read plan or state", async () => {
    const words = 'Failed to marshal state to json: schema version 1 does not match version 2'
    expect((await failure(fake(says(words)).state())).message).to.include(`OpenTofu failed in state pull: ${words}`)
    expect((await failure(fake('echo not json').state())).message).to.include('not json')
    expect((await failure(fake('true').plan(request))).message).to.include('printed nothing in show of the plan')
  })

  it('refuses JSON of another form', async () => {
    expect((await failure(fake('echo not json').state())).code).to.equal('PLAN_FAILED')
    expect((await failure(fake(`echo '{"version":3}'`).state())).message).to.include('shape')
  })

  it('reads every managed resource of the state, and an empty list without a state', async () => {
    const one = (attributes: unknown, more: object = {}) => ({ schema_version: 1, attributes, ...more })
    const resource = (mode: string, name: string, instances: object[], more: object = {}) => ({
      ...{ mode, type: 'aws_instance', name, provider: 'p', instances },
      ...more,
    })
    const resources = [
      resource('managed', 'x', [
        one({ id: 'i-1', tags: { app: 'y' } }, { index_key: 'a/b', status: 'tainted' }),
        one({ id: 7, tags: [] }, { index_key: 0 }),
        one({ id: 'i-2' }, { index_key: 'a/b', deposed: 'abcd' }),
      ]),
      resource('managed', 'y', [one(null)], { module: 'module.m' }),
      resource('data', 'z', [one({ id: 'i-3' })]),
    ]
    expect(await fake(`echo '${JSON.stringify({ version: 4, resources })}'`).state()).to.deep.equal([
      { address: 'aws_instance.x["a/b"]', id: 'i-1', tags: { app: 'y' }, tainted: true },
      { address: 'aws_instance.x[0]', id: null },
      { address: 'module.m.aws_instance.y', id: null },
    ])
    expect(await fake(`echo '{"version":4}'`).state()).to.deep.equal([])
    expect(await fake('true').state()).to.deep.equal([])
  })

  it('ignores environment variables that would change the command', async () => {
    process.env.TF_CLI_ARGS_init = '-upgrade'
    process.env.TF_WORKSPACE = 'other'
    process.env.TF_VAR_ami_id = 'ami-1234abcd'
    try {
      await fake('env >"$OUT"', { env: { OUT: join(home, 'env') } }).init()
    } finally {
      delete process.env.TF_CLI_ARGS_init
      delete process.env.TF_WORKSPACE
      delete process.env.TF_VAR_ami_id
    }
    const seen = readFileSync(join(home, 'env'), 'utf8')
    expect(seen).to.include('TF_IN_AUTOMATION=1')
    expect(seen).not.to.match(/^TF_(?:CLI_ARGS|WORKSPACE|VAR)/m)
  })

  it('interrupts OpenTofu once, and waits until it ends', async () => {
    const stop = new AbortController()
    const lines: string[] = []
    const script = `
      trap 'echo interrupt; echo >>"$OUT"; sleep 0.2; touch "$OUT.done"; exit 1' INT
      echo ready
      while :; do sleep 0.05; done`
    const out = join(home, 'out')
    const tofu = fake(script, { env: { OUT: out }, signal: stop.signal, onOutput: (line) => lines.push(line) })
    const applied = failure(tofu.apply('plan'))
    while (!lines.includes('ready')) await sleep(10)
    stop.abort()
    const error = await applied
    expect(error).to.include({ code: 'CANCELLED' })
    expect(readFileSync(out, 'utf8')).to.equal('\n')
    expect(existsSync(`${out}.done`)).to.equal(true)
    expect(lines).to.deep.equal(['ready', 'interrupt'])
    expect((await failure(tofu.init())).message).to.include('was not started')
  })
})

describe('createTofu with the stand-in as a program', () => {
  it('plans, guards, applies, replaces, and stores a state that could not be stored', async () => {
    const aws = await account()
    const stack = checkout(['a-1', 'b-2'])
    const binary = join(stack.root, 'tofu')
    const bundle = join(stack.root, 'tofu.mjs')
    // One file, as it is shipped. Through tsx every start would take most of a second.
    await build({
      entryPoints: [join(ROOT, 'sandbox/tofu/main.ts')],
      outfile: bundle,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      mainFields: ['module', 'main'],
      banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
    })
    writeFileSync(binary, `#!/bin/sh\nexec '${process.execPath}' '${bundle}' "$@"\n`)
    chmodSync(binary, 0o755)
    const lines: string[] = []
    const tofu = createTofu({
      binary,
      dir: stack.dir,
      env: { TF_DATA_DIR: join(stack.root, 'data'), NODE_OPTIONS: '' },
      backendConfig: BACKEND,
      vars: VARS,
      onOutput: (line) => lines.push(line),
    })
    const file = join(stack.root, 'plan')
    const address = 'aws_instance.clawdinator["a-1"]'
    try {
      await tofu.init()
      expect(await tofu.state()).to.deep.equal([])
      guardPlan(
        await tofu.plan({ file, ami: aws.ami, instances: ['a-1'], kept: {}, ...NO_MORE, replace: null }),
        expected({ kind: 'create', id: 'a-1', slot: 'a' }),
      )
      await tofu.apply(file)
      expect(lines).to.include(`${address}: Creating...`)
      expect(aws.running()).to.deep.equal({ 'a-1': aws.ami })
      expect((await tofu.state()).map((resource) => resource.address)).to.include(address)
      expect((await failure(tofu.apply(file))).message).to.include('The saved plan is stale')

      const replaced = await tofu.plan({
        file,
        ami: aws.nextAmi,
        instances: ['a-1'],
        kept: {},
        ...NO_MORE,
        replace: address,
      })
      guardPlan(replaced, expected({ kind: 'replace', id: 'a-1', slot: 'a' }))
      await tofu.apply(file)
      expect(aws.running()).to.deep.equal({ 'a-1': aws.nextAmi })

      const stored = await tofu.head()
      const text = aws.world.getObject(BUCKET, STATE_KEY)?.body.toString() ?? ''
      const later = JSON.stringify({ ...JSON.parse(text), serial: (stored?.serial ?? 0) + 1 })
      writeFileSync(join(stack.dir, 'errored.tfstate'), later)
      expect((await tofu.unwritten())?.text).to.equal(later)
      await tofu.push(later)
      expect((await tofu.head())?.serial).to.equal((stored?.serial ?? 0) + 1)
      expect((await failure(tofu.push(text))).message).to.include('over newer state')
      await tofu.dropUnwritten()
      expect(await tofu.unwritten()).to.equal(null)
    } finally {
      stack.remove()
      await aws.close()
    }
  })
})
