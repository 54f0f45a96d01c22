#!/usr/bin/env bash
# Plans or applies the platform stack, the first time, too, when there is no bucket yet to keep its state in: that apply
# keeps it beside the stack and moves it into the bucket at its end. Run again after anything, it goes on from there; run
# again after success, it changes nothing.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
Usage: scripts/platform.sh plan|apply [OPTIONS OF TOFU]

Needs AWS credentials, and in the environment: TF_VAR_region, TF_VAR_bucket, TF_VAR_github_repository_id,
TF_VAR_github_owner_id. TOFU is the program (default: tofu), PLATFORM_STACK the stack's folder.
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

tofu=${TOFU:-tofu}
stack=${PLATFORM_STACK:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/infra/opentofu/aws/platform}
override=$stack/first_apply_override.tf
first_state=$stack/first-apply.tfstate

backend=(-backend-config="bucket=$TF_VAR_bucket" -backend-config="region=$TF_VAR_region")
# An endpoint of its own (an emulator, say) rarely has a name for every bucket.
if [[ -n ${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}} ]]; then
  backend+=(-backend-config=use_path_style=true)
fi

run() { "$tofu" -chdir="$stack" "$@"; }

# 0: the backend is ready. 3: there is no bucket. Anything else is said, and ends the script.
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

# What a first apply left that was killed while it moved its state: in the bucket by now, or not.
finish_move() {
  [[ -s $first_state ]] || return 0
  local ready=0
  init_in_bucket || ready=$?
  if ((ready == 0)) && [[ -n $(run state list 2>/dev/null) ]]; then rm -f "$first_state"*; fi
}

move_into_bucket() {
  rm -f "$override"
  run init -input=false -no-color -migrate-state -force-copy "${backend[@]}"
  rm -f "$first_state"*
}

finish_move
ready=3
if [[ ! -s $first_state ]]; then
  ready=0
  init_in_bucket || ready=$?
fi

if ((ready == 0)); then
  run "$verb" "$@"
  exit
fi

echo "There is no bucket $TF_VAR_bucket yet: its state is kept in $first_state until there is." >&2
init_beside_the_stack
trap 'rm -f "$override"' EXIT
run "$verb" "$@"
if [[ $verb == apply ]]; then move_into_bucket; fi
