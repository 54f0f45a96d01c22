#!/usr/bin/env bash
# Reads the shared memory.
#
#   memory-read                 list the files: bytes, last change (UTC), path
#   memory-read PATH            print one
#   memory-read --digest PATH   print its SHA-256, for memory-write --if-digest
#
# Exit codes: 0 done · 1 no such file · 2 bad input · 4 no memory · 5 locked too long
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/memory.sh
source "$here/lib/memory.sh"

usage() {
  fail 2 "$1" "Usage: memory-read [--digest] [PATH]   such as: memory-read project.md"
}

main() {
  local digest='' path=''
  while (($# > 0)); do
    case $1 in
      --digest) digest=1 ;;
      -h | --help)
        usage_from_head
        exit 0
        ;;
      -*) usage "There is no option $1." ;;
      *)
        [[ -z $path ]] || usage 'Give one path only.'
        path=$1
        [[ -n $path ]] || usage 'The path is empty.'
        ;;
    esac
    shift
  done

  if [[ -z $path ]]; then
    [[ -z $digest ]] || usage '--digest needs a path.'
    memory_open any
    cd "$MEMORY_ROOT"
    find . -name '.?*' -prune -o -type f -printf '%s\t%TY-%Tm-%Td %TH:%TM\t%P\n' | LC_ALL=C sort -t $'\t' -k 3
    return
  fi
  memory_open "$path"
  if [[ -d $MEMORY_FILE ]]; then fail 2 "\"$path\" is a folder." 'memory-read without a path lists the files.'; fi
  [[ -e $MEMORY_FILE ]] || fail 1 "\"$path\" does not exist in the memory." 'memory-read without a path lists the files.'
  memory_lock -s
  if [[ -n $digest ]]; then memory_digest "$MEMORY_FILE"; else cat -- "$MEMORY_FILE"; fi
}

main "$@"
