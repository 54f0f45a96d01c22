import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CODES, EXIT_CODES, httpStatusOf } from '../src/lib/domain/errors.js'
import { openApiText } from './openapi.js'

/**
 * The parts of the documentation that are generated from the code. `npm run docs` writes them; a test compares
 * them.
 */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

interface HelpClass {
  new (config: unknown, options: object): { formatCommand(command: unknown): string }
}

async function visibleCommands() {
  const { Config } = await import('@oclif/core/config')
  const config = await Config.load({ root: ROOT })
  const commands = config.commands.filter((command) => !command.hidden).sort((a, b) => a.id.localeCompare(b.id))
  return { config, commands }
}

/** One line a command. */
async function commandTable(): Promise<string> {
  const { commands } = await visibleCommands()
  const rows = commands.map(({ id, summary }) => `| \`clawctl ${id.replaceAll(':', ' ')}\` | ${summary} |`)
  return ['| Command | What it does |', '| --- | --- |', ...rows].join('\n')
}

/** The help of every command: what `--help` prints, without the exit codes that all have in common. */
async function commandReference(): Promise<string> {
  const { config, commands } = await visibleCommands()
  const built: { default: HelpClass } = await import(join(ROOT, 'dist/help.js'))
  const help = new built.default(config, { stripAnsi: true, maxWidth: 100 })
  return commands
    .map((command) => {
      // oclif's own option to leave out the summary keeps only the last paragraph of a description.
      const text = help.formatCommand({ ...command, summary: undefined }).replace(/\n+EXIT CODES[\s\S]*$/, '')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours, which the help may contain
      const plain = text.replace(/\u001b\[[0-9;]*m/g, '').replace(/[ \t]+$/gm, '')
      return `## \`clawctl ${command.id.replaceAll(':', ' ')}\`\n\n${command.summary}\n\n\`\`\`text\n${plain.trim()}\n\`\`\``
    })
    .join('\n\n')
}

function exitCodeTable(): string {
  const rows = Object.entries(EXIT_CODES).map(([code, meaning]) => `| ${code} | ${meaning} |`)
  return ['| Exit code | Meaning |', '| --- | --- |', ...rows].join('\n')
}

function errorTable(): string {
  const rows = Object.entries(CODES).map(([code, entry]) => {
    const http = 'http' in entry ? String(httpStatusOf(code as keyof typeof CODES)) : '–'
    return `| \`${code}\` | ${entry.exit} | ${http} | ${entry.meaning} | ${entry.next} |`
  })
  return ['| Code | Exit | HTTP | What it means | What to do |', '| --- | --- | --- | --- | --- |', ...rows].join('\n')
}

/** Text between `<!-- NAME -->` and `<!-- NAMEstop -->` in these files is generated. */
export const GENERATED: { file: string; name: string; content: () => Promise<string> | string }[] = [
  { file: 'README.md', name: 'commands', content: commandTable },
  { file: 'docs/commands.md', name: 'commands', content: commandReference },
  { file: 'README.md', name: 'exitcodes', content: exitCodeTable },
  { file: 'docs/errors.md', name: 'exitcodes', content: exitCodeTable },
  { file: 'docs/errors.md', name: 'codes', content: errorTable },
]

/** Files that are generated as a whole. */
const GENERATED_FILES: { file: string; content: () => string }[] = [
  { file: 'docs/control-api.openapi.yaml', content: openApiText },
]

/** The file's text with one updated part. */
export function replacePart(text: string, name: string, content: string): string {
  const begin = `<!-- ${name} -->`
  const end = `<!-- ${name}stop -->`
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`There is no ${begin} … ${end}.`)
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, name, content } of GENERATED) {
    const path = join(ROOT, file)
    writeFileSync(path, replacePart(readFileSync(path, 'utf8'), name, await content()))
  }
  for (const { file, content } of GENERATED_FILES) writeFileSync(join(ROOT, file), content())
}
