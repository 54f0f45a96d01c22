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
