#!/usr/bin/env bash
# Unpacks the repositories of an installed bundle.
#
#   seed-repos.sh BUNDLE REPOS [NAME[=URL]]…
#
# BUNDLE is the folder with config.json and repos/, REPOS where each becomes REPOS/NAME. Every NAME that is given must be
# in the bundle; with a URL, that becomes its `origin`. A repository that is there is replaced by a newer seed only while
# nothing in it was changed (flake.lock, which the self-update writes, aside).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# Nobody's configuration, no hook, no question.
git_in() {
  local folder=$1
  shift
  GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 \
    git -C "$folder" -c core.hooksPath=/dev/null -c safe.directory="$folder" "$@"
}

# Whether a checkout is what a seed made it: at its commit, and unchanged.
untouched() {
  local folder=$1 seeded=$2
  [[ $(git_in "$folder" rev-parse HEAD 2>/dev/null) == "$seeded" ]] &&
    [[ -z $(git_in "$folder" status --porcelain --untracked-files=normal -- . ':(exclude)flake.lock*') ]]
}

# remember NAME COMMIT
remember() {
  printf '%s\n' "$2" >"$repos/.$1.seed.new"
  mv -f "$repos/.$1.seed.new" "$repos/.$1.seed"
}

# seed NAME FILE COMMIT URL
seed() {
  local name=$1 file=$2 commit=$3 url=$4 seeded='' place=$repos/$1 stage
  if [[ -f $repos/.$name.seed ]]; then read -r seeded <"$repos/.$name.seed"; fi
  if [[ -d $place ]]; then
    if [[ $seeded == "$commit" ]]; then return 0; fi
    if untouched "$place" "$commit"; then
      # Put in place, and killed before that was written down.
      remember "$name" "$commit"
      return 0
    fi
    if [[ -z $seeded ]] || ! untouched "$place" "$seeded"; then
      say "$name was changed here and stays as it is; the bundle has $commit"
      return 0
    fi
  fi
  stage=$(mktemp -d "$repos/.$name.XXXXXX.new")
  stages+=("$stage")
  # One folder of the repository's name and nothing beside it: what else an archive could hold is not unpacked.
  tar -xzf "$bundle/$file" -C "$stage" --no-same-owner --no-same-permissions "$name" ||
    fail 1 "The seed of $name can't be unpacked." 'Make the bundle again: clawctl bootstrap upload'
  [[ -d $stage/$name/.git && ! -L $stage/$name && ! -L $stage/$name/.git ]] || fail 1 "The seed of $name holds no repository."
  git_in "$stage/$name" reset --hard --quiet "$commit" || fail 1 "The seed of $name does not hold commit $commit."
  if [[ -n $url ]]; then
    git_in "$stage/$name" remote set-url origin "$url" 2>/dev/null || git_in "$stage/$name" remote add origin "$url"
  fi
  chmod -R a+rX,go-w "$stage/$name"
  # Killed between these two, the next run finds nothing here and seeds anew.
  if [[ -d $place ]]; then mv -T "$place" "$stage/before"; fi
  mv -T "$stage/$name" "$place"
  remember "$name" "$commit"
  rm -rf "$stage"
  say "$name is at ${commit:0:12}"
}

main() {
  (($# >= 2)) || fail 2 'This takes two folders.' 'Usage: seed-repos.sh BUNDLE REPOS [NAME[=URL]]…'
  need git jq tar gzip
  local bundle=$1 repos=$2 wanted name file commit listed
  local -A urls=() there=()
  local -a stages=()
  shift 2
  [[ -f $bundle/config.json ]] || fail 1 "There is no bundle at $bundle." 'systemctl status clawdinator-bootstrap'
  mkdir -p -- "$repos"
  exec 9<>"$repos/.lock"
  flock -w 300 9 || fail 5 'Another run holds the lock.'
  trap 'rm -rf ${stages[@]+"${stages[@]}"}' EXIT
  rm -rf -- "$repos"/.*.new

  for wanted; do
    name=${wanted%%=*}
    urls[$name]=''
    if [[ $wanted == *=* ]]; then urls[$name]=${wanted#*=}; fi
  done
  # Not a pipe: what jq can't print has to end this.
  listed=$(jq -r '.objects[] | select(.kind == "repo") | [.name, .file, .commit] | @tsv' "$bundle/config.json") ||
    fail 1 "$bundle/config.json describes its repositories badly." 'Look: clawctl bootstrap verify'
  while IFS=$'\t' read -r name file commit; do
    [[ -n $name ]] || continue
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ && $file =~ ^repos/[A-Za-z0-9][A-Za-z0-9._-]*$ && $commit =~ ^[0-9a-f]{40,64}$ ]] ||
      fail 1 "config.json describes a repository badly: $name $file $commit"
    there[$name]=1
    seed "$name" "$file" "$commit" "${urls[$name]:-}"
  done <<<"$listed"
  for name in "${!urls[@]}"; do
    [[ -n ${there[$name]:-} ]] || fail 1 "The bundle holds no repository $name." \
      "Add it to clawdinator/repos.tsv and make the bundle again: clawctl bootstrap upload"
  done
}

main "$@"
