# shellcheck shell=bash
# What the scripts of a host share. Exit codes are clawctl's: 1 failed, 2 bad input, 4 a service could not be reached.

PROGRAM=${0##*/}

say() {
  printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

# What only matters to whoever looks closely: in the journal at level debug.
say_debug() {
  if [[ -n ${JOURNAL_STREAM:-} ]]; then printf '<7>' >&2; fi
  say "$@"
}

# fail CODE MESSAGE [HINT]
fail() {
  say "$2"
  if [[ -n ${3:-} ]]; then printf '%s\n' "  $3" >&2; fi
  exit "$1"
}

# An absolute path of the host; below CLAWCTL_HOST_ROOT in tests and in the sandbox, as for clawctl.
host_path() {
  printf '%s%s' "${CLAWCTL_HOST_ROOT:-}" "$1"
}

# The one line of a file below /etc/clawdinator, without surrounding blanks. Fails where there is none.
host_value() {
  local file value
  file=$(host_path "/etc/clawdinator/$1")
  [[ -r $file ]] || return 1
  IFS= read -r value <"$file" || [[ -n ${value:-} ]] || return 1
  value=${value#"${value%%[![:space:]]*}"}
  value=${value%"${value##*[![:space:]]}"}
  [[ -n $value ]] || return 1
  printf '%s' "$value"
}

need() {
  local program
  for program; do
    command -v "$program" >/dev/null || fail 2 "$program is not installed, and this needs it."
  done
}
