#!/usr/bin/env bash
# Fetches this instance's bundle from S3, checks it, and installs it whole or not at all. The form: docs/bundle-format.md.
# Run again it fetches only what changed. Needs no argument:
#   /etc/clawdinator/instance-name, /etc/clawdinator/bootstrap-prefix   written by user data
#   S3_BUCKET or /etc/clawdinator/bucket · AWS_REGION or the instance's own
#   STATE_DIRECTORY (systemd) or /var/lib/clawdinator/bootstrap         where it is installed:
#     current → bundles/DIGEST   the installed bundle: config.json, secrets/, repos/
#     installed                  what is installed; rewritten only when that changes
#     objects/SHA256             what has been fetched; an interrupted fetch goes on from here
#     verified                   when the installed files' digests were last compared
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

# Problems of a manifest, a line each.
check_manifest() {
  jq -rs --arg id "$1" --arg prefix "$2" '
    def path: type == "string" and test("\\A(secrets|repos)/[A-Za-z0-9][A-Za-z0-9._-]*\\z");
    def count: type == "number" and . >= 0 and . <= 9007199254740991 and floor == .;
    def said: tojson[0:200];
    if length != 1 then "it is not one JSON document" else .[0] |
    if type != "object" then "it is not a JSON object"
    elif .schema != 2 then "its schema is \(.schema | said), and this host reads 2"
    elif (.generation | count | not) then "its generation is \(.generation | said)"
    elif (.instance | type) != "object" or .instance.id != $id then "it is for \(.instance.id? | said), and this is \($id)"
    elif .instance.bootstrapPrefix != $prefix then "it is for the prefix \(.instance.bootstrapPrefix | said)"
    elif (.objects | type) != "array" or (.objects | length) == 0 then "it names no objects"
    else
      (.objects[]
        | select((type != "object") or (.key | path | not) or (.file | path | not)
            or (.size | count | not)
            or ((.sha256 | type) != "string") or (.sha256 | test("\\A[0-9a-f]{64}\\z") | not))
        | "it describes an object badly: \(said)"),
      (.objects | group_by(.file?)[] | select(length > 1) | "\(.[0].file?) is there \(length) times")
    end end' 2>/dev/null || echo 'it is not JSON'
}

# fetch_object KEY SIZE SHA256: into objects/. Where the object is not what the manifest says, `trouble` says how.
# It always returns 0: a function that is asked for its status runs without errexit.
fetch_object() {
  local key=$1 size=$2 sha=$3 object=objects/$3 part=objects/$3.part code=0
  if [[ -f $object ]]; then return 0; fi
  s3_get "$prefix/$key" "$part" || code=$?
  if ((code == 4)); then fail 4 "S3 does not give $prefix/$key (status $S3_STATUS): $S3_SAID" 'The installed bundle stays.'; fi
  if ((code == 1)); then
    trouble="$key is not there"
    return 0
  fi
  [[ -e $part ]] || : >"$part"
  local found
  found=$(wc -c <"$part")
  if ((found != size)); then
    trouble="$key has $found bytes instead of $size"
  elif [[ $(sha256sum <"$part") != "$sha  -" ]]; then
    trouble="$key has another digest than config.json says"
  else
    chmod 0400 "$part"
    sync "$part"
    mv -f "$part" "$object"
    return 0
  fi
  rm -f "$part"
}

# Whether the folder holds what the manifest says. Digests are computed after a reboot, once a day, because a disk that rots
# changes no time, and where the files' times have changed. An object that is not itself any more is fetched again.
whole() {
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
      say "$file of the installed bundle has changed on the disk; it is fetched again"
      # The fetched object is the same file by another name.
      rm -f "objects/$sha"
      good=1
    fi
  done <objects.list
  if ((good == 0)); then printf '%s\n' "$seen" >verified; else rm -f verified; fi
  return "$good"
}

# One round. It ends with the bundle installed, or with `trouble` where it was overtaken.
install_bundle() {
  local code=0 problems digest target key size sha file generation object
  trouble=''
  s3_get "$prefix/config.json" manifest.part fresh || code=$?
  if ((code == 1)); then
    fail 1 "There is no bundle: $prefix/config.json does not exist." "Make it: clawctl bootstrap upload $id"
  elif ((code != 0)); then
    fail 4 "S3 does not give $prefix/config.json (status $S3_STATUS): $S3_SAID" "The next attempt is the unit's."
  fi
  # An object of no bytes leaves no file behind.
  [[ -e manifest.part ]] || : >manifest.part
  (($(wc -c <manifest.part) <= MANIFEST_BYTES)) || fail 1 "$prefix/config.json is larger than $MANIFEST_BYTES bytes."
  problems=$(check_manifest "$id" "$prefix" <manifest.part)
  [[ -z $problems ]] || fail 1 "$prefix/config.json can't be used: ${problems%%$'\n'*}." "Look: clawctl bootstrap verify $id"

  # Generation and object after object: file, key, size, digest. None of them holds a blank, as was just checked. A sum is
  # printed as jq writes numbers, not as the manifest did (5.0, -0).
  jq -r '.generation + 0, (.objects[] | [.file, .key, .size + 0, .sha256] | @tsv)' manifest.part >objects.list
  generation=$(head -n 1 objects.list)
  sed -i 1d objects.list
  digest=$( (printf '%s\n' "$S3_BUCKET/$prefix" && cat manifest.part) | sha256sum | cut -c 1-32)
  target=bundles/$digest
  if [[ $(readlink current 2>/dev/null) == "$target" ]] && whole "$target"; then
    say_debug "the bundle of $id is unchanged (generation $generation)"
    rm -f manifest.part
    return 0
  fi

  # A run that was interrupted over an earlier bundle left what nobody asks for any more; on a full disk it is in the way.
  for object in objects/*.part; do
    [[ $(<objects.list) == *"$(basename "$object" .part)"* ]] || rm -f "$object"
  done
  while IFS=$'\t' read -r _ key size sha; do
    fetch_object "$key" "$size" "$sha"
    if [[ -n $trouble ]]; then return 0; fi
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
  # What is there under this name was not whole: nobody points to it, or what it held is worth nothing.
  rm -rf "$target"
  mv -T stage "$target"
  ln -sfn "$target" current.new
  mv -fT current.new current
  sync .
  printf '%s %s/%s\n' "$digest" "$S3_BUCKET" "$prefix" >installed.new
  mv -f installed.new installed
  say "installed the bundle of $id (generation $generation, $(wc -l <objects.list) objects)"
}

# Bundles before this one, and objects that it does not hold.
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
  local id prefix state trouble='' round
  (($# == 0)) || fail 2 'This takes no arguments.'
  need curl jq flock sha256sum
  id=$(host_value instance-name) || fail 2 'There is no /etc/clawdinator/instance-name.' 'User data writes it at boot.'
  prefix=$(host_value bootstrap-prefix) || fail 2 'There is no /etc/clawdinator/bootstrap-prefix.' 'User data writes it at boot.'
  [[ $id =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$id\" in /etc/clawdinator/instance-name is not an instance's id."
  [[ $prefix =~ ^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$ && ! /$prefix/ =~ /\.\.?/ ]] ||
    fail 2 "\"$prefix\" in /etc/clawdinator/bootstrap-prefix is not a prefix."
  state=${STATE_DIRECTORY:-$(host_path /var/lib/clawdinator/bootstrap)}
  mkdir -p "$state"
  cd "$state"
  exec 9>lock
  flock -w 600 9 || fail 1 'Another run holds the lock for ten minutes already.'
  s3_setup
  mkdir -p objects

  for ((round = 1; ; round++)); do
    install_bundle
    if [[ -z $trouble ]]; then break; fi
    ((round < ROUNDS)) || fail 1 "The bundle of $id is not whole: $trouble. The installed one stays." \
      "Look: clawctl bootstrap verify $id"
    say "$trouble; perhaps the bundle is just being replaced, so once more from the start"
    sleep "$((S3_PAUSE * 5))"
  done
  clean_up
}

main "$@"
