#!/usr/bin/env bash
# Unpacks the repositories of an installed bundle.
#
#   seed-repos.sh BUNDLE REPOS [NAME[=URL]]…
#
# BUNDLE has config.json and repos/; each repository becomes REPOS/NAME. The bundle must contain every given NAME; its URL
# becomes the remote `origin`. A newer seed replaces a repository only if nothing in it was changed. flake.lock does not count:
# the self-update writes it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# Git without anyone's configuration, hooks and prompts.
git_in() {
  local folder=$1
  shift
  GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 \
    git -C "$folder" -c core.hooksPath=/dev/null -c safe.directory="$folder" "$@"
}

# is_unchanged FOLDER COMMIT: whether the checkout is at the seed's commit, without changes.
is_unchanged() {
  local folder=$1 seeded=$2
  [[ $(git_in "$folder" rev-parse HEAD 2>/dev/null) == "$seeded" ]] &&
    [[ -z $(git_in "$folder" status --porcelain --untracked-files=normal -- . ':(exclude)flake.lock*') ]]
}

# record_seed NAME COMMIT
record_seed() {
  printf '%s\n' "$2" >"$repos/.$1.seed.new"
  mv -f "$repos/.$1.seed.new" "$repos/.$1.seed"
}

# seed NAME FILE COMMIT URL
seed() {
  local name=$1 file=$2 commit=$3 url=$4 seeded='' place=$repos/$1 stage
  if [[ -f $repos/.$name.seed ]]; then seeded=$(<"$repos/.$name.seed"); fi
  if [[ -d $place ]]; then
    if [[ $seeded == "$commit" ]]; then return 0; fi
    if is_unchanged "$place" "$commit"; then
      # An earlier run was killed before it recorded this seed.
      record_seed "$name" "$commit"
      return 0
    fi
    if [[ -z $seeded ]] || ! is_unchanged "$place" "$seeded"; then
      log "$name was changed on this host and is kept; the bundle has $commit"
      return 0
    fi
  fi
  stage=$(mktemp -d "$repos/.$name.XXXXXX.new")
  stages+=("$stage")
  # Only the repository's own folder: other members of the archive are not unpacked.
  tar -xzf "$bundle/$file" -C "$stage" --no-same-owner --no-same-permissions "$name" ||
    fail 1 "The seed of $name can't be unpacked." 'If the disk is not full, upload the bundle again: clawctl bootstrap upload'
  [[ -d $stage/$name/.git && ! -L $stage/$name && ! -L $stage/$name/.git ]] || fail 1 "The seed of $name does not contain a repository." 'Upload the bundle again: clawctl bootstrap upload'
  git_in "$stage/$name" reset --hard --quiet "$commit" || fail 1 "The seed of $name does not contain commit $commit." 'Upload the bundle again: clawctl bootstrap upload'
  if [[ -n $url ]]; then
    git_in "$stage/$name" remote set-url origin "$url" 2>/dev/null || git_in "$stage/$name" remote add origin "$url"
  fi
  chmod -R a+rX,go-w "$stage/$name"
  # After a kill between these two, the next run finds no repository here and seeds it again.
  if [[ -d $place ]]; then mv -T "$place" "$stage/before"; fi
  mv -T "$stage/$name" "$place"
  record_seed "$name" "$commit"
  rm -rf "$stage"
  log "$name is at ${commit:0:12}"
}

main() {
  (($# >= 2)) || fail 2 'A folder is missing.' 'Usage: seed-repos.sh BUNDLE REPOS [NAME[=URL]]…'
  need git jq tar gzip
  local bundle=$1 repos=$2 wanted name file commit listed
  local -A urls=() found=()
  local -a stages=()
  shift 2
  [[ -f $bundle/config.json ]] || fail 1 "There is no bundle at $bundle." "See where it stopped: clawctl fleet show $(instance_id)"
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
  # Not a pipe: an error of jq has to end the script.
  listed=$(jq -r '.objects[] | select(.kind == "repo") | [.name, .file, .commit] | @tsv' "$bundle/config.json") ||
    fail 1 "$bundle/config.json has an invalid list of repositories." 'Check it: clawctl bootstrap verify'
  while IFS=$'\t' read -r name file commit; do
    [[ -n $name ]] || continue
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ && $file =~ ^repos/[A-Za-z0-9][A-Za-z0-9._-]*$ && $commit =~ ^[0-9a-f]{40,64}$ ]] ||
      fail 1 "config.json has an invalid repository: $name $file $commit" 'Check it: clawctl bootstrap verify'
    found[$name]=1
    seed "$name" "$file" "$commit" "${urls[$name]:-}"
  done <<<"$listed"
  for name in "${!urls[@]}"; do
    [[ -n ${found[$name]:-} ]] || fail 1 "The bundle does not contain the repository $name." \
      "Add it to clawdinator/repos.tsv and upload the bundle again: clawctl bootstrap upload"
  done
}

main "$@"
