import { expect } from 'chai'
import { BaseCommand } from '../../src/lib/cli/baseCommand.js'
import { commandsOfSource, type SourceCommand } from '../support/sources.js'

/** A command parses, calls one op and shows the result. More code belongs elsewhere. */
const MAX_LINES = 90

describe('commands', () => {
  let commands: SourceCommand[]
  before(async () => {
    commands = await commandsOfSource()
  })

  it('include every command of the specification', () => {
    expect(commands.map(({ id }) => id)).to.include.members([
      'fleet deploy',
      'fleet follow',
      'fleet history',
      'fleet status',
      'preflight',
      'registry add',
      'registry check',
      'registry list',
      'registry remove',
      'sandbox demo',
      'sandbox run',
      'sandbox up',
    ])
  })

  const longOnes = () => commands.filter(({ lines }) => lines > MAX_LINES).map(({ file }) => file)

  it(`are files of at most ${MAX_LINES} lines, but one`, () => {
    expect(longOnes().filter((file) => file !== 'src/commands/fleet/deploy.ts')).to.deep.equal([])
  })

  it(`are files of at most ${MAX_LINES} lines`, () => {
    expect(longOnes()).to.deep.equal([])
  })

  it('have a summary of one sentence, and at least one example', () => {
    for (const { id, command } of commands) {
      expect(command.summary, id).to.match(/^[A-Z].{10,110}\.$/)
      const examples = (command.examples ?? []).map((example) =>
        typeof example === 'string' ? example : (example.command ?? ''),
      )
      expect(examples, id).not.to.deep.equal([])
      for (const example of examples) expect(example, id).to.include('<%= config.bin %> <%= command.id %>')
    }
  })

  it('have --json, and fail in one way', () => {
    for (const { id, command } of commands) {
      expect(command.prototype, id).to.be.instanceOf(BaseCommand)
      expect(command.enableJsonFlag, id).to.equal(true)
      expect(Object.hasOwn(command.prototype, 'catch'), id).to.equal(false)
      expect(Object.hasOwn(command, 'baseFlags'), id).to.equal(false)
    }
  })

  it('describe every flag and argument, and have no secret among them', () => {
    for (const { id, command } of commands) {
      for (const [name, flag] of Object.entries({ ...command.baseFlags, ...command.flags })) {
        expect(flag.summary ?? flag.description, `${id} --${name}`).to.match(/^.{5,}/)
        // The name of a secret and the folder of encrypted secrets are not secrets.
        if (['discord-token-secret', 'secrets-dir', 'extra-secret'].includes(name)) continue
        expect(name, `${id}: flags show in ps`).not.to.match(/token|secret|password|(?<!kms-)key/)
      }
      for (const [name, arg] of Object.entries(command.args)) {
        expect(arg.description, `${id} ${name}`).to.match(/^.{5,}/)
      }
    }
  })
})
