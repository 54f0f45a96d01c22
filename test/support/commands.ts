import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '@oclif/core/command'
import { ROOT } from './plane.js'
import { sourcesBelow } from './sources.js'

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
