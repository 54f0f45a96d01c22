/** A command as a completion needs it. */
export interface CompletableCommand {
  /** Words after `clawctl`, joined by one space. */
  id: string
  summary: string
  flags: { name: string; summary: string; takesValue: boolean; options: readonly string[] }[]
  /** True where the first argument is a deploy target. */
  targets: boolean
  /** What else the first argument may be. */
  values: readonly string[]
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A script to source; ids of the registry are asked for when they are completed. */
export function completionScript(shell: Shell, commands: readonly CompletableCommand[]): string {
  if (shell === 'fish') return fishScript(commands)
  const bash = bashScript(commands)
  return shell === 'bash' ? bash : `autoload -U +X bashcompinit && bashcompinit\n${bash}`
}

const IDS = `clawctl registry list 2>/dev/null | awk 'NR > 1 { print $1 }'`

function bashScript(commands: readonly CompletableCommand[]): string {
  const topics = [...new Set(commands.map((c) => c.id.split(' ')[0] ?? ''))]
  const second = topics.flatMap((topic) => {
    const words = commands.filter((c) => c.id.startsWith(`${topic} `)).map((c) => c.id.split(' ')[1])
    return words.length > 0 ? [`      ${topic}) words="${words.join(' ')}" ;;`] : []
  })
  const perCommand = commands.map((c) => {
    const values = c.flags
      .filter((f) => f.options.length > 0)
      .map((f) => `        [[ $prev == --${f.name} ]] && words="${f.options.join(' ')}"`)
    return [
      `      "${c.id}"*)`,
      `        words="${c.flags.map((f) => `--${f.name}`).join(' ')}"`,
      ...(c.values.length > 0 ? [`        [[ $cur != -* ]] && words="${c.values.join(' ')}"`] : []),
      ...(c.targets ? [`        [[ $cur != -* ]] && words="all $(${IDS})"`] : []),
      ...values,
      '        ;;',
    ].join('\n')
  })
  return `_clawctl() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} words=""
  if [[ $COMP_CWORD -eq 1 ]]; then
    words="${topics.join(' ')} help --help --version"
  elif [[ $COMP_CWORD -eq 2 ]]; then
    case \${COMP_WORDS[1]} in
${second.join('\n')}
      *) ;;
    esac
  fi
  if [[ -z $words ]]; then
    case "\${COMP_WORDS[*]:1}" in
${perCommand.join('\n')}
    esac
  fi
  # shellcheck disable=SC2207
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _clawctl clawctl
`
}

function fishScript(commands: readonly CompletableCommand[]): string {
  const quote = (text: string) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
  const topics = [...new Set(commands.map((c) => c.id.split(' ')[0] ?? ''))]
  const lines = ['complete -c clawctl -f', `complete -c clawctl -n __fish_use_subcommand -a ${quote(topics.join(' '))}`]
  for (const { id, summary, flags, targets, values } of commands) {
    const [topic = '', word] = id.split(' ')
    const seen = `__fish_seen_subcommand_from ${topic}${word ? `; and __fish_seen_subcommand_from ${word}` : ''}`
    if (word) {
      const unseen = `__fish_seen_subcommand_from ${topic}; and not __fish_seen_subcommand_from ${word}`
      lines.push(`complete -c clawctl -n ${quote(unseen)} -a ${word} -d ${quote(summary)}`)
    }
    if (values.length > 0) lines.push(`complete -c clawctl -n ${quote(seen)} -a ${quote(values.join(' '))}`)
    if (targets) lines.push(`complete -c clawctl -n ${quote(seen)} -a ${quote(`all (${IDS})`)}`)
    for (const flag of flags) {
      const value = flag.takesValue ? ` -x${flag.options.length > 0 ? ` -a ${quote(flag.options.join(' '))}` : ''}` : ''
      lines.push(`complete -c clawctl -n ${quote(seen)} -l ${flag.name}${value} -d ${quote(flag.summary)}`)
    }
  }
  return `${lines.join('\n')}\n`
}
