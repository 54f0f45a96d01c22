import { expect } from 'chai'
import fc from 'fast-check'
import { assembleBundles, needsOf, sharedTokens } from '../../../src/lib/domain/bundles/assemble.js'
import { ownersOf, SECRETS, SHARED_SECRET_NAMES } from '../../../src/lib/domain/bundles/secrets.js'
import { entryOf } from '../../support/fakes.js'

const registry = [entryOf('a'), entryOf('b')]
const everything = new Set([...SHARED_SECRET_NAMES, 'a-token', 'b-token'])
const assemble = (available = everything, extra: string[] = [], over = registry) =>
  assembleBundles({ registry: over, ids: over.map(({ id }) => id), available, extra })
const namesOf = (id: string, made: ReturnType<typeof assemble>) =>
  made.assemblies.find(({ entry }) => entry.id === id)?.secrets.map(({ name }) => name)

describe('assembleBundles', () => {
  it('gives the shared secrets to all instances, and each its own token', () => {
    const made = assemble()
    expect(made.problems).to.deep.equal([])
    expect(namesOf('a', made)).to.have.members(['a-token', ...SHARED_SECRET_NAMES])
    expect(namesOf('b', made)).to.have.members(['b-token', ...SHARED_SECRET_NAMES])
    expect(assembleBundles({ registry, ids: ['b'], available: everything }).assemblies).to.have.length(1)
  })

  it("uses an instance's own control token instead of the shared one, under the shared name", () => {
    const made = assemble(new Set([...everything, 'clawdinator-control-token-b']))
    const secrets = made.assemblies[1]?.secrets ?? []
    expect(secrets).to.deep.include({
      name: 'clawdinator-control-token-b',
      file: 'secrets/clawdinator-control-token.age',
    })
    expect(namesOf('b', made)).not.to.include('clawdinator-control-token')
    expect(namesOf('a', made)).to.include('clawdinator-control-token')
  })

  it('needs no shared control token if each instance has its own', () => {
    const own = [...everything].filter((name) => name !== 'clawdinator-control-token')
    const made = assemble(new Set([...own, 'clawdinator-control-token-a', 'clawdinator-control-token-b']))
    expect(made.problems).to.deep.equal([])
  })

  it('names every missing secret with its purpose', () => {
    const { problems } = assemble(new Set(['b-token', 'anthropic-api-key', 'github-app-key']))
    expect(problems).to.have.members([
      'a needs a-token.age (Discord bot token: signs the gateway in to Discord), which does not exist',
      'a needs openai-api-key.age (OpenAI API key: GPT and Codex models), which does not exist',
      'a needs clawdinator-control-token.age (Control token: authenticates the instance at the Control API), which does not exist',
      'b needs openai-api-key.age (OpenAI API key: GPT and Codex models), which does not exist',
      'b needs clawdinator-control-token.age (Control token: authenticates the instance at the Control API), which does not exist',
    ])
  })

  it('adds requested shared secrets, but never a token', () => {
    const made = assemble(new Set([...everything, 'brave-api-key']), ['brave-api-key'])
    expect(namesOf('a', made)).to.include('brave-api-key')
    expect(namesOf('b', made)).to.include('brave-api-key')
    const token = assemble(everything, ['b-token', 'none'])
    expect(token.problems).to.deep.equal([
      "b-token belongs to b only and can't be shared",
      'none.age was requested but does not exist',
    ])
    expect(namesOf('a', token)).not.to.include('b-token')
  })

  it('refuses a token with the name of another secret', () => {
    const like = (discordTokenSecret: string) =>
      assemble(everything, [], [entryOf('a', { discordTokenSecret }), entryOf('b')])
    expect(like('openai-api-key').problems[0]).to.match(/^a: .* openai-api-key is also the name of a secret that every/)
    expect(like('clawdinator-control-token-b').problems[0]).to.match(/own control token of b$/)
  })

  it("never puts another instance's secret into a bundle", () => {
    const names = fc.constantFrom('t1', 't2', 't3', ...SHARED_SECRET_NAMES, 'clawdinator-control-token-i1', 'x')
    const fleet = fc
      .uniqueArray(names, { minLength: 1, maxLength: 4 })
      .map((tokens) => tokens.map((discordTokenSecret, n) => entryOf(`i${n + 1}`, { discordTokenSecret })))
    const own = fc.integer({ min: 1, max: 4 }).map((n) => `clawdinator-control-token-i${n}`)
    const directory = fc.array(fc.oneof(names, own), { maxLength: 14 }).map((list) => new Set(list))
    fc.assert(
      fc.property(fleet, directory, fc.array(fc.oneof(names, own), { maxLength: 3 }), (over, available, extra) => {
        const owners = ownersOf(over)
        for (const { entry, secrets } of assemble(available, extra, over).assemblies) {
          for (const { name } of secrets) {
            expect(available.has(name)).to.equal(true)
            expect(
              name === entry.discordTokenSecret || (owners.get(name) ?? entry.id) === entry.id,
              `${entry.id} ${name}`,
            ).to.equal(true)
            const discord = over.find((other) => other.id !== entry.id && other.discordTokenSecret === name)
            expect(discord?.id, `${entry.id} has a token of another`).to.equal(undefined)
            const own = /^clawdinator-control-token-(.*)/.exec(name)?.[1] ?? entry.id
            expect(own === entry.id || name === entry.discordTokenSecret, name).to.equal(true)
          }
          const files = secrets.map(({ file }) => file)
          expect(new Set(files).size).to.equal(files.length)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('sharedTokens', () => {
  const problemsOf = (digests: Record<string, string>) =>
    sharedTokens(registry, new Map(Object.entries(digests)), 'content')

  it('reports equal tokens, and a token under a shared name', () => {
    expect(problemsOf({ 'a-token': 'x', 'b-token': 'x', 'openai-api-key': 'y' })).to.deep.equal([
      'a-token.age and b-token.age have the same content',
    ])
    expect(problemsOf({ 'a-token': 'x', 'openai-api-key': 'x' })).to.have.length(1)
  })

  it('accepts shared secrets that are equal', () => {
    expect(
      problemsOf({ 'anthropic-api-key': 'x', 'openai-api-key': 'x', 'a-token': 'y', 'b-token': 'z' }),
    ).to.deep.equal([])
  })
})

describe('the list of secrets', () => {
  it('is one list with a purpose for each secret, and gives every instance a file of its own', () => {
    expect(SECRETS.every(({ title, purpose }) => title !== '' && purpose !== '')).to.equal(true)
    expect(SHARED_SECRET_NAMES).to.deep.equal([
      'anthropic-api-key',
      'openai-api-key',
      'github-app-key',
      'clawdinator-control-token',
    ])
    expect(needsOf(entryOf('a'), new Set()).map(({ name }) => name)).to.include('a-token')
  })
})
