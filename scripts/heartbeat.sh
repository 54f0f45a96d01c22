#!/usr/bin/env bash
# Reports to the fleet how this machine is: writes heartbeats/ID/INSTANCE.json to the fleet's bucket. Needs no argument:
#   /etc/clawdinator/instance-name, request-id · S3_BUCKET or /etc/clawdinator/bucket · AWS_REGION or the instance's own
#   /run/clawdinator             the boot report: stages, what keeps the machine there (lib/stage.sh)
#   /run/clawdinator-probe       what the gateway says of its channels and plugins (gateway-probe.sh)
#   /var/lib/clawdinator         image-revision, self-update.json
#   HEARTBEAT_SERVICE            the gateway's unit, clawdinator-gateway.service where it is not set
#   HEARTBEAT_REVISION           commit of the running configuration, or empty
# Form of the object: docs/CONTROL_PLANE.md. What is not known is null.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/s3.sh
source "$here/lib/s3.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"

# The next beat is the retry that counts.
S3_ATTEMPTS=2

# The gateway's unit as systemd sees it, as JSON. A unit that does not exist is inactive; unknown is what systemd does not say.
gateway() {
  systemctl show --timestamp=unix --property=ActiveState,MainPID,NRestarts,ActiveEnterTimestamp "$1" | jq -Rsc '
    [split("\n")[] | capture("^(?<key>\\w+)=(?<value>.*)$")] | from_entries
    | {state: (.ActiveState // "unknown"), mainPid: (.MainPID // "0" | tonumber), restarts: (.NRestarts // "0" | tonumber),
       activeSince: (if .ActiveState == "active" then (.ActiveEnterTimestamp // "" | capture("^@(?<s>\\d+)").s | tonumber | todateiso8601) else null end)}'
}

# json FILE: what the file holds, or null where it is not there or no JSON.
json() {
  local file
  file=$(host_path "$1")
  if [[ -r $file ]]; then jq -c . "$file" 2>/dev/null || printf 'null'; else printf 'null'; fi
}

# What changed makes another beat.
report_digest() {
  { cat "$REPORT/stages" "$REPORT/failure.json" 2>/dev/null || true; } | sha256sum
}

# beat FILE: the object.
beat() {
  local stages stage service image=''
  stages=$({ cat "$REPORT/stages" 2>/dev/null || true; } | jq -Rsc '[split("\n")[] | select(. != "") | split(" ") | {stage: .[0], at: .[1]}]')
  stage=$(stage_reached)
  service=${HEARTBEAT_SERVICE:-clawdinator-gateway.service}
  # Before a machine acts, its gateway runs with the channels skipped, as a unit of its own.
  if [[ $stage == standby ]]; then service=${service%.service}-standby.service; fi
  if [[ -r $(host_path /var/lib/clawdinator/image-revision) ]]; then image=$(<"$(host_path /var/lib/clawdinator/image-revision)"); fi
  jq -n --arg id "$id" --arg instanceId "$instance" --arg amiId "$ami" --arg request "$(host_value request-id || true)" \
    --arg revision "${HEARTBEAT_REVISION:-}" --arg image "$image" --arg stage "$stage" --argjson stages "$stages" \
    --argjson gateway "$(gateway "$service")" --argjson failure "$(json /run/clawdinator/failure.json)" \
    --argjson probe "$(json /run/clawdinator-probe/probe.json)" --argjson generation "$(json /run/clawdinator/bundle)" \
    --argjson update "$(json /var/lib/clawdinator/self-update.json)" --arg service "$service" '
    def orNull: if . == "" then null else . end;
    # The commit is that of the checkout, also where the self-update has moved its lock.
    def commit: rtrimstr("-dirty") | orNull;
    # A probe of the process that ran before says nothing of this one.
    (if $probe != null and $probe.mainPid == $gateway.mainPid and $gateway.mainPid != 0 then $probe else null end) as $probe
    | ($gateway.activeSince as $since | $since != null and (now - ($since | fromdateiso8601)) >= 60) as $up
    | {schema: 2, $id, $instanceId, $amiId, at: (now | todateiso8601), requestId: ($request | orNull),
       revision: ($revision | commit), imageRevision: ($image | commit),
       $stage, stageSince: ($stages[-1].at // null), $stages,
       # A gateway that has held for a minute has got over it.
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
  instance=$(imds instance-id) || fail 4 'The metadata service does not say which instance this is.'
  ami=$(imds ami-id) || fail 4 'The metadata service does not say which AMI this is.'
  file=$(mktemp)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$file'" EXIT
  for _ in 1 2 3 4 5; do
    now=$(report_digest)
    if [[ $now == "$before" ]]; then break; fi
    before=$now
    beat "$file"
    s3_put "heartbeats/$id/$instance.json" "$file" ||
      fail 4 "S3 does not take heartbeats/$id/$instance.json (status $S3_STATUS): $S3_SAID"
  done
}

main "$@"
