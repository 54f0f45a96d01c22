#!/usr/bin/env bash
# Starts the gateway, once its configuration has been accepted by its own validator.
#
#   gateway-start.sh PORT [CREDENTIAL=VARIABLE]…
#     each credential of the unit becomes a variable of the gateway's process, and of no other
#     OPENCLAW_CONFIG_PATH   the rendered configuration
#
# Exit code 78: the configuration is refused. Starting again would change nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# The validator starts nothing and takes a few seconds. It keeps a database, which must not be the gateway's own.
validate() {
  local state answer
  state=$(mktemp -d "$RUNTIME_DIRECTORY/validate.XXXXXX")
  answer=$(OPENCLAW_STATE_DIR=$state timeout 60 openclaw config validate --json 2>/dev/null) || true
  rm -rf "$state"
  case $(jq -r '.valid // false' <<<"$answer" 2>/dev/null) in
    true) jq -r '.warnings[]? | "warning: " + (if type == "string" then . else "\(.path // ""): \(.message // .)" end)' <<<"$answer" >&2 ;;
    false)
      # Another version may answer in another form, and refuses by itself what it can't read.
      if ! jq -e 'has("issues")' <<<"$answer" >/dev/null 2>&1; then
        say 'the configuration could not be checked: the validator does not say what is wrong'
        return 0
      fi
      jq -r '.issues[] | "\(.path): \(.message)"' <<<"$answer" >&2
      fail 78 "The gateway refuses its configuration, $OPENCLAW_CONFIG_PATH." 'Correct services.clawdinator.config, merge it, build an image, deploy.'
      ;;
    *) say 'the configuration could not be checked: the validator does not answer' ;;
  esac
}

main() {
  (($# >= 1)) || fail 2 'This takes a port.' 'Usage: gateway-start.sh PORT [CREDENTIAL=VARIABLE]…'
  need openclaw jq sha256sum timeout
  local port=$1 pair value
  shift
  for pair; do
    value=$(<"$CREDENTIALS_DIRECTORY/${pair%%=*}")
    [[ -n $value ]] || fail 1 "The secret ${pair%%=*} is empty."
    printf -v "${pair#*=}" %s "$value"
    export "${pair#*=}"
  done
  validate
  # Clients on this host find it here; it is another one at every start.
  OPENCLAW_GATEWAY_TOKEN=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
  export OPENCLAW_GATEWAY_TOKEN
  printf '%s\n' "$OPENCLAW_GATEWAY_TOKEN" >"$RUNTIME_DIRECTORY/token"
  exec openclaw gateway --port "$port"
}

main "$@"
