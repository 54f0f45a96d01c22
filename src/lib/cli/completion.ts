/** A command as a completion needs it. */
export interface CompletableCommand {
  /** Words after `clawctl`, joined by one space. */
  id: string
  summary: string
  flags: { name: string; summary: string; takesValue: boolean; options: readonly string[]; helpValue?: string }[]
  /** Arguments in their order; `options` if the command lists the values. */
  args: { name: string; options: readonly string[] }[]
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** Kinds of values that `clawctl completion values KIND` looks up. */
export const VALUE_KINDS = ['targets', 'ids', 'amis', 'requests', 'faults', 'roles'] as const
export type ValueKind = (typeof VALUE_KINDS)[number]

/** The values of an argument: looked up, one of a fixed list, a path, or unknown. */
type Values = { kind: ValueKind } | { words: readonly string[] } | { path: 'file' | 'folder' } | null

const FLAG_KINDS: Readonly<Record<string, ValueKind>> = {
  ami: 'amis',
  as: 'roles',
  fault: 'faults',
  running: 'ids',
}
const ARG_KINDS: Readonly<Record<string, ValueKind>> = { target: 'targets', ami: 'amis', requestId: 'requests' }
const FILE_ARGS = ['file', 'image']

function ofFlag({ name, options, helpValue }: CompletableCommand['flags'][number]): Values {
  if (options.length > 0) return { words: options }
  const kind = FLAG_KINDS[name]
  if (kind) return { kind }
  return helpValue === 'FILE' ? { path: 'file' } : helpValue === 'DIR' ? { path: 'folder' } : null
}

function ofArg(command: string, arg: CompletableCommand['args'][number] | undefined): Values {
  if (!arg) return null
  if (arg.options.length > 0) return { words: arg.options }
  if (FILE_ARGS.includes(arg.name)) return { path: 'file' }
  const kind = ARG_KINDS[arg.name]
  if (kind) return { kind }
  // A new instance has no id yet.
  return ['id', 'host'].includes(arg.name) && command !== 'registry add' ? { kind: 'ids' } : null
}

/** A script to source; it reads values of the fleet when they are completed. */
export function completionScript(shell: Shell, commands: readonly CompletableCommand[]): string {
  if (shell === 'fish') return fishScript(commands)
  const bash = bashScript(commands)
  return shell === 'bash' ? `${bash}complete -F _clawctl clawctl\n` : zshScript(bash)
}

const ask = (kind: ValueKind) => `clawctl completion values ${kind} 2>/dev/null`

/** Topics and commands that may follow the words of a path. */
function nextWords(commands: readonly CompletableCommand[]): Map<string, string[]> {
  const next = new Map<string, string[]>()
  for (const { id } of commands) {
    const words = id.split(' ')
    for (const [at, word] of words.entries()) {
      const path = words.slice(0, at).join(' ')
      const known = next.get(path) ?? []
      if (!known.includes(word)) next.set(path, [...known, word])
    }
  }
  return next
}

function bashScript(commands: readonly CompletableCommand[]): string {
  const next = nextWords(commands)
  const valued = new Map(
    commands.flatMap(({ flags }) => flags.filter((f) => f.takesValue).map((f) => [f.name, ofFlag(f)] as const)),
  )
  const fill = (values: Values): string => {
    if (values === null) return ':'
    if ('words' in values) return `offer="${values.words.join(' ')}"`
    return 'kind' in values ? `offer=$(${ask(values.kind)})` : `files='${values.path}'`
  }
  const values = [...valued].map(([name, of]) => `    --${name}) ${fill(of)} ;;`)
  const words = [...next].map(([path, list]) => `      "${path}") offer="${list.join(' ')}" ;;`)
  const flags = commands.map(
    ({ id, flags: own }) => `      "${id}") offer="${own.map((f) => `--${f.name}`).join(' ')}" ;;`,
  )
  const args = commands.flatMap(({ id, args: own }) =>
    own.flatMap((arg, at) => {
      const of = ofArg(id, arg)
      return of ? [`      "${id} ${at}") ${fill(of)} ;;`] : []
    }),
  )
  const paths = [...next.keys(), ...commands.map(({ id }) => id)].filter(Boolean)
  return `_clawctl() {
  local cur=\${COMP_WORDS[COMP_CWORD]} n=$((COMP_CWORD - 1)) id="" at=0 skip="" offer="" files="" head="" lead="" i word
  # Bash takes a:b and --flag=value for three words each.
  if [[ $cur == : ]]; then
    head=\${COMP_WORDS[n]}: cur="" n=$((n - 1))
  elif [[ \${COMP_WORDS[n]} == : ]]; then
    head=\${COMP_WORDS[n - 1]}: n=$((n - 2))
  fi
  [[ $cur == = ]] && cur=""
  [[ \${COMP_WORDS[n]} == = ]] && n=$((n - 1))
  local prev=\${COMP_WORDS[n]}
  if [[ $cur == --*=* ]]; then
    prev=\${cur%%=*} lead=\${cur%%=*}= cur=\${cur#*=}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case "$word" in
      --)
        # A command of its own follows.
        compopt -o default 2>/dev/null
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -c -- "$cur"))
        return
        ;;
      = | :) skip=1 ;;
      ${[...valued.keys()].map((name) => `--${name}`).join(' | ')}) skip=1 ;;
      -*) ;;
      *)
        if [[ -n $skip ]]; then
          skip=""
        else
          case "\${id:+$id }$word" in
            ${paths.map((path) => `"${path}"`).join(' | ')}) id="\${id:+$id }$word" ;;
            *) ((at++)) ;;
          esac
        fi
        ;;
    esac
  done
  case "$prev" in
${values.join('\n')}
    *)
      if [[ $cur == -* ]]; then
        case "$id" in
          "") offer="--help --version" ;;
${flags.map((line) => `    ${line}`).join('\n')}
        esac
        offer="$offer --help"
      else
        case "$id" in
${words.map((line) => `    ${line}`).join('\n')}
        esac
        case "$id $at" in
${args.map((line) => `    ${line}`).join('\n')}
        esac
      fi
      ;;
  esac
  # shellcheck disable=SC2207
  case "$files" in
    file) COMPREPLY=($(compgen -f -- "$cur")) ;;
    folder) COMPREPLY=($(compgen -d -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$offer" -- "$head$cur")) ;;
  esac
  for ((i = 0; i < \${#COMPREPLY[@]}; i++)); do
    COMPREPLY[i]=$lead\${COMPREPLY[i]#"$head"}
  done
  [[ -n $files ]] && compopt -o filenames 2>/dev/null
  return 0
}
`
}

/** Zsh runs the same function by its own emulation of bash, which needs compinit. `path` and `words` are zsh's own names. */
function zshScript(bash: string): string {
  return `if ! whence compdef >/dev/null; then
  print -u2 'clawctl: put "autoload -Uz compinit && compinit" before the completion in ~/.zshrc.'
else
  autoload -Uz bashcompinit && bashcompinit
${bash}  complete -F _clawctl clawctl
fi
`
}

function fishScript(commands: readonly CompletableCommand[]): string {
  const quote = (text: string) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
  const lines = [
    'function __clawctl_is',
    '  set -l words (commandline -opc | string match -v -- "-*")',
    '  test "$words[2..]" = "$argv[1]"; or string match -q -- "$argv[1] *" "$words[2..]"',
    'end',
    'function __clawctl_at',
    '  set -l words (commandline -opc | string match -v -- "-*")',
    '  test "$words[2..]" = "$argv[1]"',
    'end',
    'complete -c clawctl -f',
  ]
  const summaries = new Map(commands.map(({ id, summary }) => [id, summary]))
  for (const [path, words] of nextWords(commands)) {
    for (const word of words) {
      const summary = summaries.get([path, word].filter(Boolean).join(' ')) ?? ''
      lines.push(`complete -c clawctl -n ${quote(`__clawctl_at ${quote(path)}`)} -a ${word} -d ${quote(summary)}`)
    }
  }
  const fill = (values: Values): string => {
    if (values === null) return ' -x'
    if ('words' in values) return ` -x -a ${quote(values.words.join(' '))}`
    if ('kind' in values) return ` -x -a ${quote(`(${ask(values.kind)})`)}`
    return values.path === 'file' ? ' -r -F' : ` -x -a '(__fish_complete_directories)'`
  }
  for (const { id, flags, args } of commands) {
    const of = ofArg(id, args[0])
    if (of) lines.push(`complete -c clawctl -n ${quote(`__clawctl_at ${quote(id)}`)}${fill(of).replace(/^ -[xr]/, '')}`)
    for (const flag of flags) {
      const value = flag.takesValue ? fill(ofFlag(flag)) : ''
      lines.push(
        `complete -c clawctl -n ${quote(`__clawctl_is ${quote(id)}`)} -l ${flag.name}${value} -d ${quote(flag.summary)}`,
      )
    }
  }
  return `${lines.join('\n')}\n`
}
