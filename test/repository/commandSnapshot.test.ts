import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'
import { commandsOfSource } from '../support/sources.js'

const FILE = join(import.meta.dirname, 'command-snapshot.json')
const MANIFEST = join(ROOT, 'oclif.manifest.json')

interface Surface {
  args: Record<string, object>
  flags: Record<string, object>
  /** False if the command accepts more than its arguments. */
  strict: boolean
}

/** The part of a flag that both its class and the built manifest declare. */
interface Declared {
  type?: string
  required?: boolean
  multiple?: boolean
  options?: readonly string[]
  char?: string
  env?: string
  hidden?: boolean
}

/** The parts that scripts rely on, without absent ones. */
function flagSurface(flag: Declared): object {
  const { type, required, multiple, options, char, env, hidden } = flag
  return {
    type,
    ...(required ? { required } : {}),
    ...(multiple ? { multiple } : {}),
    ...(options ? { options } : {}),
    ...(char ? { char } : {}),
    ...(env ? { env } : {}),
    ...(hidden ? { hidden } : {}),
  }
}

function argSurface({ required, options }: Declared): object {
  return { required: required ?? false, ...(options ? { options } : {}) }
}

function mapped(record: Record<string, unknown>, surface: (declared: Declared) => object): Record<string, object> {
  const sorted = Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(sorted.map(([name, declared]) => [name, surface(declared as Declared)]))
}

async function sourceSurface(): Promise<Record<string, Surface>> {
  const surfaces = (await commandsOfSource()).map(({ id, command }): [string, Surface] => {
    const flags = {
      ...command.baseFlags,
      ...command.flags,
      ...(command.enableJsonFlag ? { json: { type: 'boolean' } } : {}),
    }
    // Arguments keep their order, in which they are typed.
    const args = Object.entries(command.args).map(([name, arg]) => [name, argSurface(arg as Declared)])
    return [id, { args: Object.fromEntries(args), flags: mapped(flags, flagSurface), strict: command.strict }]
  })
  return Object.fromEntries(surfaces.sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('the command surface', () => {
  /** Run `UPDATE_SNAPSHOT=1 npx mocha` after an intended change. */
  it('matches test/repository/command-snapshot.json', async () => {
    const now = await sourceSurface()
    if (process.env.UPDATE_SNAPSHOT) writeFileSync(FILE, `${JSON.stringify(now, null, 2)}\n`)
    expect(now).to.deep.equal(JSON.parse(readFileSync(FILE, 'utf8')))
  })

  it('matches the built manifest', async function () {
    if (!existsSync(MANIFEST)) this.skip() // not built
    const manifest = JSON.parse(readFileSync(MANIFEST, 'utf8')) as {
      commands: Record<string, { args: object; flags: object; strict: boolean; aliases: string[] }>
    }
    const built = Object.entries(manifest.commands).map(([id, { args, flags, strict }]): [string, Surface] => [
      id.replaceAll(':', ' '),
      {
        args: Object.fromEntries(Object.entries(args).map(([name, arg]) => [name, argSurface(arg)])),
        flags: mapped(flags as Record<string, unknown>, flagSurface),
        strict,
      },
    ])
    expect(Object.fromEntries(built)).to.deep.equal(await sourceSurface())
  })
})
