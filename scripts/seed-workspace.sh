#!/usr/bin/env bash
# Copies templates into the agent's workspace, and keeps what the agent wrote.
#
#   seed-workspace.sh [--only-missing] TEMPLATES TARGET
#
# A missing file is created. A file that is unchanged since it was seeded is replaced by the newer template. A changed file is
# kept, and logged. With --only-missing, only missing files are created: for a folder that several hosts share.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# Digests of the seeded files, one line "SHA256  PATH" each; in PATH, \n is a line end and \\ a backslash.
MANIFEST=.seeded

# put SOURCE PATH MODE: replaces the file; with MODE "new", creates it and never overwrites, also if two hosts do it concurrently.
put() {
  local new
  new=$(mktemp "$target/${2%/*}/.seed.XXXXXX")
  cat -- "$1" >"$new" || {
    rm -f "$new"
    fail 1 "${2#./} can't be written: is the disk full?"
  }
  if [[ -x $1 ]]; then chmod u=rwx,g=rx,o= "$new"; else chmod u=rw,g=r,o= "$new"; fi
  sync "$new"
  if [[ $3 == new ]]; then
    # ln fails if the name exists.
    ln -T "$new" "$target/$2" 2>/dev/null || true
    rm -f "$new"
  else
    mv -fT "$new" "$target/$2"
  fi
}

digest() {
  sha256sum <"$1" | cut -c 1-64
}

main() {
  local only_missing='' templates target path source now line
  local -a kept=()
  local -A seeded=()
  if [[ ${1:-} == --only-missing ]]; then
    only_missing=1
    shift
  fi
  (($# == 2)) || fail 2 'Two folders are needed.' 'Usage: seed-workspace.sh [--only-missing] TEMPLATES TARGET'
  [[ -d $1 ]] || fail 2 "There is no folder $1."
  templates=$(realpath -e -- "$1")
  mkdir -p -- "$2"
  target=$(realpath -e -- "$2")
  [[ $target != "$templates" ]] || fail 2 'Templates and target are the same folder.'
  cd "$target"
  if [[ -z $only_missing ]]; then
    exec 9<>.seed.lock
    flock -w 60 9 || fail 5 'Another run holds the lock.'
    if [[ -f $MANIFEST ]]; then
      while IFS= read -r line; do
        printf -v path %b "${line#*  }"
        seeded[$path]=${line%% *}
      done <"$MANIFEST"
    fi
  fi

  while IFS= read -r -d '' path; do
    source=$templates/$path
    if [[ $path == */* ]]; then
      mkdir -p -- "./${path%/*}" 2>/dev/null || true
      # The agent may have made the folder a link; never write outside of TARGET.
      [[ $(realpath -m -- "./${path%/*}") == "$target/${path%/*}" ]] || {
        kept+=("$path")
        continue
      }
    fi
    if [[ ! -e $path && ! -L $path ]]; then
      put "$source" "./$path" new
    elif [[ -n $only_missing ]]; then
      continue
    elif [[ -L $path || ! -f $path ]]; then
      kept+=("$path")
      continue
    else
      now=$(digest "$path")
      if [[ $now == "$(digest "$source")" ]]; then
        :
      elif [[ $now == "${seeded[$path]:-}" ]]; then
        put "$source" "./$path" replace
      else
        kept+=("$path")
        continue
      fi
    fi
    seeded[$path]=$(digest "$source")
  done < <(cd "$templates" && find . -type f -printf '%P\0' | LC_ALL=C sort -z)

  if [[ -z $only_missing ]]; then
    for path in "${!seeded[@]}"; do
      line=${path//\\/\\\\}
      printf '%s  %s\n' "${seeded[$path]}" "${line//$'\n'/\\n}"
    done | LC_ALL=C sort -k 2 >"$MANIFEST.new"
    mv -f "$MANIFEST.new" "$MANIFEST"
  fi
  if ((${#kept[@]} > 0)); then log "changed by the agent and kept: ${kept[*]//$'\n'/ }"; fi
}

main "$@"
