// biome-ignore-all lint/suspicious/noTemplateCurlyInString: expressions of HCL hold ${ }
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { Sandbox } from '../../sandbox/sandbox.js'
import { evaluate, plain } from '../../sandbox/tofu/evaluate.js'
import { parseExpression } from '../../sandbox/tofu/hcl.js'
import { guardPlan } from '../../src/lib/domain/deploy/planGuard.js'
import { deployFleet } from '../../src/lib/ops/deploy/deployFleet.js'
import { STACK } from '../sandbox/tofuSupport.js'
import { failureOf } from '../support/failure.js'
import { deployOptions } from '../support/fakeDirectPlane.js'
import { expected, NEW, NO_MORE, OLD, registryOf, registrySource } from '../support/fakes.js'
import { ROOT } from '../support/plane.js'
import { REAL, realPlane } from '../support/realTofu.js'

const OPTIONS = deployOptions({ healthTimeoutMs: 60_000 })
const name = REAL ?? 'tofu (skipped: neither tofu nor terraform is in PATH)'
let requests = 0

describe(`a deploy with the real ${name}`, () => {
  let plane: ReturnType<typeof realPlane>
  before(function () {
    if (!REAL) return this.skip()
    plane = realPlane(registryOf('a', 'b'))
  })
  after(() => plane?.close())

  const deploy = (target: string, more: object = {}, vars?: Record<string, string>) =>
    deployFleet({ target, requestId: `request-${++requests}0000`, ...more }, OPTIONS, plane.ports(vars))

  it('creates two hosts, replaces one, uses an override, and a later plan changes nothing', async () => {
    await deploy('a', { amiOverride: OLD.id })
    expect(plane.running()).to.deep.equal({ a: OLD.id })
    await deploy('b', { amiOverride: OLD.id })
    const before = plane.instances()
    await deploy('b')
    expect(plane.running()).to.deep.equal({ a: OLD.id, b: NEW.id })
    expect(plane.instances().a).to.equal(before.a)

    const file = join(plane.folder, 'later')
    const slots = { a: ['a'], b: ['b'] } as const
    const later = {
      file,
      ami: OLD.id,
      instances: ['a', 'b'],
      kept: {},
      ...NO_MORE,
      slots: { a: [...slots.a], b: [...slots.b] },
      replace: null,
    }
    const plan = (await plane.tofu({ template: 'second' }).plan(later)) as {
      resource_changes: { change: { actions: string[] } }[]
    }
    expect(plan.resource_changes.flatMap(({ change }) => change.actions)).to.deep.equal(Array(4).fill('no-op'))
    // An unnamed change is refused, although OpenTofu would make it.
    const naming = await plane.tofu().plan({ ...later, replace: 'aws_instance.clawdinator["a"]' })
    expect(() => guardPlan(naming, expected({ kind: 'replace', id: 'b', slot: 'a' }))).to.throw(
      'replace aws_instance.clawdinator["a"]',
    )
  })

  it('rolls all hosts, and rolls back if the new image is bad', async () => {
    await deploy('all', { amiOverride: OLD.id })
    expect(plane.running()).to.deep.equal({ a: OLD.id, b: OLD.id })
    const { b } = plane.instances()
    plane.bad.add(NEW.id)
    const error = await failureOf(deploy('all'))
    plane.bad.clear()
    expect(error.code).to.equal('KEPT')
    expect(plane.running()).to.deep.equal({ a: OLD.id, b: OLD.id })
    expect(plane.instances().b).to.equal(b)
  })

  it('keeps an instance that left the registry until it is retired', async () => {
    const ports = { ...plane.ports(), registry: registrySource(registryOf('a')) }
    await deployFleet({ target: 'a', requestId: 'request-orphan' }, OPTIONS, ports)
    expect(Object.keys(plane.running())).to.deep.equal(['a', 'b'])
    expect(plane.progress.notes.at(-1)).to.equal('Not in the registry, left running: b.')
    await deployFleet({ target: 'b', requestId: 'request-retire', retire: true }, OPTIONS, ports)
    expect(Object.keys(plane.running())).to.deep.equal(['a'])
    expect(readFileSync(plane.stateFile, 'utf8')).not.to.include('"index_key": "b"')
  })

  it('waits for the lock, and refuses a stale plan', async () => {
    const tofu = plane.tofu()
    const request = (file: string) => ({
      ...{ file: join(plane.folder, file), ami: NEW.id, instances: ['a'], kept: {}, ...NO_MORE },
      replace: 'aws_instance.clawdinator["a"]',
    })
    await tofu.plan(request('one'))
    await tofu.plan(request('two'))
    await tofu.apply(join(plane.folder, 'one'))
    expect((await failureOf(tofu.apply(join(plane.folder, 'two')))).message).to.include('stale')
  })
})

function exists(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false
  }
}

/** Each in a form that the stack uses. */
const EXPRESSIONS = [
  'templatefile("TEMPLATE", { instance_name = "a", bootstrap_prefix = "b/a", control_api_url = "https://x/", bucket = "c", host = "a", request_id = "", config_revision = "image" })',
  'merge([for id, host in { a = { n = 1 }, b = { n = 2 } } : { for slot in lookup({ b = toset(["b", "a"]) }, id, toset(["a"])) : (slot == "a" ? id : "${id}/${slot}") => merge(host, { id = id, slot = slot }) }]...)',
  '{ for kept in [lookup({}, "x", null)] : "bootstrapPrefix" => kept if kept != null }',
  '{ for k, v in { a = "x", b = "y", c = "x" } : v => k... }',
  'compact(["a", null, "", "b"])',
  'can(regex("^ami-([0-9a-f]{8}|[0-9a-f]{17})$", "ami-0123"))',
  'regex("a(b)(c)?", "ab")',
  'alltrue([for slots in values({ a = toset(["a"]), b = toset(["a", "c"]) }) : length(setsubtract(slots, ["a", "b"])) == 0])',
  'startswith("bootstrap/x", "bootstrap/") && !(1 + 2 * 3 > 7) || false',
  '10 - 2 - 3',
  '-2 * 3 + 7 % 4',
  'true ? null == null ? "a" : "b" : "c"',
  '"a$${x}%%{y}\\n\\"${"q"}\\" ${1 + 1}"',
  'keys({ b = 1, a = 2 })',
  'jsondecode("{\\"a\\":[1,{\\"b\\":null}]}")',
  'distinct(concat(["b", "a"], ["b"]))',
  '{ a = 1, "b-c" : [2, 3,], (join("-", ["d", "e"])) = { f = true } }',
  'try({}.a, "fallback")',
  'setunion(["b"], ["a", "b"])',
  'toset(["b", "a", "b"]) == toset(["a", "b"])',
]

describe(`expressions with the real ${name}`, () => {
  it('have the same values as in the sandbox', async function () {
    if (!REAL) return this.skip()
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-console-'))
    const expressions = EXPRESSIONS.map((text) => text.replace('TEMPLATE', join(STACK, 'user-data.sh.tftpl')))
    const input = `base64encode(jsonencode([${expressions.join(', ')}]))\n`
    const { stdout } = await execa(REAL, ['console'], { cwd: folder, input })
    rmSync(folder, { recursive: true })
    const real = JSON.parse(Buffer.from(JSON.parse(stdout.trim()), 'base64').toString())
    const ours = expressions.map((text) => plain(evaluate(parseExpression(text, 'test'), {})))
    for (const [index, text] of expressions.entries()) expect(ours[index], text).to.deep.equal(real[index])
  })
})

/** Makes the bucket when it is applied, as the platform stack does. */
const FIRST = `
terraform {
  backend "s3" {
    key          = "state/platform.tfstate"
    use_lockfile = true
  }
}
variable "region" {}
variable "bucket" {}
resource "terraform_data" "bucket" {
  input = "\${var.bucket} in \${var.region}"
  provisioner "local-exec" {
    command = "\${var.make}"
  }
}
variable "make" {}
`

describe(`the first apply of the platform stack with the real ${name}`, () => {
  let sandbox: Sandbox
  let folder: string
  before(async function () {
    if (!REAL) return this.skip()
    folder = mkdtempSync(join(tmpdir(), 'clawctl-first-'))
    writeFileSync(join(folder, 'main.tf'), FIRST)
    sandbox = await Sandbox.start({
      ...{
        packageRoot: ROOT,
        checkoutRoot: ROOT,
        registryFile: null,
        runningIds: [],
        faults: [],
        tofu: 'auto',
        env: process.env,
      },
    })
  })
  after(async () => {
    await sandbox?.close()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  it('keeps its state beside the stack until the bucket exists, and changes nothing when run again', async () => {
    const env = await sandbox.environment({ kind: 'ci' }, process.env)
    // Signatures are not verified: any signature of the right form creates the bucket.
    const sign = `AWS4-HMAC-SHA256 Credential=${env.AWS_ACCESS_KEY_ID}/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}`
    const make = `${process.execPath} -e "fetch('${env.AWS_ENDPOINT_URL_S3}/first-bucket',{method:'PUT',headers:{authorization:'${sign}'}}).then((r)=>process.exit(r.ok?0:1))"`
    const vars = { TF_VAR_region: 'eu-central-1', TF_VAR_bucket: 'first-bucket', TF_VAR_make: make }
    const platform = (...args: string[]) =>
      execa('bash', [join(ROOT, 'scripts/platform.sh'), ...args], {
        env: { ...env, ...vars, TOFU: REAL ?? '', PLATFORM_STACK: folder },
        ...{ extendEnv: false, reject: false, all: true },
      })
    const first = await platform('apply', '-auto-approve', '-no-color')
    expect(first.exitCode, first.all).to.equal(0)
    expect(first.all).to.include('1 added').and.to.include('The bucket first-bucket has no state yet')
    expect(sandbox.world.getObject('first-bucket', 'state/platform.tfstate')?.body.toString()).to.include(
      'first-bucket in',
    )
    const second = await platform('apply', '-auto-approve', '-no-color')
    expect(second.all).to.include('0 added, 0 changed, 0 destroyed')
    for (const left of ['first_apply_override.tf', 'first-apply.tfstate'])
      expect(exists(join(folder, left)), left).to.equal(false)
  })
})
