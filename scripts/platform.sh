#!/usr/bin/env bash
# Plans or applies the platform stack. The bucket of its state is part of the stack: the first apply keeps the state
# beside the stack and then moves it into the bucket. After a kill, run it again: it imports what the killed apply had
# created.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
Usage: scripts/platform.sh plan|apply [OPTIONS OF TOFU]

Needs AWS credentials, and in the environment: TF_VAR_region, TF_VAR_bucket, TF_VAR_github_repository_id,
TF_VAR_github_owner_id, TF_VAR_alarm_subscribers. TOFU is the program (default: tofu), PLATFORM_STACK the stack's folder.
TEXT
  exit 2
}

verb=${1:-}
[[ $verb == plan || $verb == apply ]] || usage
shift
for name in TF_VAR_region TF_VAR_bucket; do
  if [[ -z ${!name:-} ]]; then
    echo "$name is not set." >&2
    usage
  fi
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tofu=${TOFU:-tofu}
stack=$(cd "${PLATFORM_STACK:-$root/infra/opentofu/aws/platform}" && pwd)
# Both exist during a first apply; OpenTofu's own commands work then, too.
override=$stack/first_apply_override.tf
first_state=$stack/first-apply.tfstate

# shellcheck disable=SC2154 # both come from the environment, and were checked above
backend=(-backend-config="bucket=$TF_VAR_bucket" -backend-config="region=$TF_VAR_region")
# An emulator has no host name for each bucket.
if [[ -n ${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}} ]]; then
  backend+=(-backend-config=use_path_style=true)
fi

run() { "$tofu" -chdir="$stack" "$@"; }

# Returns 0 if the backend is ready, 3 if the bucket does not exist. Any other error ends the script.
init_in_bucket() {
  local output
  rm -f "$override"
  if output=$(run init -input=false -no-color -reconfigure "${backend[@]}" 2>&1); then return 0; fi
  if grep -Eq 'NoSuchBucket|bucket.* does not exist' <<<"$output"; then return 3; fi
  printf '%s\n' "$output" >&2
  exit 1
}

init_beside_the_stack() {
  printf 'terraform {\n  backend "local" {\n    path = "%s"\n  }\n}\n' "$(basename "$first_state")" >"$override"
  run init -input=false -no-color -reconfigure
}

lineage_of() { sed -n 's/^ *"lineage": *"\([^"]*\)".*/\1/p' | head -n 1; }

# Whether the killed first apply had already moved its state into the bucket.
state_in_bucket() {
  local ready=0 ours theirs
  init_in_bucket || ready=$?
  ((ready == 0)) || return 1
  theirs=$(run state pull | lineage_of) || exit 1
  [[ -n $theirs ]] || return 1
  ours=$(lineage_of <"$first_state")
  if [[ -n $ours && $theirs != "$ours" ]]; then
    echo "The state in the bucket $TF_VAR_bucket is not that of $first_state. Move the wrong one away, then run this again." >&2
    exit 1
  fi
}

# -lock=false: no other process has this state, and after a kill a person would have to release the lock.
move_into_bucket() {
  rm -f "$override"
  run init -input=false -no-color -migrate-state -force-copy -lock=false "${backend[@]}"
  rm -f "$first_state"* "$stack/.$(basename "$first_state").lock.info"
}

interrupted=false
if [[ -e $first_state ]]; then interrupted=true; fi
if $interrupted && state_in_bucket; then rm -f "$first_state"*; fi

ready=3
if [[ ! -e $first_state ]]; then
  ready=0
  init_in_bucket || ready=$?
fi
if ((ready != 0)); then
  echo "The bucket $TF_VAR_bucket has no state yet. The state is kept in $first_state until the apply has succeeded." >&2
  if [[ $verb == apply ]]; then : >>"$first_state"; fi
  init_beside_the_stack
fi

# The first apply of an empty account has nothing to import.
if [[ $verb == apply ]] && { $interrupted || ((ready == 0)); }; then
  variables=()
  for option in "$@"; do
    if [[ $option == -var=* || $option == -var-file=* ]]; then variables+=("$option"); fi
  done
  (cd "$root" && AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true node --import tsx scripts/platformRecover.ts "$tofu" "$stack" ${variables[@]+"${variables[@]}"})
fi

run "$verb" "$@"
if ((ready != 0)); then
  if [[ $verb == apply ]]; then move_into_bucket; elif [[ ! -e $first_state ]]; then rm -f "$override"; fi
fi
