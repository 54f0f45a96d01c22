import { expect } from 'chai'
import type { FleetInstance } from '../../../src/lib/domain/contract/index.js'
import type { SecretsListing } from '../../../src/lib/ops/bundles/ports.js'
import { remainingSteps, type StepPorts } from '../../../src/lib/ops/registry/stepFacts.js'
import { entryOf, upstream } from '../../support/fakes.js'

const entry = entryOf('clawdinator-3')
const none: StepPorts = { secrets: null, fleet: null, hasBundle: null }
const secrets = (listing: Partial<SecretsListing>) => ({
  path: 'nix-secrets',
  read: async () => ({
    files: [],
    strays: [],
    problems: [],
    identities: new Map(),
    recipients: new Map(),
    ...listing,
  }),
  write: async () => {},
})
const fleet = (state: FleetInstance['state'] | null, ofBranch = true) => ({
  ofBranch,
  ask: async () => ({ latestAmi: null, instances: state ? [{ id: entry.id, state } as FleetInstance] : [] }),
})

async function look(ports: Partial<StepPorts>, written: 'here' | 'planned' | 'pull-request' = 'here') {
  const edit = { written, pullRequestUrl: written === 'pull-request' ? 'https://github.example/pull/7' : null }
  const steps = await remainingSteps(entry, edit, { ...none, ...ports })
  return Object.fromEntries(steps.map((step) => [step.id, step]))
}

describe('the remaining steps of an instance', () => {
  it('are those of the runbook, in its order', async () => {
    const steps = await remainingSteps(entry, { written: 'here', pullRequestUrl: null }, none)
    expect(steps.map(({ id, done }) => [id, done])).to.deep.equal([
      ['discord-token', null],
      ['registry-entry', true],
      ['host-file', true],
      ['identity', null],
      ['control-token', null],
      ['merged', null],
      ['bundle', null],
      ['deploy', null],
    ])
    expect(
      steps.filter(({ done }) => done === null).every(({ note }) => note?.startsWith('not known here: ')),
    ).to.equal(true)
  })

  it('tick the token only if it is encrypted', async () => {
    const name = entry.discordTokenSecret
    const file = (text: string) => ({ files: [{ name, bytes: Buffer.from(text), sha256: '' }] })
    const header = `age-encryption.org/v1\n-> X25519 ${'a'.repeat(43)}\n${'b'.repeat(43)}\n--- ${'c'.repeat(43)}\n`
    const leadsOut = { problems: [{ file: `${name}.age`, problem: 'is a link that leads out' }] }
    for (const [listing, done, note] of [
      [file(header + 'x'.repeat(40)), true, null],
      [file(header), false, `${name}.age is cut off in its content`],
      [file('a token'), false, `${name}.age is not age ciphertext`],
      [leadsOut, false, `${name}.age is a link that leads out`],
      [{}, false, `${name}.age is missing`],
    ] as const) {
      expect((await look({ secrets: secrets(listing) }))['discord-token']).to.include({ done, note })
    }
  })

  it('tick the identity only if it and its public key exist', async () => {
    const sealed = new Map([[entry.id, { name: entry.id, bytes: Buffer.from(''), sha256: '' }]])
    const recipients = new Map([[entry.id, ['age1x']]])
    const tick = async (listing: Partial<SecretsListing>) => (await look({ secrets: secrets(listing) })).identity
    expect(await tick({ identities: sealed, recipients })).to.include({ done: true, note: null })
    expect(await tick({ recipients })).to.include({ done: false, note: 'identities/clawdinator-3.age is missing' })
    expect(await tick({ identities: sealed })).to.include({
      done: false,
      note: 'recipients/clawdinator-3.txt is missing',
    })
  })

  it("tick branch and deploy by the server's facts", async () => {
    const states = [null, 'orphan', 'missing', 'running'] as const
    const seen = await Promise.all(states.map(async (state) => look({ fleet: fleet(state) })))
    expect(seen.map(({ merged, deploy }) => [merged?.done, deploy?.done])).to.deep.equal([
      [false, false],
      [false, false],
      [true, false],
      [true, true],
    ])
    const inRun = await look({ fleet: fleet('running', false), hasBundle: async () => true })
    expect([inRun.merged?.done, inRun.deploy?.done, inRun.bundle?.done]).to.deep.equal([null, true, true])
  })

  it("give the reason if a step can't be checked, and never fail", async () => {
    const broken = { ofBranch: true, ask: async () => Promise.reject(upstream()) }
    const { merged, bundle } = await look({ fleet: broken, hasBundle: async () => Promise.reject(upstream()) })
    expect(merged).to.include({ done: null, note: 'not known here: The service does not answer (UPSTREAM)' })
    expect(bundle?.done).to.equal(null)
  })

  it('give the place of the files', async () => {
    const planned = await look({}, 'planned')
    expect(planned['registry-entry']).to.include({ done: false, note: 'dry run: not written' })
    const proposed = await look({}, 'pull-request')
    expect(proposed['host-file']).to.include({ done: true, note: 'in the pull request' })
    expect(proposed.merged?.command).to.equal('gh pr merge https://github.example/pull/7')
    expect((await look({})).merged?.command).to.match(/^git add .* && git commit .* && git push$/)
  })
})
