#!/usr/bin/env bash
# Of two machines of one id only one may act: the one that active/ID.json in the fleet's bucket names. This looks there and
# starts and stops what acts outward. A deploy writes the object; a host only reads it.
#
#   names this machine, or there is no such object   it acts: clawdinator-active.target
#   names another one                                it stands by: clawdinator-standby.target, with the channels skipped; one
#                                                    that acted stops everything first, and says `yielded`
#   can't be read                                    everything stays as it is
#
# WATCH_UNITS are the units that act. Looks every WATCH_STANDBY_SECONDS (3) while it does not act, every WATCH_ACTIVE_SECONDS (60) while it does. What it
# decided lies in /run/clawdinator/role: a restart of this unit changes nothing.
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
# A deploy stops a machine that has not yielded within 90 seconds.
YIELD_SECONDS=${WATCH_YIELD_SECONDS:-70}

# Who may act, as the bucket says: mine, other, none, or unknown and why.
ask() {
  local code=0 holder file
  file=$(mktemp)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$file'" EXIT
  s3_setup
  s3_get "active/$id.json" "$file" fresh || code=$?
  if ((code == 1)); then
    printf 'none'
  elif ((code != 0)); then
    printf 'unknown S3 does not give active/%s.json (status %s): %s' "$id" "$S3_STATUS" "$S3_SAID"
  elif holder=$(jq -er --arg id "$id" 'select(.schema == 1 and .id == $id) | .instanceId | strings | select(test("\\Ai-[0-9a-f]+\\z"))' "$file" 2>/dev/null); then
    if [[ $holder == "$instance" ]]; then printf 'mine'; else printf 'other %s' "$holder"; fi
  else
    printf 'unknown active/%s.json does not name a machine of this id' "$id"
  fi
}

remember() {
  printf '%s\n' "$1" >"$REPORT/role.new"
  mv -f "$REPORT/role.new" "$REPORT/role"
  role=$1
}

act() {
  say "$1: this machine acts"
  remember active
  systemctl stop "$STANDBY" clawdinator-gateway-standby.service || true
  reach active
  systemctl start --no-block "$ACTIVE"
}

stand_by() {
  if [[ -n $1 ]]; then say "$1: this machine stands by"; fi
  remember "$2"
  reach "$2"
  systemctl start --no-block "$STANDBY"
}

# running UNIT…: those that are neither inactive nor failed.
running() {
  local unit
  for unit; do
    case $(systemctl show --property=ActiveState --value "$unit") in
      inactive | failed) ;;
      *) printf '%s ' "$unit" ;;
    esac
  done
}

# Everything that acts has ended when this machine says so. Another may begin at that moment.
yield_to() {
  local -a units
  say "active/$id.json names $1: this machine stops everything that acts"
  read -r -a units <<<"${WATCH_UNITS:-clawdinator-gateway.service}"
  # Its exit code says nothing: a unit that this host does not have fails it, too.
  timeout "$YIELD_SECONDS" systemctl stop "$ACTIVE" "${units[@]}" 2>/dev/null || true
  if [[ -n $(running "${units[@]}") ]]; then
    say "still running after $YIELD_SECONDS seconds, and killed: $(running "${units[@]}")"
    systemctl kill --signal=KILL "${units[@]}" 2>/dev/null || true
    timeout 10 systemctl stop "$ACTIVE" "${units[@]}" 2>/dev/null || true
    [[ -z $(running "${units[@]}") ]] || fail 1 "These can't be stopped: $(running "${units[@]}")" 'The watch is started again and goes on with it.'
  fi
  remember yielded
  reach yielded
}

# look: one answer, and what follows from it.
look() {
  local answer said
  answer=$(ask 2>"$REPORT/ask") || answer="unknown $(tail -n 1 "$REPORT/ask")"
  said=${answer#* }
  case $role/${answer%% *} in
    */unknown)
      if [[ $said != "$trouble" ]]; then say "$said; this machine stays as it is"; fi
      trouble=$said
      if [[ $role == new ]]; then stand_by '' standby; fi
      return 0
      ;;
    active/other) yield_to "$said" ;;
    active/*) ;;
    */mine) act "active/$id.json names $instance" ;;
    new/none) act "there is no active/$id.json" ;;
    # Once another was named, its absence says nothing of who acts.
    standby/none) if [[ -z $other ]]; then act "there is no active/$id.json"; fi ;;
    new/other)
      stand_by "active/$id.json names $said" standby
      ;;
  esac
  if [[ $answer == other* && -z $other ]]; then
    other=$said
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
  instance=$(imds instance-id) || fail 4 'The metadata service does not say which instance this is.'
  S3_ATTEMPTS=1
  # Another configuration may bring units that this one's targets lack.
  case $role in
    active) systemctl start --no-block "$ACTIVE" ;;
    standby) systemctl start --no-block "$STANDBY" ;;
  esac
  while :; do
    look
    if [[ -n ${WATCH_LOOKS:-} ]] && ((--WATCH_LOOKS == 0)); then return 0; fi
    if [[ $role == active ]]; then sleep "${WATCH_ACTIVE_SECONDS:-60}"; else sleep "${WATCH_STANDBY_SECONDS:-3}"; fi
  done
}

main "$@"
