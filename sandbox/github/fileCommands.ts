import { randomUUID } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parsePairs } from './commands.js'

/** GitHub's limit of a step summary. */
const MAX_SUMMARY_BYTES = 1024 * 1024

const FILES = {
  GITHUB_ENV: 'set_env',
  GITHUB_OUTPUT: 'set_output',
  GITHUB_PATH: 'add_path',
  GITHUB_STATE: 'save_state',
  GITHUB_STEP_SUMMARY: 'step_summary',
} as const
type Variable = keyof typeof FILES

export interface FileCommands {
  /** The variables that name the files. */
  env: Record<Variable, string>
  /** Applies the step's commands and removes the files. Returns their problems. */
  collect(sink: FileSink): Promise<string[]>
}

export interface FileSink {
  setEnv(name: string, value: string): void
  addPath(directory: string): void
  setOutput(name: string, value: string): void
  addSummary(markdown: string): void
}

/** Creates the files through which one step sends commands to the runner. */
export async function openFileCommands(directory: string): Promise<FileCommands> {
  const id = randomUUID()
  const env = Object.fromEntries(
    Object.entries(FILES).map(([variable, name]) => [variable, join(directory, `${name}_${id}`)]),
  ) as Record<Variable, string>
  await Promise.all(Object.values(env).map((file) => writeFile(file, '')))

  const collect = async (sink: FileSink): Promise<string[]> => {
    const problems: string[] = []
    const content = async (variable: Variable) => await readFile(env[variable], 'utf8').catch(() => '')
    const obey = (command: string, act: () => void) => {
      try {
        act()
      } catch (error) {
        problems.push(`Unable to process file command '${command}' successfully.`, (error as Error).message)
      }
    }
    const pairs = await content('GITHUB_ENV')
    obey('env', () => {
      for (const [name, value] of parsePairs(pairs)) {
        // The runner refuses this one, because it would run code in every JavaScript action.
        if (name.toUpperCase() === 'NODE_OPTIONS') throw new Error(`Can't store ${name} output parameter`)
        sink.setEnv(name, value)
      }
    })
    const outputs = await content('GITHUB_OUTPUT')
    obey('output', () => {
      for (const [name, value] of parsePairs(outputs)) sink.setOutput(name, value)
    })
    for (const directory of (await content('GITHUB_PATH')).split('\n')) {
      if (directory.trim() !== '') sink.addPath(directory.trim())
    }
    const summary = await content('GITHUB_STEP_SUMMARY')
    const kibibytes = Math.ceil(Buffer.byteLength(summary) / 1024)
    if (Buffer.byteLength(summary) > MAX_SUMMARY_BYTES) {
      problems.push(
        `$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got ${kibibytes}k. ` +
          'For more information see: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#adding-a-markdown-summary',
      )
    } else if (summary !== '') {
      sink.addSummary(summary)
    }
    await Promise.all(Object.values(env).map((file) => rm(file, { force: true })))
    return problems
  }
  return { env, collect }
}
