#!/usr/bin/env bash
# Plans or applies the platform stack, the first time, too, when there is no bucket yet to keep its state in: that apply
# keeps it beside the stack and moves it into the bucket at its end. It may be killed at any moment and run again: what a
# killed apply left half made is kept and imported. Run again after success, it changes nothing.
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
# Both are there from the start of a first apply to its end, and while both are, OpenTofu's own commands work, too.
override=$stack/first_apply_override.tf
first_state=$stack/first-apply.tfstate

# shellcheck disable=SC2154 # both come from the environment, and were looked at above
backend=(-backend-config="bucket=$TF_VAR_bucket" -backend-config="region=$TF_VAR_region")
# An endpoint of its own (an emulator, say) rarely has a name for every bucket.
if [[ -n ${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}} ]]; then
  backend+=(-backend-config=use_path_style=true)
fi

run() { "$tofu" -chdir="$stack" "$@"; }

# 0: the backend is ready. 3: there is no bucket. Anything else is printed, and ends the script.
init_in_bucket() {
  local said
  rm -f "$override"
  if said=$(run init -input=false -no-color -reconfigure "${backend[@]}" 2>&1); then return 0; fi
  if grep -Eq 'NoSuchBucket|bucket.* does not exist' <<<"$said"; then return 3; fi
  printf '%s\n' "$said" >&2
  exit 1
}

init_beside_the_stack() {
  printf 'terraform {\n  backend "local" {\n    path = "%s"\n  }\n}\n' "$(basename "$first_state")" >"$override"
  run init -input=false -no-color -reconfigure
}

lineage_of() { sed -n 's/^ *"lineage": *"\([^"]*\)".*/\1/p' | head -n 1; }

# Whether a first apply that was killed had moved its state already.
moved() {
  local ready=0 ours theirs
  init_in_bucket || ready=$?
  ((ready == 0)) || return 1
  theirs=$(run state pull | lineage_of)
  [[ -n $theirs ]] || return 1
  ours=$(lineage_of <"$first_state")
  if [[ -n $ours && $theirs != "$ours" ]]; then
    echo "The bucket $TF_VAR_bucket holds the state of another apply than $first_state: move one of them away." >&2
    exit 1
  fi
}

# Without a lock: nobody else has this state yet, and a lock that a kill leaves would have to be released by hand.
move_into_bucket() {
  rm -f "$override"
  run init -input=false -no-color -migrate-state -force-copy -lock=false "${backend[@]}"
  rm -f "$first_state"* "$stack/.$(basename "$first_state").lock.info"
}

interrupted=false
if [[ -e $first_state ]]; then interrupted=true; fi
if $interrupted && moved; then rm -f "$first_state"*; fi

ready=3
if [[ ! -e $first_state ]]; then
  ready=0
  init_in_bucket || ready=$?
fi
if ((ready != 0)); then
  echo "There is no state in a bucket $TF_VAR_bucket yet: it is kept in $first_state until the apply is through." >&2
  if [[ $verb == apply ]]; then : >>"$first_state"; fi
  init_beside_the_stack
fi

# A new apply of an empty account has nothing to find.
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
