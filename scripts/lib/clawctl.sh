# shellcheck shell=bash
# Runs clawctl from PATH, else this checkout's. The scripts that use it are short names of clawctl's commands.

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." >/dev/null && pwd)

clawctl() {
  if [[ -n $(type -P clawctl) ]]; then
    command clawctl "$@"
  elif [[ -f $CHECKOUT/dist/main.js ]]; then
    node "$CHECKOUT/bin/run.js" "$@"
  else
    printf '%s: clawctl is not in PATH and not built in this checkout. Build it: npm ci && npm run build\n' "${0##*/}" >&2
    return 2
  fi
}

usage_from_head() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$1"
}
