import { Diagnostic } from './diagnostic.js'

/** 'later': an option of the real OpenTofu that the stand-in does not implement, so it refuses. */
type Kind = 'bool' | 'string' | 'list' | 'duration' | 'later'
type Flags = Readonly<Record<string, Kind>>

const VARS: Flags = { var: 'list', 'var-file': 'list' }
const LOCK: Flags = { lock: 'bool', 'lock-timeout': 'duration' }
const STATE_PATHS: Flags = { state: 'later', 'state-out': 'later', backup: 'later' }
const VIEW: Flags = {
  'no-color': 'bool',
  'compact-warnings': 'bool',
  'consolidate-warnings': 'bool',
  'consolidate-errors': 'bool',
  concise: 'bool',
  'show-sensitive': 'bool',
}
const TARGETS: Flags = {
  target: 'later',
  exclude: 'later',
  'target-file': 'later',
  'exclude-file': 'later',
  'refresh-only': 'later',
}

const COMMANDS = {
  version: { json: 'bool' },
  init: {
    ...VARS,
    ...LOCK,
    input: 'bool',
    'backend-config': 'list',
    reconfigure: 'bool',
    upgrade: 'bool',
    get: 'bool',
    lockfile: 'string',
    backend: 'later',
    cloud: 'later',
    'migrate-state': 'later',
    'force-copy': 'later',
    'from-module': 'later',
    'plugin-dir': 'later',
    'test-directory': 'later',
    'ignore-remote-version': 'later',
    json: 'later',
  },
  plan: {
    ...VARS,
    ...LOCK,
    ...STATE_PATHS,
    ...TARGETS,
    out: 'string',
    input: 'bool',
    refresh: 'bool',
    destroy: 'bool',
    replace: 'list',
    parallelism: 'string',
    'detailed-exitcode': 'bool',
    'generate-config-out': 'later',
    json: 'later',
    'json-into': 'later',
  },
  apply: {
    ...VARS,
    ...LOCK,
    ...STATE_PATHS,
    ...TARGETS,
    input: 'bool',
    'auto-approve': 'bool',
    parallelism: 'string',
    refresh: 'later',
    destroy: 'later',
    replace: 'later',
    json: 'later',
    'json-into': 'later',
  },
  show: { ...VARS, json: 'bool', state: 'bool', plan: 'string', config: 'later', module: 'later' },
  'state list': { ...VARS, id: 'later', state: 'later' },
  'state pull': { ...VARS },
  'state push': { ...VARS, ...LOCK, force: 'bool' },
  untaint: { ...VARS, ...LOCK, ...STATE_PATHS, 'allow-missing': 'bool' },
  'force-unlock': { ...VARS, force: 'bool' },
  validate: { ...VARS, json: 'later', 'no-tests': 'bool', 'test-directory': 'later' },
  output: { ...VARS, json: 'bool', raw: 'later', state: 'later' },
} as const satisfies Record<string, Flags>

export type Command = keyof typeof COMMANDS

export interface Invocation {
  command: Command
  /** As given with -chdir, or null. */
  chdir: string | null
  flag(name: string, fallback: boolean): boolean
  text(name: string): string | null
  list(name: string): readonly string[]
  /** Every -var and -var-file, in the order given: the last one of a name wins. */
  vars: readonly { flag: 'var' | 'var-file'; value: string }[]
  lockTimeoutMs: number
  positional: readonly string[]
}

/** @throws Diagnostic with the text of the real OpenTofu */
export function parseArgs(argv: readonly string[]): Invocation {
  const rest = [...argv]
  let chdir: string | null = null
  while (rest[0]?.startsWith('-')) {
    const global = rest.shift() ?? ''
    if (global.startsWith('-chdir=')) chdir = global.slice('-chdir='.length)
    else if (['-version', '--version', '-v'].includes(global)) rest.unshift('version')
    else throw new Diagnostic('Failed to parse command-line options', `flag provided but not defined: ${global}`)
  }
  const command = takeCommand(rest)
  const flags: Flags = { ...VIEW, ...COMMANDS[command] }
  const values = new Map<string, string[]>()
  const vars: { flag: 'var' | 'var-file'; value: string }[] = []
  const positional: string[] = []
  while (rest.length > 0) {
    const arg = rest.shift() ?? ''
    // OpenTofu accepts display options at any position; other options must come before arguments.
    const inPlace = positional.length === 0 || arg.slice(1) in VIEW
    if (!arg.startsWith('-') || arg === '-' || !inPlace) {
      positional.push(arg)
      continue
    }
    const { name, value } = takeFlag(arg, rest, flags)
    values.set(name, [...(values.get(name) ?? []), value])
    if (name === 'var' || name === 'var-file') vars.push({ flag: name, value })
  }
  return {
    command,
    chdir,
    vars,
    positional,
    flag: (name, fallback) => {
      const value = values.get(name)?.at(-1)
      return value === undefined ? fallback : value === 'true'
    },
    text: (name) => values.get(name)?.at(-1) ?? null,
    list: (name) => values.get(name) ?? [],
    lockTimeoutMs: durationMs(values.get('lock-timeout')?.at(-1) ?? '0') ?? 0,
  }
}

function takeCommand(rest: string[]): Command {
  const word = rest.shift() ?? ''
  const name = word === 'state' ? `state ${rest.shift() ?? ''}`.trim() : word
  if (Object.hasOwn(COMMANDS, name)) return name as Command
  throw new Diagnostic(
    name === '' ? 'No command given' : `The stand-in of the clawctl sandbox has no command "${name}"`,
    `It has ${Object.keys(COMMANDS).join(', ')}.`,
  )
}

const TRUE = ['1', 't', 'T', 'true', 'TRUE', 'True']
const FALSE = ['0', 'f', 'F', 'false', 'FALSE', 'False']

function takeFlag(arg: string, rest: string[], flags: Flags): { name: string; value: string } {
  const [, name = '', given] = /^--?([^=]*)(?:=([\s\S]*))?$/.exec(arg) ?? []
  const kind = Object.hasOwn(flags, name) ? flags[name] : undefined
  const unparsed = (why: string) => new Diagnostic('Failed to parse command-line options', why)
  if (!kind) throw unparsed(`flag provided but not defined: -${name}`)
  if (kind === 'later') {
    throw new Diagnostic(
      `The stand-in of the clawctl sandbox does not model -${name}`,
      'The real OpenTofu has this option. The stand-in refuses options that it does not implement.',
    )
  }
  if (kind === 'bool') {
    const value = given ?? 'true'
    if (![...TRUE, ...FALSE].includes(value)) {
      throw unparsed(`invalid boolean value ${JSON.stringify(value)} for -${name}: parse error`)
    }
    return { name, value: String(TRUE.includes(value)) }
  }
  const value = given ?? rest.shift()
  if (value === undefined) throw unparsed(`flag needs an argument: -${name}`)
  if (kind === 'duration' && durationMs(value) === null) {
    throw unparsed(`invalid value ${JSON.stringify(value)} for flag -${name}: parse error`)
  }
  return { name, value }
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A Go duration such as 1m30s, or 0 without a unit; null if the text is not one. */
function durationMs(text: string): number | null {
  if (text === '0') return 0
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) return null
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0)
  }
  return total
}
