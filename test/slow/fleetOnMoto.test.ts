import { expect } from 'chai'
import { type FleetOnMoto, HAS_MOTO, outcomes, startFleetOnMoto, WITHOUT_MOTO } from '../support/moto.js'

/** The commands of a fleet with the real OpenTofu and the real AWS provider against moto. Needs what support/moto.ts needs. */
const [ONE, TWO] = ['clawdinator-1', 'clawdinator-2']

describe(`a fleet on moto${WITHOUT_MOTO}`, function () {
  this.timeout(900_000)
  let fleet: FleetOnMoto

  before(async function () {
    if (!HAS_MOTO) return this.skip()
    fleet = await startFleetOnMoto()
  })
  after(() => fleet?.close())

  const clawctl = async (...args: string[]) => {
    const { code, stdout, all } = await fleet.begin([...args, '--json']).ended
    expect(code, `clawctl ${args.join(' ')}\n${all}`).to.equal(0)
    return JSON.parse(stdout)
  }

  it('deploys two hosts, rolls, rolls back, shows no drift, and retires', async () => {
    const { publishImage, running } = fleet
    const old = await publishImage('first')
    expect(outcomes(await clawctl('fleet', 'deploy', ONE))).to.deep.equal([`${ONE} created`])
    expect(outcomes(await clawctl('fleet', 'deploy', TWO))).to.deep.equal([`${TWO} created`])
    expect(await running()).to.deep.equal([`${ONE} ${old}`, `${TWO} ${old}`])
    const latest = await publishImage('second')
    const rolled = await clawctl('fleet', 'deploy', 'all', '--requested-by', 'Jo')
    expect(outcomes(rolled)).to.deep.equal([`${ONE} replaced`, `${TWO} replaced`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`, `${TWO} ${latest}`])
    const back = await clawctl('fleet', 'rollback', TWO, '--requested-by', 'Jo')
    expect(outcomes(back)).to.deep.equal([`${TWO} replaced`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`, `${TWO} ${old}`])
    expect((await clawctl('fleet', 'drift')).drift.differences).to.deep.equal([])
    expect((await clawctl('fleet', 'recover')).recovery.findings).to.deep.equal([])
    const { [TWO]: _, ...rest } = fleet.registry()
    await fleet.register(rest)
    const retired = await clawctl('fleet', 'deploy', TWO, '--retire', '--requested-by', 'Jo')
    expect(outcomes(retired)).to.deep.equal([`${TWO} retired`])
    expect(await running()).to.deep.equal([`${ONE} ${latest}`])
  })
})
