#!/usr/bin/env bash
# Takes up a newer gateway: updates an input of the flake's lock, switches, and looks whether the service holds. Where it
# does not, the system and the lock go back to what they were, and that version is not tried again for seven days.
#   SELF_UPDATE_FLAKE · SELF_UPDATE_HOST · SELF_UPDATE_INPUTS · SELF_UPDATE_SERVICE · SELF_UPDATE_SETTLE_SECONDS
#   STATE_DIRECTORY (systemd) or /var/lib/clawdinator/self-update:
#     bad        digests of the inputs that did not hold, one a line, with the second at which they were tried
#     pending    an update that has not held yet: its digest and the system before it
#     lock       the flake's lock before it; lock.of is the commit of its checkout
#   /var/lib/clawdinator/self-update.json   what the last run did, for the heartbeat
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# A version that did not hold may have met a service that was down.
RETRY_SECONDS=$((7 * 24 * 3600))
PROFILE=$(host_path /nix/var/nix/profiles/system)
CURRENT=$(host_path /run/current-system)

# What the inputs are locked to, as one digest. The rest of the lock does not count.
inputs_digest() {
  local input
  for input in "${inputs[@]}"; do
    jq -ce --arg input "$input" '.nodes[.nodes[.root].inputs[$input]].locked' "$flake/flake.lock" ||
      fail 2 "The flake has no input $input." "nix flake metadata $flake"
  done | sha256sum | cut -c 1-64
}

unit_value() {
  systemctl show --property="$1" --value "$service"
}

# report OUTCOME DETAIL: updated, kept, rolled-back, failed or skipped.
report() {
  local file
  file=$(host_path /var/lib/clawdinator/self-update.json)
  jq -cn --arg outcome "$1" --arg detail "$2" '{at: (now | todateiso8601), $outcome, $detail}' >"$file.new"
  chmod 0644 "$file.new"
  mv -f "$file.new" "$file"
  systemctl start --no-block clawdinator-heartbeat.service 2>/dev/null || true
}

# Plugins that the gateway refused, as its probe found them in the process that runs; a gateway without one is ready all the same.
refused_plugins() {
  jq -r --arg process "$(unit_value MainPID)" 'select((.mainPid | tostring) == $process) | .plugins[]? | "\(.name): \(.error)"' \
    "$(host_path /run/clawdinator-probe/probe.json)" 2>/dev/null || true
}

# Whether the service is up and stays up, as one process, for as long as it takes.
holds() {
  local deadline=$((SECONDS + settle)) process='' restarts='' state
  # It may take a moment to come up; that is not part of the time that counts.
  local up_by=$((SECONDS + settle))
  while :; do
    state=$(unit_value ActiveState)
    case $state in
      active)
        if [[ $process != "$(unit_value MainPID)" || $restarts != "$(unit_value NRestarts)" ]]; then
          process=$(unit_value MainPID)
          restarts=$(unit_value NRestarts)
          deadline=$((SECONDS + settle))
          starts=$((starts + 1))
          # The first one is the start itself; a service that starts again and again does not hold.
          ((starts <= 2)) || return 1
        fi
        if ((SECONDS >= deadline)); then return 0; fi
        ;;
      failed) return 1 ;;
      *)
        process=''
        if ((SECONDS >= up_by)); then return 1; fi
        ;;
    esac
    sleep "${SELF_UPDATE_POLL_SECONDS:-5}"
  done
}

checked_out() {
  git -C "$flake" rev-parse HEAD 2>/dev/null || echo none
}

keep_lock() {
  checked_out >lock.of
  cp "$flake/flake.lock" lock.new
  mv -f lock.new lock
}

# The lock as it was before the update, in the checkout that it was kept of: a newer seed has brought its own.
restore_lock() {
  if [[ ! -f lock ]]; then return 0; fi
  if [[ $(checked_out) == "$(cat lock.of 2>/dev/null)" ]]; then
    cp lock "$flake/flake.lock.new"
    mv -f "$flake/flake.lock.new" "$flake/flake.lock"
  fi
  rm -f lock lock.of
}

# roll_back WHY: back to the system and the lock before; the version is remembered.
roll_back() {
  local digest before why=$1
  read -r digest before <pending
  say "goes back to $before"
  printf '%s %s\n' "$digest" "$(date +%s)" >>bad
  if [[ $(readlink -f "$CURRENT") != "$before" || $(readlink -f "$PROFILE") != "$before" ]]; then
    nix-env --profile "$PROFILE" --set "$before"
    "$before/bin/switch-to-configuration" switch || say 'the switch back had failures; see above'
  fi
  restore_lock
  rm -f pending
  report rolled-back "$why"
  fail 1 "The update was taken back: $why." "It is tried again when there is a newer one, or in seven days: $PWD/bad"
}

# The gateway decides, not the switch: units that have nothing to do with it may fail.
judge() {
  local starts=0 plugins
  if ! holds; then roll_back "$service does not stay up after the update"; fi
  plugins=$(refused_plugins)
  if [[ -n $plugins ]]; then roll_back "the gateway refuses a plugin after the update: ${plugins%%$'\n'*}"; fi
  rm -f pending lock lock.of
  say "the update holds: $service has been up for $settle seconds"
  report updated "$service has been up for $settle seconds"
}

# Whether this version did not hold, and not long ago.
is_bad() {
  local tried
  tried=$(sed -n "s/^$1 \([0-9]*\)$/\1/p" bad | tail -n 1)
  [[ -n $tried ]] && (($(date +%s) - tried < RETRY_SECONDS))
}

main() {
  local flake=${SELF_UPDATE_FLAKE:-} host=${SELF_UPDATE_HOST:-} service=${SELF_UPDATE_SERVICE:-clawdinator-gateway.service}
  local settle=${SELF_UPDATE_SETTLE_SECONDS:-300} state before digest old new
  local -a inputs
  need git jq nix nixos-rebuild systemctl flock
  read -r -a inputs <<<"${SELF_UPDATE_INPUTS:-nix-openclaw}"
  [[ -n $flake && -n $host ]] || fail 2 'SELF_UPDATE_FLAKE and SELF_UPDATE_HOST are needed.'
  [[ -f $flake/flake.lock ]] || fail 2 "There is no lock at $flake/flake.lock." 'The workflow flake-lock.yml makes one; the next deploy brings it.'
  state=${STATE_DIRECTORY:-$(host_path /var/lib/clawdinator/self-update)}
  mkdir -p "$state"
  cd "$state"
  exec 9>lock.run
  flock -n 9 || fail 1 'Another update is under way.'
  touch bad

  # Killed, or switched into a reboot, before it was judged: that comes first.
  if [[ -f pending ]]; then
    read -r digest before <pending
    if [[ $(readlink -f "$CURRENT") == "$before" ]]; then
      say 'the last update was never switched to'
      # The switch begins with what boots next.
      if [[ $(readlink -f "$PROFILE") != "$before" ]]; then
        nix-env --profile "$PROFILE" --set "$before"
        "$before/bin/switch-to-configuration" boot || say 'the boot loader was not renewed; see above'
      fi
      restore_lock
      rm -f pending
    else
      judge
    fi
  fi
  # Killed before that: a lock that was never switched to would pass for what runs.
  restore_lock

  # What does not run now would not run afterwards either, and says nothing about the update.
  if [[ $(unit_value ActiveState) != active ]]; then
    report skipped "$service is not up"
    fail 1 "$service is not up; an update is no way to mend it."
  fi

  before=$(readlink -f "$CURRENT")
  old=$(inputs_digest)
  keep_lock
  if ! nix --extra-experimental-features 'nix-command flakes' flake update --flake "$flake" "${inputs[@]}"; then
    restore_lock
    report failed "the inputs can't be updated just now"
    fail 4 'The inputs can'\''t be updated just now.'
  fi
  digest=$(inputs_digest)
  if [[ $digest == "$old" ]]; then
    rm -f lock lock.of
    say 'nothing newer'
    report kept 'nothing newer'
    return
  fi
  if is_bad "$digest"; then
    restore_lock
    say 'the newest version did not hold before; waiting for another, or for seven days to pass'
    report skipped 'the newest version did not hold within the last seven days'
    return
  fi
  # Built before anything changes. A build may fail for want of network: that says nothing about the version.
  if ! nixos-rebuild build --flake "$flake#$host"; then
    restore_lock
    rm -f result
    report failed 'the newer version does not build; nothing was changed'
    fail 1 'The newer version does not build; nothing was changed.'
  fi
  new=$(readlink -f result)
  rm -f result
  printf '%s %s\n' "$digest" "$before" >pending.new
  mv -f pending.new pending
  if ! nixos-rebuild switch --flake "$flake#$host"; then
    [[ $(readlink -f "$CURRENT") == "$new" ]] || roll_back 'the switch failed'
    say 'units failed at the switch; the gateway decides'
  fi
  judge
}

main "$@"
