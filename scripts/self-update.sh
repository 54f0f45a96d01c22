#!/usr/bin/env bash
# Updates the gateway: updates inputs of the flake's lock, switches, and checks that the service stays up. If it does not, rolls
# the system and the lock back, and does not try that version again for seven days.
#   SELF_UPDATE_FLAKE · SELF_UPDATE_HOST · SELF_UPDATE_INPUTS · SELF_UPDATE_SERVICE · SELF_UPDATE_SETTLE_SECONDS
#   STATE_DIRECTORY (systemd) or /var/lib/clawdinator/self-update:
#     bad        one line for each failed version: digest of its inputs, Unix time of the attempt
#     pending    the update that is not verified yet: digest of its inputs, system before it
#     lock       the flake's lock before the update; lock.of is the commit of its checkout
#   /var/lib/clawdinator/self-update.json   the outcome of the last run, for the heartbeat
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

# A version is tried again after this time: it may have failed because an outside service was down.
RETRY_SECONDS=$((7 * 24 * 3600))
PROFILE=$(host_path /nix/var/nix/profiles/system)
CURRENT=$(host_path /run/current-system)

# Prints the digest of the inputs' locked versions. Other inputs of the lock do not count.
inputs_digest() {
  local input
  for input in "${inputs[@]}"; do
    if ! jq -ce --arg input "$input" '.nodes[.nodes[.root].inputs[$input]].locked' "$flake/flake.lock"; then
      report failed "the flake has no input $input"
      fail 2 "The flake has no input $input." 'Correct services.clawdinator.selfUpdate.inputs, and deploy.'
    fi
  done | sha256sum | cut -c 1-64
}

unit_value() {
  systemctl show --property="$1" --value "$service"
}

# report OUTCOME DETAIL: OUTCOME is updated, kept, rolled-back, failed or skipped.
report() {
  local file
  file=$(host_path /var/lib/clawdinator/self-update.json)
  jq -cn --arg outcome "$1" --arg detail "$2" '{at: (now | todateiso8601), $outcome, $detail}' >"$file.new"
  chmod 0644 "$file.new"
  mv -f "$file.new" "$file"
  systemctl start --no-block clawdinator-heartbeat.service 2>/dev/null || true
}

# Prints the plugins that the running gateway refused. A gateway with a refused plugin still reports ready.
refused_plugins() {
  jq -r --arg process "$(unit_value MainPID)" 'select((.mainPid | tostring) == $process) | .plugins[]? | "\(.name): \(.error)"' \
    "$(host_path /run/clawdinator-probe/probe.json)" 2>/dev/null || true
}

# Whether the service comes up, and then stays up as one process for `settle` seconds.
stays_up() {
  local deadline=$((SECONDS + settle)) process='' restarts='' state
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
          # The first is the start itself; one restart is accepted.
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

save_lock() {
  checked_out >lock.of
  cp "$flake/flake.lock" lock.new
  mv -f lock.new lock
}

# Restores the lock before the update, unless a newer seed has replaced the checkout and its lock.
restore_lock() {
  if [[ ! -f lock ]]; then return 0; fi
  if [[ $(checked_out) == "$(cat lock.of 2>/dev/null)" ]]; then
    cp lock "$flake/flake.lock.new"
    mv -f "$flake/flake.lock.new" "$flake/flake.lock"
  fi
  rm -f lock lock.of
}

# roll_back WHY: restores the system and the lock before the update, and records the version as bad.
roll_back() {
  local digest before why=$1
  read -r digest before <pending
  log "rolling back to $before"
  printf '%s %s\n' "$digest" "$(date +%s)" >>bad
  if [[ $(readlink -f "$CURRENT") != "$before" || $(readlink -f "$PROFILE") != "$before" ]]; then
    nix-env --profile "$PROFILE" --set "$before"
    "$before/bin/switch-to-configuration" switch || log 'units failed in the switch back; see above'
  fi
  restore_lock
  rm -f pending
  report rolled-back "$why"
  fail 1 "The update was rolled back: $why." "The next attempt is with a newer version, or in seven days: $PWD/bad"
}

# Only the gateway's health counts: units unrelated to it may fail in a switch.
verify_update() {
  local starts=0 plugins
  if ! stays_up; then roll_back "$service does not stay up after the update"; fi
  plugins=$(refused_plugins)
  if [[ -n $plugins ]]; then roll_back "the gateway refuses a plugin after the update: ${plugins%%$'\n'*}"; fi
  rm -f pending lock lock.of
  log "the update is verified: $service has been up for $settle seconds"
  report updated "$service has been up for $settle seconds"
}

# failed_recently DIGEST: whether this version failed within RETRY_SECONDS.
failed_recently() {
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
  state=${STATE_DIRECTORY:-$(host_path /var/lib/clawdinator/self-update)}
  mkdir -p "$state"
  cd "$state"
  exec 9>lock.run
  if ! flock -n 9; then
    report skipped 'another update is under way'
    fail 1 'Another update is under way.'
  fi
  if [[ ! -f $flake/flake.lock ]]; then
    report skipped 'the checkout has no flake.lock'
    fail 2 "There is no lock at $flake/flake.lock." 'Create it with the workflow flake-lock.yml, build an image, and deploy it.'
  fi
  touch bad

  # An earlier run ended (killed, or by a reboot) before it verified its update.
  if [[ -f pending ]]; then
    read -r digest before <pending
    if [[ $(readlink -f "$CURRENT") == "$before" ]]; then
      log 'the last update was not switched to'
      # A switch sets the system to boot next before it activates it.
      if [[ $(readlink -f "$PROFILE") != "$before" ]]; then
        nix-env --profile "$PROFILE" --set "$before"
        "$before/bin/switch-to-configuration" boot || log 'the boot loader was not updated; see above'
      fi
      restore_lock
      rm -f pending
    else
      verify_update
    fi
  fi
  # An earlier run that was killed may leave a lock to which the host was not switched. That lock would count as the
  # running version.
  restore_lock

  # If the gateway is down before the update, its health afterwards does not judge the update.
  if [[ $(unit_value ActiveState) != active ]]; then
    report skipped "$service is not up"
    fail 1 "$service is not up, so an update can't be verified." "See why: clawctl fleet show $(instance_id)"
  fi

  before=$(readlink -f "$CURRENT")
  old=$(inputs_digest)
  save_lock
  if ! nix --extra-experimental-features 'nix-command flakes' flake update --flake "$flake" "${inputs[@]}"; then
    restore_lock
    report failed "the inputs can't be updated"
    fail 4 'The inputs can'\''t be updated; nix reports the reason above.' 'The timer tries again.'
  fi
  digest=$(inputs_digest)
  if [[ $digest == "$old" ]]; then
    rm -f lock lock.of
    log 'there is no newer version'
    report kept 'there is no newer version'
    return
  fi
  if failed_recently "$digest"; then
    restore_lock
    log 'the newest version failed within the last seven days, and is skipped'
    report skipped 'the newest version failed within the last seven days'
    return
  fi
  # A failed build does not make the version bad: the network may have failed.
  if ! nixos-rebuild build --flake "$flake#$host"; then
    restore_lock
    rm -f result
    report failed 'the newer version does not build; nothing was changed'
    fail 1 'The newer version does not build; nothing was changed.' 'nixos-rebuild reports the reason above. The timer tries again.'
  fi
  new=$(readlink -f result)
  rm -f result
  printf '%s %s\n' "$digest" "$before" >pending.new
  sync pending.new
  mv -f pending.new pending
  if ! nixos-rebuild switch --flake "$flake#$host"; then
    [[ $(readlink -f "$CURRENT") == "$new" ]] || roll_back 'the switch failed'
    log 'units failed in the switch; the gateway is checked next'
  fi
  verify_update
}

main "$@"
