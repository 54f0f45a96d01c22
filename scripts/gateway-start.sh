#!/usr/bin/env bash
# Validates the gateway's configuration with the gateway's own validator, then starts the gateway.
#
#   gateway-start.sh PORT [CREDENTIAL=VARIABLE]…
#     each credential of the unit becomes a variable of the gateway's process only
#     OPENCLAW_CONFIG_PATH   the rendered configuration
#
# Exit code 78: the configuration is not valid. systemd does not restart the unit.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# The validator writes a database; a temporary state folder keeps it away from the gateway's.
validate() {
  local state answer
  state=$(mktemp -d "$RUNTIME_DIRECTORY/validate.XXXXXX")
  answer=$(OPENCLAW_STATE_DIR=$state timeout 60 openclaw config validate --json 2>/dev/null) || true
  rm -rf "$state"
  case $(jq -r '.valid // false' <<<"$answer" 2>/dev/null) in
    true) jq -r '.warnings[]? | "warning: " + (if type == "string" then . else "\(.path // ""): \(.message // .)" end)' <<<"$answer" >&2 ;;
    false)
      # Another version may answer in another form. Its gateway refuses a configuration that it can't read.
      if ! jq -e 'has("issues")' <<<"$answer" >/dev/null 2>&1; then
        log 'the configuration could not be checked: the validator does not list its issues'
        return 0
      fi
      jq -r '.issues[] | "\(.path): \(.message)"' <<<"$answer" >&2
      fail 78 "The gateway refuses its configuration, $OPENCLAW_CONFIG_PATH." 'Correct services.clawdinator.config, merge it, build an image, deploy.'
      ;;
    *) log 'the configuration could not be checked: the validator does not answer' ;;
  esac
}

main() {
  (($# >= 1)) || fail 2 'The port is missing.' 'Usage: gateway-start.sh PORT [CREDENTIAL=VARIABLE]…'
  need openclaw jq sha256sum timeout
  local port=$1 pair value
  shift
  for pair; do
    value=$(<"$CREDENTIALS_DIRECTORY/${pair%%=*}")
    [[ -n $value ]] || fail 1 "The secret ${pair%%=*} is empty." 'clawctl secrets check'
    printf -v "${pair#*=}" %s "$value"
    export "${pair#*=}"
  done
  validate
  # Clients on this host read the token here. It changes at each start.
  OPENCLAW_GATEWAY_TOKEN=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
  export OPENCLAW_GATEWAY_TOKEN
  printf '%s\n' "$OPENCLAW_GATEWAY_TOKEN" >"$RUNTIME_DIRECTORY/token"
  exec openclaw gateway --port "$port"
}

main "$@"
