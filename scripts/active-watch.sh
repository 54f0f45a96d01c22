#!/usr/bin/env bash
# Only one machine of an instance may be active: the one that active/ID.json in the fleet's bucket names. A deploy writes the
# object. This script reads it, and starts and stops the units that connect to the outside (WATCH_UNITS).
#
#   it names this machine, or does not exist   active: clawdinator-active.target
#   it names another machine                   standby: clawdinator-standby.target, a gateway without channels; an active
#                                              machine yields: it stops all units, then reports `yielded`
#   it can't be read                           nothing changes
#
# Checks every WATCH_STANDBY_SECONDS (3) on a standby, every WATCH_ACTIVE_SECONDS (60) on an active machine. The role is kept in
# /run/clawdinator/role, so a restart of this unit changes nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/s3.sh
source "$here/lib/s3.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"

S3_ATTEMPTS=1
S3_TIMEOUT=10
ACTIVE=clawdinator-active.target
STANDBY=clawdinator-standby.target
# A deploy fences a machine that has not yielded within 90 seconds.
YIELD_SECONDS=${WATCH_YIELD_SECONDS:-70}

# Prints `mine`, `other INSTANCE`, `none` or `unknown REASON`.
read_active() {
  local code=0 holder file
  file=$(mktemp)
  # shellcheck disable=SC2064 # expand now: the variable is local
  trap "rm -f '$file'" EXIT
  s3_setup
  s3_get "active/$id.json" "$file" fresh || code=$?
  if ((code == 1)); then
    printf 'none'
  elif ((code != 0)); then
    printf 'unknown active/%s.json can'\''t be read from S3 (status %s): %s' "$id" "$S3_STATUS" "$S3_REASON"
  elif holder=$(jq -er --arg id "$id" 'select(.schema == 1 and .id == $id) | .instanceId | strings | select(test("\\Ai-[0-9a-f]+\\z"))' "$file" 2>/dev/null); then
    if [[ $holder == "$instance" ]]; then printf 'mine'; else printf 'other %s' "$holder"; fi
  else
    printf 'unknown active/%s.json does not name a machine of this instance' "$id"
  fi
}

record_role() {
  printf '%s\n' "$1" >"$REPORT/role.new"
  mv -f "$REPORT/role.new" "$REPORT/role"
  role=$1
}

become_active() {
  log "$1: this machine is active"
  record_role active
  systemctl stop "$STANDBY" clawdinator-gateway-standby.service || true
  reach_stage active
  systemctl start --no-block "$ACTIVE"
}

become_standby() {
  if [[ -n $1 ]]; then log "$1: this machine is standby"; fi
  record_role standby
  reach_stage standby
  systemctl start --no-block "$STANDBY"
}

# running UNIT…: the units that are neither inactive nor failed.
running() {
  local unit
  for unit; do
    case $(systemctl show --property=ActiveState --value "$unit") in
      inactive | failed) ;;
      *) printf '%s ' "$unit" ;;
    esac
  done
}

# All units must have stopped before `yielded` is reported: then the other machine may start its gateway.
yield_to() {
  local -a units
  log "active/$id.json names $1: this machine yields"
  read -r -a units <<<"${WATCH_UNITS:-clawdinator-gateway.service}"
  # The exit code is ignored: it also fails if this host does not have one of the units.
  timeout "$YIELD_SECONDS" systemctl stop "$ACTIVE" "${units[@]}" 2>/dev/null || true
  if [[ -n $(running "${units[@]}") ]]; then
    log "killing units that still run after $YIELD_SECONDS seconds: $(running "${units[@]}")"
    systemctl kill --signal=KILL "${units[@]}" 2>/dev/null || true
    timeout 10 systemctl stop "$ACTIVE" "${units[@]}" 2>/dev/null || true
    [[ -z $(running "${units[@]}") ]] || fail 1 "These units can't be stopped: $(running "${units[@]}")" 'systemd restarts this script, which tries again.'
  fi
  record_role yielded
  reach_stage yielded
}

check_active() {
  local answer detail
  # The last line that is no hint.
  answer=$(read_active 2>"$REPORT/ask") || answer="unknown $(sed "/^  /d; s/^$PROGRAM: //" "$REPORT/ask" | tail -n 1)"
  detail=${answer#* }
  case $role/${answer%% *} in
    */unknown)
      if [[ $detail != "$trouble" ]]; then log "$detail; this machine does not change its role"; fi
      trouble=$detail
      if [[ $role == new ]]; then become_standby ''; fi
      return 0
      ;;
    active/other) yield_to "$detail" ;;
    active/*) ;;
    */mine) become_active "active/$id.json names $instance" ;;
    new/none) become_active "active/$id.json does not exist" ;;
    # After another machine was named, a missing object does not make this one active.
    standby/none) if [[ -z $other ]]; then become_active "active/$id.json does not exist"; fi ;;
    new/other) become_standby "active/$id.json names $detail" ;;
  esac
  if [[ $answer == other* && -z $other ]]; then
    other=$detail
    : >"$REPORT/other"
  fi
  trouble=''
}

main() {
  need curl jq systemctl flock timeout
  local id instance role=new trouble='' other=''
  id=$(host_value instance-name) || fail 2 'There is no /etc/clawdinator/instance-name.' 'User data writes it at boot.'
  [[ $id =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$id\" in /etc/clawdinator/instance-name is not an instance's id."
  mkdir -p "$REPORT"
  if [[ -s $REPORT/role ]]; then role=$(<"$REPORT/role"); fi
  if [[ -e $REPORT/other ]]; then other=known; fi
  S3_ATTEMPTS=5
  instance=$(imds instance-id) || fail 4 'The metadata service returned no instance id.'
  S3_ATTEMPTS=1
  # An earlier run may have been killed before it reported the role.
  if [[ $role != new ]]; then reach_stage "$role"; fi
  # A newer configuration may have added units to the target.
  case $role in
    active) systemctl start --no-block "$ACTIVE" ;;
    standby) systemctl start --no-block "$STANDBY" ;;
  esac
  while :; do
    check_active
    if [[ -n ${WATCH_CHECKS:-} ]] && ((--WATCH_CHECKS == 0)); then return 0; fi
    if [[ $role == active ]]; then sleep "${WATCH_ACTIVE_SECONDS:-60}"; else sleep "${WATCH_STANDBY_SECONDS:-3}"; fi
  done
}

main "$@"
