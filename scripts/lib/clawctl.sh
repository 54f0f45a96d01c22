# shellcheck shell=bash
# Runs clawctl from PATH, else this checkout's. The scripts that use it are short names of clawctl's commands.

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$CHECKOUT/scripts/lib/common.sh"

clawctl() {
  if [[ -n $(type -P clawctl) ]]; then
    command clawctl "$@"
  elif [[ -f $CHECKOUT/dist/main.js ]]; then
    node "$CHECKOUT/bin/run.js" "$@"
  else
    fail 2 'clawctl is not in PATH and not built in this checkout.' 'Build it: npm ci && npm run build'
  fi
}
