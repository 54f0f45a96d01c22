# shellcheck shell=bash
# Functions of all scripts. Exit codes are clawctl's: 1 failed, 2 bad input, 4 a service could not be reached.

PROGRAM=${0##*/}

log() {
  printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

# Journal level debug.
log_debug() {
  if [[ -n ${JOURNAL_STREAM:-} ]]; then printf '<7>' >&2; fi
  log "$@"
}

# fail CODE MESSAGE [HINT]
fail() {
  log "$2"
  if [[ -n ${3:-} ]]; then printf '%s\n' "  $3" >&2; fi
  exit "$1"
}

# host_path PATH: PATH on this host. In tests and in the sandbox it is below CLAWCTL_HOST_ROOT, as for clawctl.
host_path() {
  printf '%s%s' "${CLAWCTL_HOST_ROOT:-}" "$1"
}

# host_value NAME: the first line of /etc/clawdinator/NAME, trimmed. Fails if the file is missing or empty.
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

# The id of this host for a command in a hint, or the word ID. A host has no login: what a hint names is typed elsewhere.
instance_id() {
  host_value instance-name || printf 'ID'
}

need() {
  local program
  for program; do
    command -v "$program" >/dev/null || fail 2 "$PROGRAM needs $program, which is not installed."
  done
}

# Prints the comment at the head of the script.
usage_from_head() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
}
