#!/usr/bin/env bash
# Writes this machine's heartbeat, heartbeats/ID/INSTANCE.json in the fleet's bucket (form: docs/CONTROL_PLANE.md). Inputs:
#   /etc/clawdinator/instance-name, request-id · S3_BUCKET or /etc/clawdinator/bucket · AWS_REGION or the instance's region
#   /run/clawdinator             the boot report (lib/stage.sh)
#   /run/clawdinator-probe       the state of channels and plugins (gateway-probe.sh)
#   /var/lib/clawdinator         image-revision, self-update.json
#   HEARTBEAT_SERVICE            the gateway's unit; default: clawdinator-gateway.service
#   HEARTBEAT_REVISION           commit of the running configuration, or empty
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/s3.sh
source "$here/lib/s3.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"

# The timer sends the next heartbeat within a minute.
S3_ATTEMPTS=2

# gateway_json UNIT: the unit's state as JSON. systemd reports a unit that does not exist as inactive.
gateway_json() {
  systemctl show --timestamp=unix --property=ActiveState,MainPID,NRestarts,ActiveEnterTimestamp "$1" | jq -Rsc '
    [split("\n")[] | capture("^(?<key>\\w+)=(?<value>.*)$")] | from_entries
    | {state: (.ActiveState // "unknown"), mainPid: (.MainPID // "0" | tonumber), restarts: (.NRestarts // "0" | tonumber),
       activeSince: (if .ActiveState == "active" then (.ActiveEnterTimestamp // "" | capture("^@(?<s>\\d+)").s | tonumber | todateiso8601) else null end)}'
}

# file_json FILE: the file's JSON; null if it is missing, empty or damaged.
file_json() {
  jq -sc 'if length == 1 then .[0] else null end' 2>/dev/null <"$(host_path "$1")" || printf 'null'
}

# If this changes while a heartbeat is sent, another one follows.
report_digest() {
  { cat "$REPORT/stages" "$REPORT/failure.json" 2>/dev/null || true; } | sha256sum
}

# write_heartbeat FILE
write_heartbeat() {
  local stages stage service image=''
  stages=$({ cat "$REPORT/stages" 2>/dev/null || true; } | jq -Rsc '[split("\n")[] | select(. != "") | split(" ") | {stage: .[0], at: .[1]}]')
  stage=$(stage_reached)
  service=${HEARTBEAT_SERVICE:-clawdinator-gateway.service}
  # On a standby the gateway runs as another unit, without channels.
  if [[ $stage == standby ]]; then service=${service%.service}-standby.service; fi
  if [[ -r $(host_path /var/lib/clawdinator/image-revision) ]]; then image=$(<"$(host_path /var/lib/clawdinator/image-revision)"); fi
  jq -n --arg id "$id" --arg instanceId "$instance" --arg amiId "$ami" --arg request "$(host_value request-id || true)" \
    --arg revision "${HEARTBEAT_REVISION:-}" --arg image "$image" --arg stage "$stage" --argjson stages "$stages" \
    --argjson gateway "$(gateway_json "$service")" --argjson failure "$(file_json /run/clawdinator/failure.json)" \
    --argjson probe "$(file_json /run/clawdinator-probe/probe.json)" --argjson generation "$(file_json /run/clawdinator/bundle)" \
    --argjson update "$(file_json /var/lib/clawdinator/self-update.json)" --arg service "$service" '
    def orNull: if . == "" then null else . end;
    # The self-update changes the lock, so the checkout may be dirty.
    def commit: rtrimstr("-dirty") | orNull;
    # Only a probe of the running process counts.
    (if $probe != null and $probe.mainPid == $gateway.mainPid and $gateway.mainPid != 0 then $probe else null end) as $probe
    | ($gateway.activeSince as $since | $since != null and (now - ($since | fromdateiso8601)) >= 60) as $up
    | {schema: 2, $id, $instanceId, $amiId, at: (now | todateiso8601), requestId: ($request | orNull),
       revision: ($revision | commit), imageRevision: ($image | commit),
       $stage, stageSince: ($stages[-1].at // null), $stages,
       # After a minute without a restart the failure is over.
       failure: (if $failure != null and $failure.unit == $service and $up then null else $failure end),
       gateway: ($gateway + {channels: ($probe.channels // []), plugins: ($probe.plugins // []), probedAt: ($probe.at // null)}),
       bundle: (if $generation == null then null else {$generation} end),
       selfUpdate: $update}' >"$1"
}

main() {
  local id instance ami file before='' now
  need curl jq systemctl
  id=$(host_value instance-name) || fail 2 'There is no /etc/clawdinator/instance-name.' 'User data writes it at boot.'
  [[ $id =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$id\" in /etc/clawdinator/instance-name is not an instance's id."
  s3_setup
  instance=$(imds instance-id) || fail 4 'The metadata service returned no instance id.'
  ami=$(imds ami-id) || fail 4 'The metadata service returned no AMI id.'
  file=$(mktemp)
  # shellcheck disable=SC2064 # expand now: the variable is local
  trap "rm -f '$file'" EXIT
  for _ in 1 2 3 4 5; do
    now=$(report_digest)
    if [[ $now == "$before" ]]; then break; fi
    before=$now
    write_heartbeat "$file"
    s3_put "heartbeats/$id/$instance.json" "$file" ||
      fail 4 "heartbeats/$id/$instance.json can't be written to S3 (status $S3_STATUS): $S3_REASON"
  done
}

main "$@"
