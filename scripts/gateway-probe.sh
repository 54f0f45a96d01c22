#!/usr/bin/env bash
# Writes the state of the gateway's channels and plugins to /run/clawdinator-probe/probe.json, for the heartbeat. The
# gateway's readiness is not enough, because the gateway is ready even with a rejected token. Runs as the agent's user,
# with the gateway's program.
#   PROBE_SERVICE          the gateway's unit; SERVICE-standby runs without channels
#   OPENCLAW_CONFIG_PATH   the rendered configuration, which lists the expected channels
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"

# main_pid UNIT: the unit's main process, also while the unit is activating. Fails if it has none.
main_pid() {
  local pid
  [[ $(systemctl show --property=ActiveState --value "$1") == activ* ]] || return 1
  pid=$(systemctl show --property=MainPID --value "$1")
  [[ $pid != 0 ]] && printf '%s' "$pid"
}

# query COMMAND…: the gateway's answer; fails if it is not a JSON object. A cold start of the program takes up to 15 seconds.
query() {
  OPENCLAW_GATEWAY_TOKEN=$OPENCLAW_GATEWAY_TOKEN timeout 60 openclaw "$@" --json 2>/dev/null | jq -ce 'select(type == "object")' 2>/dev/null
}

main() {
  need jq systemctl openclaw timeout
  local service=${PROBE_SERVICE:-clawdinator-gateway.service} pid='' mode=active status health out
  out=$(host_path /run/clawdinator-probe)/probe.json
  if ! pid=$(main_pid "$service"); then
    mode=standby
    if ! pid=$(main_pid "${service%.service}-standby.service"); then
      rm -f "$out"
      return 0
    fi
  fi
  # The gateway needs some seconds from its start until it listens.
  local until=$((SECONDS + ${PROBE_WAIT_SECONDS:-60})) token
  token=$(host_path /run/clawdinator-gateway/token)
  while ! OPENCLAW_GATEWAY_TOKEN=$(cat "$token" 2>/dev/null) || ! health=$(query health); do
    if ((SECONDS >= until)); then
      log 'the gateway does not answer yet'
      return 0
    fi
    sleep 3
  done
  local -a command=(channels status)
  if [[ $mode == standby ]]; then command+=(--probe); fi
  if ! status=$(query "${command[@]}"); then
    log 'the gateway does not report its channels'
    return 0
  fi
  # Not as arguments: the error of a service may quote the token, and an argument has at most 128 KiB.
  jq -n -L "$here/lib" --slurpfile files <(known_secrets) --slurpfile answers <(printf '%s\n' "$health" "$status") \
    --slurpfile config "$OPENCLAW_CONFIG_PATH" --arg mode "$mode" --argjson pid "$pid" 'include "scrub";
    $answers as [$health, $status] |
    def reason: if . == null or . == "" then null else tostring | scrubbed($files) | gsub("\\s+"; " ") | .[0:300] end;
    def wanted: ($config[0].channels // {}) | to_entries[] | select((.value | type) == "object" and .key != "defaults" and .value.enabled != false) | .key;
    def standby: (.probe // {}) as $probe
      # Only an answer of the service shows that a token is rejected; an unreachable service does not.
      | {connected: (if $probe.ok == true then true elif [401, 403, 404] | index($probe.status // 0) then false else null end),
         reason: (if $probe.ok == true then null else ($probe.error // .lastError) | reason end)};
    def active: {connected: (if .connected != null then .connected elif .running == false then false else null end),
      reason: (if .connected == true then null else .lastError | reason end)};
    {at: (now | todateiso8601), mainPid: $pid,
     channels: [wanted as $name | $status.channelAccounts[$name][0] as $account | {$name} +
       if $account == null then {connected: false, reason: "the gateway does not report the channel: its plugin is not loaded"}
       elif $account.configured == false then {connected: false, reason: ($account.lastError // "no token is configured" | reason)}
       elif $mode == "standby" then $account | standby
       else $account | active end],
     plugins: [$health.plugins.errors[]? | {name: (.id // .pluginId // .plugin // .name // "?"), error: (.error // .message // . | reason)}]}' >"$out.new"
  chmod 0644 "$out.new"
  mv -f "$out.new" "$out"
}

main "$@"
