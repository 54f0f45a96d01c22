import { GetRolePolicyCommand, IAMClient, TagRoleCommand } from '@aws-sdk/client-iam'
import { expect } from 'chai'
import { denied } from '../support/failingProxy.js'
import { type KilledFleet, RUNS, STATE, startKilledFleet } from '../support/killedFleet.js'
import { HAS_MOTO, outcomes, WITHOUT_MOTO } from '../support/moto.js'

/**
 * Kills, cancels and refusals in the middle of a deploy, with the real OpenTofu and the real AWS provider against moto. A
 * proxy between them acts when a request passes. Needs what support/moto.ts needs.
 */
const [ONE, TWO, THREE, FOUR] = ['clawdinator-1', 'clawdinator-2', 'clawdinator-3', 'clawdinator-4']
const FIVE = 'clawdinator-5'

describe(`kills of deploys on moto${WITHOUT_MOTO}`, function () {
  this.timeout(900_000)
  let world: KilledFleet

  before(async function () {
    if (!HAS_MOTO) return this.skip()
    world = await startKilledFleet()
    const { fleet } = world
    const entry = (id: string, bootstrapPrefix = `bootstrap/${id}`) => ({
      ...{ host: id, instanceType: 't3.large', bootstrapPrefix },
      discordTokenSecret: id.replace('clawdinator', 'clawdinator-discord-token'),
    })
    await fleet.register({
      ...fleet.registry(),
      [THREE]: entry(THREE, 'bootstrap/third'),
      [FOUR]: entry(FOUR),
      [FIVE]: entry(FIVE),
    })
    await fleet.publishImage('first')
  })
  afterEach(() => world?.reset())
  after(() => world?.close())

  it('creates the first host after a kill that left everything outside of the state', async () => {
    const { clawctl, killed, stored, machineOf, findings } = world
    await killed(['fleet', 'deploy', ONE], 'RunInstances')
    expect(await stored()).to.not.include(ONE)
    const left = await machineOf(ONE)
    const shown = findings(await clawctl('fleet', 'recover', '--plan-only')).join('\n')
    for (const what of [
      'whose process is over',
      `candidate ${left}, which never became active`,
      `role ${ONE} is not in`,
    ])
      expect(shown).to.include(what)
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} created`])
    expect(await machineOf(ONE)).to.not.equal(left)
  })

  it('creates another host after a kill, and the serving machine still serves', async () => {
    const { clawctl, killed, stored, machineOf, serving, findings, isWhole } = world
    const one = await serving(ONE)
    await killed(['fleet', 'deploy', TWO], 'RunInstances')
    expect(await stored()).to.not.include(TWO)
    const left = await machineOf(TWO)
    expect(findings(await clawctl('fleet', 'recover')).join()).to.include(
      `candidate ${left}, which never became active`,
    )
    expect(await machineOf(TWO)).to.equal('')
    expect(outcomes(await clawctl('fleet', 'deploy', TWO))).to.deep.equal([`${TWO} created`])
    expect(await machineOf(ONE)).to.equal(one)
    await isWhole()
  })

  it('resumes after kills between role, instance profile and policy', async () => {
    const { clawctl, killed, hold, stored, machineOf, serving, isWhole } = world
    const one = await serving(ONE)
    await killed(['fleet', 'deploy', THREE], 'CreateRole')
    const release = hold('PutRolePolicy')
    await killed(['fleet', 'deploy', THREE], 'CreateInstanceProfile')
    release()
    const hindered = hold('AddRoleToInstanceProfile')
    await killed(['fleet', 'deploy', THREE], 'PutRolePolicy')
    hindered()
    expect(await stored()).to.not.include(THREE)
    expect(outcomes(await clawctl('fleet', 'deploy', THREE))).to.deep.equal([`${THREE} created`])
    expect(await machineOf(ONE)).to.equal(one)
    await isWhole()
  })

  it('keeps a machine that an interrupt tainted, in a deploy of any host', async () => {
    const { proxy, begin, clawctl, stored, machineOf, serving, isWhole } = world
    const one = await serving(ONE)
    const command = begin('fleet', 'deploy', FOUR)
    proxy.once('RunInstances', async (forward) => {
      const answer = await forward()
      command.interrupt()
      return answer
    })
    const { code, all } = await command.ended
    expect(code, all).to.equal(1)
    const four = await machineOf(FOUR)
    expect(await stored(), all)
      .to.include(four)
      .and.include('tainted')
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} replaced`])
    expect(await machineOf(ONE)).to.not.equal(one)
    expect(await machineOf(FOUR)).to.equal(four)
    expect(outcomes(await clawctl('fleet', 'deploy', FOUR))).to.deep.equal([`${FOUR} created`])
    await isWhole()
  })

  it('finishes a handover that was killed while its old machine was destroyed', async () => {
    const { clawctl, fails, killed, machinesOf, machineOf, serving, findings, isWhole } = world
    const old = await serving(ONE)
    await killed(['fleet', 'deploy', ONE], 'TerminateInstances', 'before')
    const both = (await machinesOf(ONE)).map(({ instanceId }) => instanceId)
    expect(both).to.have.length(2).and.include(old)
    expect((await fails('fleet', 'recover')).all).to.include(`clawctl fleet deploy ${ONE}`)
    await killed(['fleet', 'deploy', ONE], 'TerminateInstances', 'after')
    const successor = await machineOf(ONE)
    expect(both).to.include(successor)
    expect(successor).to.not.equal(old)
    expect(findings(await clawctl('fleet', 'recover')).join()).to.include(`${old} in the state, which no longer exists`)
    expect(await machineOf(ONE)).to.equal(successor)
    await isWhole()
  })

  it('gives the role back after a kill between the two writes of a handover', async () => {
    const { clawctl, killed, machinesOf, machineOf, serving, findings, isWhole } = world
    const old = await serving(ONE)
    await killed(['fleet', 'deploy', ONE], `PUT active/${ONE}.json`)
    expect(await machinesOf(ONE)).to.have.length(2)
    const shown = findings(await clawctl('fleet', 'recover')).join('\n')
    expect(shown).to.include(`the role is given back to ${old}`)
    expect(await machineOf(ONE)).to.equal(old)
    await killed(['fleet', 'deploy', ONE], `PUT active/${ONE}.json`)
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} replaced`])
    expect(await machineOf(ONE)).to.not.equal(old)
    await isWhole()
  })

  it('waits for the lock of a running run, names it, and releases it when that run is over', async () => {
    const { fleet, begin, machineOf, serving } = world
    const old = await serving(ONE)
    const holder = 7_000_000
    world.alive.add(holder)
    const lock = {
      ...{ ID: crypto.randomUUID(), Operation: 'clawctl', Info: `${RUNS}/${holder}/attempts/1`, Who: 'runner@host' },
      ...{ Version: '', Created: new Date().toISOString(), Path: `${fleet.bucket}/${STATE}` },
    }
    await fleet.store.put(`${STATE}.tflock`, JSON.stringify(lock))
    const command = begin('fleet', 'deploy', ONE, '--plan-only')
    world.whenGithubIsAsked(() => void (command.said().includes('Waiting for the lock') && world.alive.delete(holder)))
    const { code, all } = await command.ended.finally(() => world.alive.delete(holder))
    expect(code, all).to.equal(0)
    expect(all).to.include(`Waiting for the lock of the state: ${lock.Info}`)
    expect(all).to.match(new RegExp(`Released the lock of the state that ${lock.Info} .* its process is over`))
    expect(await machineOf(ONE)).to.equal(old)
  })

  it("takes its lock although the lock table's answer is lost, and reports the reason if the table refuses", async () => {
    const { fleet, proxy, clawctl, fails } = world
    const item = `PutItem ${fleet.bucket}/${STATE}`
    proxy.once(item, async (forward) => {
      await forward()
      throw new Error('the answer is lost')
    })
    await clawctl('fleet', 'recover')
    const allow = proxy.always(item, async () => denied('dynamodb', 'not authorized to perform: dynamodb:PutItem'))
    const { error } = await fails('fleet', 'deploy', ONE)
    allow()
    expect(error.code).to.equal('DENIED')
    expect(error.message).to.include('DynamoDB PutItem')
    expect(await fleet.store.get(`${STATE}.tflock`)).to.equal(null)
  })

  it('keeps a state that S3 refused, and stores it in the next deploy', async () => {
    const { fleet, proxy, begin, fails, machineOf, serving, isWhole } = world
    const old = await serving(ONE)
    const allow = proxy.always(`PUT ${STATE}`, async () => denied('s3', 'not authorized to perform: s3:PutObject'))
    const { error } = await fails('fleet', 'deploy', ONE)
    allow()
    expect(error.message).to.include('s3:PutObject').and.include(`it is kept in ${STATE}.errored`)
    expect(await machineOf(ONE)).to.equal(old)
    expect((await fleet.store.get(`${STATE}.errored`))?.text).to.include(old)
    const command = await begin('fleet', 'deploy', ONE).ended
    expect(command.code, command.all).to.equal(0)
    expect(command.all).to.include(`${STATE}.errored holds a state that an apply could not store: it is stored`)
    expect(await fleet.store.get(`${STATE}.errored`)).to.equal(null)
    expect(await machineOf(ONE)).to.not.equal(old)
    await isWhole()
  })

  it('continues after the lock table refused the digest of a state that S3 has stored', async () => {
    const { fleet, proxy, clawctl, fails, machinesOf, machineOf, serving, isWhole } = world
    const old = await serving(ONE)
    const digest = `PutItem ${fleet.bucket}/${STATE}-md5`
    const allow = proxy.always(digest, async () => denied('dynamodb', 'not authorized to perform: dynamodb:PutItem'))
    const { error } = await fails('fleet', 'deploy', ONE)
    allow()
    // OpenTofu itself reports that apply as complete.
    expect(error.message).to.include('does not have the expected content')
    expect(error.hint).to.include('clawctl fleet recover')
    expect((await machinesOf(ONE)).map(({ instanceId }) => instanceId)).to.include(old)
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} replaced`])
    expect(await machineOf(ONE)).to.not.equal(old)
    await isWhole()
  })

  it('names the refused request, and the next deploy uses what was already created', async () => {
    const { proxy, clawctl, fails, machineOf, serving, isWhole } = world
    const one = await serving(ONE)
    const role = `arn:aws:iam::123456789012:role/clawdinator/${FIVE}`
    for (const [operation, answer, named] of [
      ['CreateRole', denied('iam', `not authorized to perform: iam:CreateRole on resource: ${role}`), 'iam:CreateRole'],
      ['RunInstances', denied('ec2', `not authorized to perform: iam:PassRole on resource: ${role}`), 'iam:PassRole'],
      ['RunInstances', denied('ec2', 'not authorized to perform: ec2:RunInstances'), 'ec2:RunInstances'],
      ['RunInstances dry', denied('ec2', 'not authorized to perform: ec2:RunInstances'), 'ec2:RunInstances'],
    ] as const) {
      proxy.once(operation, async () => answer)
      const { error, all } = await fails('fleet', 'deploy', FIVE)
      expect(error.message, all).to.include(named)
      expect(await machineOf(FIVE)).to.equal('')
    }
    expect(outcomes(await clawctl('fleet', 'deploy', FIVE))).to.deep.equal([`${FIVE} created`])
    expect(await machineOf(ONE)).to.equal(one)
    await isWhole()
  })

  it('imports a serving machine outside of state and registry with a changed role, and retires it', async () => {
    const { fleet, clawctl, stored, machinesOf, machineOf, serving, findings, isWhole } = world
    const one = await serving(ONE)
    const three = await serving(THREE)
    const forget = async () => {
      const types = ['aws_instance', 'aws_iam_role', 'aws_iam_role_policy', 'aws_iam_instance_profile']
      const { stdout } = await fleet.tofu('state', 'list')
      const addresses = stdout
        .split('\n')
        .filter((line) => types.some((type) => line.startsWith(`${type}.clawdinator["${THREE}`)))
      await fleet.tofu('state', 'rm', ...addresses)
      expect(await stored()).to.not.include(three)
    }
    const iam = new IAMClient({ region: fleet.region })
    const change = () => iam.send(new TagRoleCommand({ RoleName: THREE, Tags: [{ Key: 'Name', Value: 'by hand' }] }))
    const policy = { RoleName: THREE, PolicyName: 'own-bundle-and-heartbeat' }
    await forget()
    await change()
    const { [THREE]: entry, ...rest } = fleet.registry()
    await fleet.register(rest)
    const shown = findings(await clawctl('fleet', 'recover', THREE)).join('\n')
    expect(shown)
      .to.include(`runs ${three}, which is not in the state`)
      .and.include(`role ${THREE} is not in the state`)
    expect(await machineOf(THREE)).to.equal(three)
    const { PolicyDocument = '' } = await iam.send(new GetRolePolicyCommand(policy))
    expect(decodeURIComponent(PolicyDocument)).to.include('bootstrap/third/*')
    await isWhole()
    await forget()
    await change()
    const retired = await clawctl('fleet', 'deploy', THREE, '--retire', '--requested-by', 'Jo')
    expect(outcomes(retired)).to.deep.equal([`${THREE} retired`])
    expect(await machinesOf(THREE)).to.deep.equal([])
    expect(await machineOf(ONE)).to.equal(one)
    await isWhole()
    await fleet.register({ ...rest, ...(entry ? { [THREE]: entry } : {}) })
  })
})
