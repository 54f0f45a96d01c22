#!/usr/bin/env bash
# Replaces a text in a file of the shared memory. The old text must match exactly.
#
#   memory-edit project.md --old '- [ ] roll the fleet' --new '- [x] roll the fleet'
#   memory-edit project.md --old '- a line to drop
#   ' --new ''
#   printf '%s' '{"old": "…", "new": "…"}' | memory-edit project.md     for text that is hard to quote
#
# The old text must occur exactly once, or with --all at least once; otherwise nothing is written.
# Exit codes: 0 done · 1 no such file · 2 bad input · 3 the text is not as expected, nothing written · 4 no memory · 5
# locked too long
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/memory.sh
source "$here/lib/memory.sh"
umask 0027

usage() {
  fail 2 "$1" "Usage: memory-edit PATH [--all] --old TEXT --new TEXT   or {\"old\", \"new\"} as JSON on standard input"
}

main() {
  local path='' all=false edit='' times
  local -a old=() new=()
  while (($# > 0)); do
    case $1 in
      --all) all=true ;;
      --old | --new)
        (($# > 1)) || usage "$1 needs a text."
        if [[ $1 == --old ]]; then old=("$2"); else new=("$2"); fi
        shift
        ;;
      -h | --help)
        usage_from_head
        exit 0
        ;;
      -*) usage "There is no option $1." ;;
      *)
        [[ -z $path ]] || usage 'Give one path only.'
        path=$1
        ;;
    esac
    shift
  done
  [[ -n $path ]] || usage 'The path is missing.'
  need jq
  if ((${#old[@]} + ${#new[@]} == 0)); then
    [[ ! -t 0 ]] || usage 'The old and the new text are missing.'
    edit=$(jq -ce 'select(type == "object" and (.old | type) == "string" and (.new | type) == "string") | {old, new}' 2>/dev/null) ||
      usage 'Standard input is not {"old": "…", "new": "…"}.'
  else
    ((${#old[@]} == 1 && ${#new[@]} == 1)) || usage 'Both --old and --new are needed.'
    edit=$(jq -n --arg old "${old[0]}" --arg new "${new[0]}" '{$old, $new}')
  fi
  jq -e '.old != ""' <<<"$edit" >/dev/null || usage 'The old text is empty.'
  jq -e '.old != .new' <<<"$edit" >/dev/null || usage 'The old and the new text are the same.'

  memory_open "$path"
  [[ -f $MEMORY_FILE ]] || fail 1 "There is no file \"$path\" in the memory." 'memory-read without a path lists the files.'
  memory_lock -x
  # jq would replace bytes that are not UTF-8.
  [[ $(jq -Rsj . "$MEMORY_FILE" | sha256sum) == "$(sha256sum <"$MEMORY_FILE")" ]] || fail 2 "\"$path\" is not UTF-8 text, so it can't be edited." 'Replace it with memory-write.'
  times=$(jq -Rs --slurpfile edit <(printf '%s' "$edit") 'split($edit[0].old) | length - 1' "$MEMORY_FILE")
  # jq prints -1 for an empty file.
  if ((${times:-0} <= 0)); then
    fail 3 "The old text is not in \"$path\"; nothing was written." 'Read the file again; blanks and line ends must match.'
  fi
  if ((times > 1)) && [[ $all == false ]]; then
    fail 3 "The old text is in \"$path\" $times times; nothing was written." 'Add more of the surrounding text, or use --all.'
  fi
  memory_new
  jq -Rsj --slurpfile edit <(printf '%s' "$edit") 'split($edit[0].old) | join($edit[0].new)' "$MEMORY_FILE" >"$MEMORY_NEW" ||
    fail 4 'The memory can'\''t be written: is it full?'
  memory_replace "$MEMORY_NEW"
}

main "$@"
