import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { allows, trusts } from '../../sandbox/aws/policy.js'
import { type Instance, World } from '../../sandbox/aws/world.js'
import { Faults } from '../../sandbox/faults.js'
import { Hosts } from '../../sandbox/hosts.js'
import { applyChanges } from '../../sandbox/tofu/apply.js'
import { type Attribute, type Block, parseFile } from '../../sandbox/tofu/hcl.js'
import { type Change, planChanges, planJson } from '../../sandbox/tofu/plan.js'
import { Clock } from '../../sandbox/tofu/resources.js'
import { readStack } from '../../sandbox/tofu/stack.js'
import { State } from '../../sandbox/tofu/state.js'
import { readVariables } from '../../sandbox/tofu/variables.js'
import { worldCloud } from '../../sandbox/worldCloud.js'
import { guardPlan } from '../../src/lib/domain/deploy/planGuard.js'
import { expected } from '../support/fakes.js'
import { ROOT } from '../support/plane.js'

const STACK = 'infra/opentofu/aws/fleet'
const ID = 'clawdinator-1'
/** Its bundle would be where no host may read. */
const OUTSIDE = 'clawdinator-2'
const PREFIX = 'bootstrap/elsewhere'
const BUCKET = 'fleet-bucket'
const KMS = 'arn:aws:kms:eu-central-1:000000000000:key/0000'
const BOUNDARY = 'arn:aws:iam::000000000000:policy/clawdinator/host-boundary'
/** Parts whose removal must be detected. */
const SUBJECTS = [
  'resource aws_instance clawdinator',
  'resource aws_iam_role clawdinator',
  'resource aws_iam_role_policy clawdinator',
  'resource aws_iam_instance_profile clawdinator',
  'data aws_iam_policy_document clawdinator',
  'data aws_iam_policy_document ec2',
]

interface Mutant {
  /** The removed part. */
  title: string
  file: string
  text: string
}

/** Every argument, block, list item and object entry of the tested resources, removed one at a time. */
function mutants(): Mutant[] {
  const files = readdirSync(join(ROOT, STACK)).filter((name) => name.endsWith('.tf'))
  return files.flatMap((file) => {
    const text = readFileSync(join(ROOT, STACK, file), 'utf8')
    const without = (title: string, start: number, end: number): Mutant => ({
      ...{ title, file, text: text.slice(0, start) + text.slice(end) },
    })
    const parts = (part: Attribute, at: string): Mutant[] => {
      const source = text.slice(part.start, part.end)
      const lines = [...source.matchAll(/^[ \t]+[^\s#].*\n/gm)].filter(([line]) => /=|,$/m.test(line))
      const found = lines.map((line) =>
        without(`${at} line ${line[0].trim()}`, part.start + line.index, part.start + line.index + line[0].length),
      )
      const list = lines.length === 0 ? /\[([^[\]]*(?:\[[^\]]*\][^[\]]*)*, .*)\]/.exec(source) : null
      if (!list) return found
      const items = (list[1] ?? '').split(', ')
      return items.map((item, index) => ({
        ...without(`${at} item ${item}`, 0, 0),
        text:
          text.slice(0, part.start) +
          source.replace(list[1] ?? '', items.filter((_, other) => other !== index).join(', ')) +
          text.slice(part.end),
      }))
    }
    const walk = (block: Block, at: string): Mutant[] => [
      ...block.body.attributes.flatMap((one) => [
        without(`${at}.${one.name}`, one.start, one.end),
        ...parts(one, `${at}.${one.name}`),
      ]),
      ...block.body.blocks.flatMap((inner, index) => {
        const name = `${at}.${[inner.type, ...inner.labels].join('.')}[${index}]`
        return [without(name, inner.start, inner.end), ...walk(inner, name)]
      }),
    ]
    return parseFile(text, file).blocks.flatMap((block) => {
      const name = [block.type, ...block.labels].join(' ')
      return SUBJECTS.includes(name) ? walk(block, name) : []
    })
  })
}

/** A registry and the stack, whose files a mutant may replace. */
function checkout() {
  const root = mkdtempSync(join(tmpdir(), 'clawctl-mutants-'))
  cpSync(join(ROOT, STACK), join(root, STACK), { recursive: true, filter: (path) => !path.includes('.terraform') })
  mkdirSync(join(root, 'nix'))
  const entry = { host: 'other-host', instanceType: 'm7i.large', bootstrapPrefix: PREFIX }
  writeFileSync(
    join(root, 'nix/instances.json'),
    JSON.stringify({ [ID]: entry, [OUTSIDE]: { bootstrapPrefix: 'elsewhere' } }),
  )
  return { dir: join(root, STACK), remove: () => rmSync(root, { recursive: true, force: true }) }
}

function account() {
  const world = new World({ httpTokensEnforced: true })
  world.createBucket(BUCKET)
  const ami = world.addImage({ name: 'first', imdsSupport: 'v2.0' }).id
  const nextAmi = world.addImage({ name: 'second', imdsSupport: 'v2.0' }).id
  const subnet = { id: 'subnet-0123456789abcdef0', vpcId: world.defaultVpcId, tags: new Map() }
  world.subnets.set(subnet.id, subnet)
  const memory = { id: 'sg-0123456789abcdef0', name: 'memory', description: '', vpcId: world.defaultVpcId }
  world.securityGroups.set(memory.id, { ...memory, ingress: [], egress: [], tags: new Map() })
  const sse = { algorithm: 'aws:kms', kmsKeyId: KMS }
  const body = Buffer.from('age-encryption.org/v1')
  const object = { kind: 'secret', name: 't', file: 'secrets/t.age', key: 'secrets/t.age', size: body.length }
  const instance = { id: ID, host: ID, instanceType: 't3.large', bootstrapPrefix: PREFIX, discordTokenSecret: 't' }
  const manifest = {
    ...{ schema: 2, generation: 1, instance, revision: null, createdBy: 'test', createdAt: '2026-11-01T00:00:00Z' },
    objects: [{ ...object, sha256: createHash('sha256').update(body).digest('hex') }],
  }
  world.putObject(BUCKET, `${PREFIX}/secrets/t.age`, body, { sse })
  world.putObject(BUCKET, `${PREFIX}/config.json`, JSON.stringify(manifest), { sse })
  return { world, ami, nextAmi, subnet: subnet.id, memory: memory.id }
}

/** Deploys the stack in `dir` like a sandbox, and throws every problem of the deploy or of its resources. */
async function deploy(dir: string): Promise<void> {
  const { world, ami, nextAmi, subnet, memory } = account()
  const cloud = worldCloud(world, null)
  const notes: string[] = []
  const hosts = new Hosts({ world, faults: new Faults(), bootMs: 2, onNote: (note) => notes.push(note) })
  hosts.start()
  const lines: string[] = []
  let state = new State()
  const stack = readStack(dir)
  const plan = async (vars: Record<string, string>) => {
    const all = {
      ...{ ami_id: ami, bucket: BUCKET, region: world.region, control_api_url: 'https://api.example/' },
      ...{ instance_ids: JSON.stringify([ID]), request_id: 'request-0001', root_volume_gib: '100' },
      ...{ subnet_id: subnet, memory_security_group_id: memory, kms_key_arn: KMS, permissions_boundary_arn: BOUNDARY },
      ...vars,
    }
    const given = Object.entries(all).map(([name, value]) => ({ flag: 'var' as const, value: `${name}=${value}` }))
    const variables = readVariables(stack, given, {}, () => {})
    const none = () => Promise.reject(new Error('there is nothing to import'))
    const changes = await planChanges(stack, variables, state, { replace: [], destroy: false, import: none })
    return { changes, variables, json: planJson(stack, variables, state, changes, []) }
  }
  try {
    const { changes, variables, json } = await plan({})
    guardPlan(json, expected({ kind: 'create', id: ID, slot: 'a' }, PREFIX))
    const next = state.with([])
    const { signal } = new AbortController()
    await applyChanges(changes, { stack, variables }, next, {
      ...{ cloud, changed: async () => {}, say: (line: string) => lines.push(line) },
      ...{ signal, clock: new Clock(10_000, signal) },
    })
    state = next
    const [instance] = [...world.instances.values()]
    const key = `heartbeats/${ID}/${instance?.id}.json`
    const isActive = () => world.getObject(BUCKET, key)?.body.toString().includes('"stage":"active"')
    for (const end = Date.now() + 5000; !isActive() && notes.length === 0 && Date.now() < end; ) await sleep(1)
    expect(isActive(), `the host is not active: ${notes.join('; ')}`).to.equal(true)
    if (instance) judge(world, instance, { ami, subnet, memory, changes, lines })

    // Another image, request and type do not change an existing machine.
    const later = await plan({ ami_id: nextAmi, request_id: 'request-0002', root_volume_gib: '200' })
    expect(actionsOf(later.changes)).to.deep.equal([])
    const refused = await plan({ instance_ids: JSON.stringify([OUTSIDE]) }).catch((error: Error) => error.message)
    expect(refused).to.equal('Resource precondition failed')
    const slots = await plan({ ami_id: nextAmi, slots: JSON.stringify({ [ID]: ['a', 'b'] }) })
    expect(actionsOf(slots.changes)).to.deep.equal([`create aws_instance.clawdinator["${ID}/b"]`])
  } finally {
    hosts.stop()
  }
}

const actionsOf = (changes: readonly Change[]) =>
  changes.flatMap(({ address, change: { actions } }) =>
    actions.includes('no-op') ? [] : [`${actions.join()} ${address}`],
  )

/** Requirements of the operator and the host, in addition to a successful boot. */
function judge(
  world: World,
  instance: Instance,
  {
    ami,
    subnet,
    memory,
    changes,
    lines,
  }: { ami: string; subnet: string; memory: string; changes: readonly Change[]; lines: readonly string[] },
): void {
  const group = [...world.securityGroups.values()].find(({ name }) => name === 'clawdinator-fleet')
  expect(instance).to.deep.include({
    ...{ imageId: ami, instanceType: 'm7i.large', profile: ID, subnetId: subnet },
    metadata: { endpoint: 'enabled', tokens: 'required', hops: 1 },
    rootVolume: { encrypted: true, type: 'gp3', size: 100, deleteOnTermination: true },
  })
  expect(instance.securityGroups).to.have.members([memory, group?.id])
  expect(Object.fromEntries(instance.tags)).to.deep.equal({
    ...{ app: 'clawdinator', Name: ID, 'clawdinator:id': ID, 'clawdinator:slot': 'a' },
    ...{ 'clawdinator:request-id': 'request-0001', 'clawdinator:bootstrap-prefix': PREFIX },
  })
  const script = Buffer.from(instance.userData ?? '', 'base64').toString()
  expect(script).to.include("write_value host 'other-host'").and.to.include("write_value request-id 'request-0001'")
  const planned = changes.find(({ type }) => type === 'aws_instance')?.change.after
  // Set explicitly, and not left to AWS's default.
  expect(planned?.metadata_options).to.deep.equal([
    { http_endpoint: 'enabled', http_tokens: 'required', http_put_response_hop_limit: 1 },
  ])
  expect(planned?.root_block_device).to.deep.equal([
    { encrypted: true, volume_type: 'gp3', volume_size: 100, delete_on_termination: true },
  ])
  const at = (start: string) => lines.findIndex((line) => line.startsWith(start))
  expect(at('aws_iam_role_policy.clawdinator')).to.be.lessThan(at('aws_instance.clawdinator'))

  const role = world.iam.getRole(ID)
  const profile = world.iam.getProfile(ID)
  for (const one of [role, profile]) {
    expect(one?.path).to.equal('/clawdinator/')
    expect(Object.fromEntries(one?.tags ?? [])).to.deep.equal({ app: 'clawdinator', 'clawdinator:id': ID })
  }
  expect(role?.boundary).to.equal(BOUNDARY)
  expect(trusts(role?.trust ?? '{}', 'ec2.amazonaws.com')).to.equal(true)
  expect(trusts(role?.trust ?? '{}', 'lambda.amazonaws.com')).to.equal(false)
  expect([...(role?.policies.keys() ?? [])]).to.deep.equal(['own-bundle-and-heartbeat'])
  const policy = role?.policies.get('own-bundle-and-heartbeat') ?? '{}'
  for (const text of [policy, role?.trust ?? '{}']) {
    const { Statement } = JSON.parse(text) as { Statement: { Sid?: string }[] }
    expect(Statement.every(({ Sid }) => Sid)).to.equal(true)
  }
  const object = `arn:aws:s3:::${BUCKET}`
  const s3 = { 'kms:ViaService': 's3.eu-central-1.amazonaws.com' }
  for (const [allowed, action, resource, context] of [
    [true, 's3:GetObject', `${object}/${PREFIX}/secrets/t.age`, {}],
    [true, 's3:GetObject', `${object}/active/${ID}.json`, {}],
    [true, 's3:ListBucket', object, { 's3:prefix': `${PREFIX}/` }],
    [true, 's3:ListBucket', object, { 's3:prefix': `active/${ID}.json` }],
    [true, 's3:PutObject', `${object}/heartbeats/${ID}/i-1.json`, {}],
    [true, 'kms:Decrypt', KMS, s3],
    [true, 'kms:GenerateDataKey', KMS, s3],
    [false, 'kms:Decrypt', KMS, {}],
    [false, 'kms:Decrypt', KMS, { 'kms:ViaService': 'ebs.eu-central-1.amazonaws.com' }],
    [false, 's3:GetObject', `${object}/bootstrap/clawdinator-2/config.json`, {}],
    [false, 's3:GetObject', `${object}/active/clawdinator-2.json`, {}],
    [false, 's3:ListBucket', object, {}],
    [false, 's3:ListBucket', object, { 's3:prefix': 'bootstrap/clawdinator-2/' }],
    [false, 's3:PutObject', `${object}/heartbeats/clawdinator-2/i-1.json`, {}],
    [false, 's3:PutObject', `${object}/active/${ID}.json`, {}],
    [false, 's3:PutObject', `${object}/${PREFIX}/config.json`, {}],
  ] as const) {
    expect(allows([policy], { action, resource, context }), `${action} ${resource}`).to.equal(allowed)
  }
}

describe('the fleet stack with one part removed', () => {
  it('deploys without a mutation', async () => {
    const { dir, remove } = checkout()
    try {
      await deploy(dir)
    } finally {
      remove()
    }
  })

  it('fails for every mutation', async () => {
    const { dir, remove } = checkout()
    const unnoticed: string[] = []
    const all = mutants()
    try {
      for (const { title, file, text } of all) {
        // A mutant that can't be parsed would be detected for the wrong reason.
        parseFile(text, file)
        const path = join(dir, file)
        const before = readFileSync(path)
        writeFileSync(path, text)
        const reason = await deploy(dir).then(
          () => null,
          (error: Error) => error.message,
        )
        if (reason === null) unnoticed.push(title)
        writeFileSync(path, before)
      }
    } finally {
      remove()
    }
    expect(unnoticed).to.deep.equal([])
    expect(all.length).to.be.greaterThan(90)
  })
})
