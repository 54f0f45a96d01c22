import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import type { Command } from '@oclif/core/command'
import { ROOT } from './plane.js'

/** Every .ts file below a folder of the repository, with slashes. */
export function sourcesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file).replaceAll('\\', '/'))
    .sort()
}

export function isNode(name: string): boolean {
  return name.startsWith('node:') || builtinModules.includes(name)
}

export interface SourceCommand {
  /** As it is typed: `fleet deploy`. */
  id: string
  file: string
  lines: number
  command: typeof Command
}

/** Every command as its source declares it, in the order of the alphabet. */
export function commandsOfSource(): Promise<SourceCommand[]> {
  return Promise.all(
    sourcesBelow('src/commands').map(async (file) => {
      const module = (await import(join(ROOT, file))) as { default: typeof Command }
      const text = readFileSync(join(ROOT, file), 'utf8')
      const id = file.replace(/^src\/commands\/|\.ts$/g, '').replaceAll('/', ' ')
      return { id, file, lines: text.trimEnd().split('\n').length, command: module.default }
    }),
  )
}

/** What is wrong with a typed command, or null. `…`, ID and [OPTIONAL] are a reader's own. */
export function problemOf(typed: string, commands: readonly SourceCommand[]): string | null {
  const topics = new Set(commands.flatMap(({ id }) => id.split(' ').map((_, n, all) => all.slice(0, n).join(' '))))
  const end = typed.indexOf(' -- ')
  const words = (end < 0 ? typed : typed.slice(0, end)).split(/\s+/).slice(1).filter(Boolean)
  const names = words.filter((word) => !word.startsWith('-')).map((word) => word.replace(/[^a-z-].*$/, ''))
  const command = commands
    .filter(({ id }) => id.split(' ').every((part, index) => names[index] === part))
    .sort((a, b) => b.id.length - a.id.length)[0]
  const flags = words.filter((word) => /^--[a-z]/.test(word)).map((word) => word.slice(2).replace(/[=,.…)\]].*$/, ''))
  if (!command) {
    const asked = names.filter(Boolean).join(' ')
    return asked === '' || topics.has(asked) || /^[A-Z…]/.test(words[0] ?? '') ? null : `no command "${asked}"`
  }
  const known = new Set([...Object.keys({ ...command.command.baseFlags, ...command.command.flags }), 'json', 'help'])
  const unknown = flags.filter((flag) => !known.has(flag))
  return unknown.length > 0 ? `${command.id} has no --${unknown.join(', --')}` : null
}
