#!/usr/bin/env bash
# Writes standard input to a file of the shared memory, atomically.
#
#   printf '%s\n' '- 2026-11-22 …' | memory-write --append ops.md      add at the end; no line of others is lost
#   memory-write --create decisions/0007.md <text                      create; refused if the file exists
#   memory-write --if-digest "$(memory-read --digest ops.md)" ops.md <text
#                                                                      replace; refused if the file has changed
#   memory-write ops.md <text                                          replace in any case
#
# Exit codes: 0 done · 2 bad input · 3 the text is not as expected, nothing written · 4 no memory · 5 locked too long
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/memory.sh
source "$here/lib/memory.sh"
umask 0027

usage() {
  fail 2 "$1" 'Usage: memory-write [--append | --create | --if-digest SHA256] PATH <text'
}

main() {
  local mode=replace expected='' path=''
  while (($# > 0)); do
    case $1 in
      --append | --create)
        [[ $mode == replace ]] || usage "--$mode and $1 exclude each other."
        mode=${1#--}
        ;;
      --if-digest)
        [[ $mode == replace ]] || usage "--$mode and $1 exclude each other."
        mode=if-digest
        shift
        expected=${1:-}
        [[ $expected =~ ^[0-9a-f]{64}$ ]] || usage '--if-digest needs 64 hexadecimal digits, as memory-read --digest prints them.'
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
  [[ ! -t 0 ]] || usage 'The text is read from standard input.'

  memory_open "$path"
  if [[ -d $MEMORY_FILE ]]; then fail 2 "\"$path\" is a folder."; fi
  mkdir -p -- "${MEMORY_FILE%/*}" 2>/dev/null || fail 4 "The memory can't be written: \"$path\"."
  # Before the lock, so that slow input does not block others.
  text=$(mktemp)
  trap 'rm -f "$text"' EXIT
  head -c $((MEMORY_LIMIT + 1)) >"$text"
  [[ -s $text ]] || fail 2 'Standard input is empty; nothing was written.' 'To empty a file, write one newline.'

  memory_lock -x
  memory_new
  trap 'rm -f "$MEMORY_NEW" "$text"' EXIT
  case $mode in
    create)
      [[ ! -e $MEMORY_FILE ]] || fail 3 "\"$path\" exists already; nothing was written."
      ;;
    if-digest)
      if [[ ! -e $MEMORY_FILE || $(memory_digest "$MEMORY_FILE") != "$expected" ]]; then
        fail 3 "\"$path\" has changed since you read it; nothing was written." 'Read it again, and repeat your change.'
      fi
      ;;
    append)
      if [[ -e $MEMORY_FILE ]]; then
        cat -- "$MEMORY_FILE" >"$MEMORY_NEW" || fail 4 'The memory can'\''t be written: is it full?'
        if [[ -s $MEMORY_NEW && -n $(tail -c 1 "$MEMORY_NEW") ]]; then printf '\n' >>"$MEMORY_NEW"; fi
      fi
      ;;
  esac
  cat "$text" >>"$MEMORY_NEW" || fail 4 'The memory can'\''t be written: is it full?'
  if [[ -n $(tail -c 1 "$MEMORY_NEW") ]]; then printf '\n' >>"$MEMORY_NEW"; fi
  memory_replace "$MEMORY_NEW"
}

main "$@"
