#!/usr/bin/env bash
# Fetches this instance's bundle from S3 (docs/bundle-format.md), verifies it and installs it atomically. Fetches only objects
# that changed. Inputs:
#   /etc/clawdinator/instance-name, /etc/clawdinator/bootstrap-prefix   written by user data
#   S3_BUCKET or /etc/clawdinator/bucket · AWS_REGION or the instance's region
#   STATE_DIRECTORY (systemd) or /var/lib/clawdinator/bootstrap:
#     current → bundles/DIGEST   the installed bundle: config.json, secrets/, repos/
#     installed                  digest and source of the installed bundle; rewritten only if they change
#     objects/SHA256             fetched objects; an interrupted fetch resumes from here
#     verified                   boot, day and file times of the last comparison of digests
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/s3.sh
source "$here/lib/s3.sh"
umask 077

MANIFEST_BYTES=$((256 * 1024))
ROUNDS=${BOOTSTRAP_ROUNDS:-3}

# check_manifest ID PREFIX: prints the problems of the manifest on standard input, one per line.
check_manifest() {
  jq -rs --arg id "$1" --arg prefix "$2" '
    def path: type == "string" and test("\\A(secrets|repos)/[A-Za-z0-9][A-Za-z0-9._-]*\\z");
    def count: type == "number" and . >= 0 and . <= 9007199254740991 and floor == .;
    def shown: tojson[0:200];
    if length != 1 then "it is not one JSON document" else .[0] |
    if type != "object" then "it is not a JSON object"
    elif .schema != 2 then "its schema is \(.schema | shown), and this host reads 2"
    elif (.generation | count | not) then "its generation is \(.generation | shown)"
    elif (.instance | type) != "object" or .instance.id != $id then "it is for \(.instance.id? | shown), and this is \($id)"
    elif .instance.bootstrapPrefix != $prefix then "it is for the prefix \(.instance.bootstrapPrefix | shown)"
    elif (.objects | type) != "array" or (.objects | length) == 0 then "it names no objects"
    else
      (.objects[]
        | select((type != "object") or (.key | path | not) or (.file | path | not)
            or (.size | count | not)
            or ((.sha256 | type) != "string") or (.sha256 | test("\\A[0-9a-f]{64}\\z") | not))
        | "it has an invalid object: \(shown)"),
      (.objects | group_by(.file?)[] | select(length > 1) | "it names \(.[0].file?) \(length) times")
    end end' 2>/dev/null || echo 'it is not JSON'
}

# fetch_object KEY SIZE SHA256: fetches into objects/. Sets `problem` if the object differs from the manifest. Returns 0 always:
# errexit is off in a function whose status is tested.
fetch_object() {
  local key=$1 size=$2 sha=$3 object=objects/$3 part=objects/$3.part code=0
  if [[ -f $object ]]; then return 0; fi
  s3_get "$prefix/$key" "$part" || code=$?
  if ((code == 4)); then fail 4 "$prefix/$key can't be read from S3 (status $S3_STATUS): $S3_REASON" 'The installed bundle stays in use.'; fi
  if ((code == 1)); then
    problem="$key does not exist"
    return 0
  fi
  [[ -e $part ]] || : >"$part"
  local found
  found=$(wc -c <"$part")
  if ((found != size)); then
    problem="$key has $found bytes instead of $size"
  elif [[ $(sha256sum <"$part") != "$sha  -" ]]; then
    problem="$key has another digest than in config.json"
  else
    chmod 0400 "$part"
    sync "$part"
    mv -f "$part" "$object"
    return 0
  fi
  rm -f "$part"
}

# is_complete FOLDER: whether the folder matches the manifest. Digests are computed after a reboot, if the files' times have
# changed, and once a day, because a failing disk changes no times. Removes a damaged object, so that it is fetched again.
is_complete() {
  local file size sha seen good=0
  while IFS=$'\t' read -r file _ size _; do
    [[ -f $1/$file && $(stat -c %s "$1/$file") == "$size" ]] || good=1
  done <objects.list
  seen="$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) $(date +%F) $(cd "$1" && stat -c '%n %i %s %y %z' secrets/* repos/* 2>/dev/null | sha256sum)"
  if ((good == 0)) && [[ $seen == "$(cat verified 2>/dev/null)" ]]; then return 0; fi
  while IFS=$'\t' read -r file _ size sha; do
    if [[ ! -f $1/$file ]]; then
      good=1
    elif [[ $(sha256sum <"$1/$file") != "$sha  -" ]]; then
      log "$file of the installed bundle has changed on the disk; fetching it again"
      # A hard link to the damaged file.
      rm -f "objects/$sha"
      good=1
    fi
  done <objects.list
  if ((good == 0)); then printf '%s\n' "$seen" >verified; else rm -f verified; fi
  return "$good"
}

# Installs the bundle, or sets `problem` if an object differs from the manifest.
install_bundle() {
  local code=0 problems digest target key size sha file generation object
  problem=''
  s3_get "$prefix/config.json" manifest.part fresh || code=$?
  if ((code == 1)); then
    fail 1 "There is no bundle: $prefix/config.json does not exist." "Upload it: clawctl bootstrap upload $id"
  elif ((code != 0)); then
    fail 4 "$prefix/config.json can't be read from S3 (status $S3_STATUS): $S3_REASON" 'systemd starts the next attempt.'
  fi
  # curl writes no file for an empty object.
  [[ -e manifest.part ]] || : >manifest.part
  (($(wc -c <manifest.part) <= MANIFEST_BYTES)) || fail 1 "$prefix/config.json is larger than $MANIFEST_BYTES bytes."
  problems=$(check_manifest "$id" "$prefix" <manifest.part)
  [[ -z $problems ]] || fail 1 "$prefix/config.json is not valid: ${problems%%$'\n'*}." "Check it: clawctl bootstrap verify $id"

  # check_manifest has verified that no field contains a blank. `+ 0` makes jq print numbers in its own form (not 5.0, -0).
  jq -r '.generation + 0, (.objects[] | [.file, .key, .size + 0, .sha256] | @tsv)' manifest.part >objects.list
  generation=$(head -n 1 objects.list)
  sed -i 1d objects.list
  digest=$( (printf '%s\n' "$S3_BUCKET/$prefix" && cat manifest.part) | sha256sum | cut -c 1-32)
  target=bundles/$digest
  if [[ $(readlink current 2>/dev/null) == "$target" ]] && is_complete "$target"; then
    log_debug "the bundle of $id is unchanged (generation $generation)"
    rm -f manifest.part
    return 0
  fi

  # Frees the space of partial objects that only an earlier bundle needed.
  for object in objects/*.part; do
    [[ $(<objects.list) == *"$(basename "$object" .part)"* ]] || rm -f "$object"
  done
  while IFS=$'\t' read -r _ key size sha; do
    fetch_object "$key" "$size" "$sha"
    if [[ -n $problem ]]; then return 0; fi
  done <objects.list

  rm -rf stage
  rm -f verified
  mkdir -p stage/secrets stage/repos bundles
  while IFS=$'\t' read -r file _ _ sha; do
    ln "objects/$sha" "stage/$file"
  done <objects.list
  chmod 0400 manifest.part
  mv -f manifest.part stage/config.json
  sync stage/config.json stage/secrets stage/repos stage
  # A folder of this name is incomplete: is_complete was false.
  rm -rf "$target"
  mv -T stage "$target"
  ln -sfn "$target" current.new
  mv -fT current.new current
  sync .
  printf '%s %s/%s\n' "$digest" "$S3_BUCKET" "$prefix" >installed.new
  mv -f installed.new installed
  log "installed the bundle of $id (generation $generation, $(wc -l <objects.list) objects)"
}

# Removes older bundles, and objects that are not in the installed one.
clean_up() {
  local bundle object installed kept
  installed=$(readlink current) || return 0
  for bundle in bundles/*; do
    [[ $bundle == "$installed" ]] || rm -rf "$bundle"
  done
  kept=$(<objects.list)
  for object in objects/*; do
    [[ $kept == *"${object##*/}"* ]] || rm -f "$object"
  done
  rm -rf stage
}

main() {
  local id prefix state problem='' round
  (($# == 0)) || fail 2 'This takes no arguments.'
  need curl jq flock sha256sum
  id=$(host_value instance-name) || fail 2 'There is no /etc/clawdinator/instance-name.' 'User data writes it at boot.'
  prefix=$(host_value bootstrap-prefix) || fail 2 'There is no /etc/clawdinator/bootstrap-prefix.' 'User data writes it at boot.'
  [[ $id =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$id\" in /etc/clawdinator/instance-name is not an instance's id."
  [[ $prefix =~ ^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$ && ! /$prefix/ =~ /\.\.?/ ]] ||
    fail 2 "\"$prefix\" in /etc/clawdinator/bootstrap-prefix is not a valid prefix."
  state=${STATE_DIRECTORY:-$(host_path /var/lib/clawdinator/bootstrap)}
  mkdir -p "$state"
  cd "$state"
  exec 9>lock
  flock -w 600 9 || fail 1 'Another run has held the lock for ten minutes.' "See where it stopped: clawctl fleet show $id"
  s3_setup
  mkdir -p objects

  for ((round = 1; ; round++)); do
    install_bundle
    if [[ -z $problem ]]; then break; fi
    ((round < ROUNDS)) || fail 1 "The bundle of $id is incomplete: $problem. The installed bundle stays in use." \
      "Check it: clawctl bootstrap verify $id"
    log "$problem; an upload may be in progress, so the manifest is read again"
    sleep "$((S3_PAUSE * 5))"
  done
  clean_up
}

main "$@"
