#!/usr/bin/env bash
# Hooks of the boot's units. They write the boot report (lib/stage.sh).
#
#   stage.sh working STAGE                   before the unit starts
#   stage.sh passed STAGE UNIT [VERB NEXT]   after success; VERB is start or restart, NEXT the unit of the next stage
#   stage.sh ended STAGE UNIT                after the unit stopped, with SERVICE_RESULT and INVOCATION_ID of systemd
#   stage.sh probe                           after the gateway started
#   stage.sh beat                            after another value of the heartbeat changed
#
# systemd restarts a failed unit; `ended` lengthens the pause before it. Each stage starts the next: a unit that is ordered
# after a failed one would not be started again by systemd.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"
# The heartbeat's user reads the report.
umask 022

# pause_after FAILURES: seconds before the next start, in addition to RestartSec. A fixed bundle has to be taken within a minute.
pause_after() {
  local -a pauses=(0 5 10 20 40)
  printf '%s' "${pauses[$1 < 5 ? $1 - 1 : 4]}"
}

ended() {
  local stage=$1 unit=$2 failed=0
  if [[ ${SERVICE_RESULT:-success} == success ]]; then return 0; fi
  journalctl --sync 2>/dev/null || true
  {
    journalctl --quiet --no-pager --output=cat --lines=40 "_SYSTEMD_INVOCATION_ID=${INVOCATION_ID:-none}" 2>/dev/null || true
    printf '%s: %s\n' "$unit" "$SERVICE_RESULT${EXIT_STATUS:+ ($EXIT_STATUS)}"
  } | record_failure "$stage" "$unit"
  # The gateway has its own start limit, and restarts without a pause.
  if (($(stage_number "$stage") >= 5)); then return 0; fi
  if [[ -f $REPORT/attempts/$unit ]]; then failed=$(<"$REPORT/attempts/$unit"); fi
  printf '%s\n' $((failed + 1)) >"$REPORT/attempts/$unit"
  exec 8>&-
  sleep "${STAGE_PAUSE:-$(pause_after $((failed + 1)))}"
}

main() {
  need jq flock systemctl
  (($# >= 2)) || [[ ${1:-} == beat || ${1:-} == probe ]] || fail 2 'The hook or the stage is missing.' 'Usage: stage.sh working|passed|ended STAGE [UNIT [VERB NEXT]]'
  local hook=$1 stage=${2:-} unit=${3:-} config
  case $hook in
    beat) send_heartbeat ;;
    # --no-block: the probe waits until the gateway answers.
    probe) systemctl start --no-block clawdinator-gateway-probe.service || true ;;
    working) reach_stage "$stage" ;;
    passed)
      if [[ $stage == bundle ]]; then
        config=$(host_path /var/lib/clawdinator/bootstrap/current/config.json)
        jq -r .generation "$config" >"$REPORT/bundle.new" && mv -f "$REPORT/bundle.new" "$REPORT/bundle"
      fi
      clear_failure "$unit"
      # After the switch, a path unit starts these stages for a new bundle.
      if (($# > 3 && $(stage_number "$(stage_reached)") < 5)); then systemctl --no-block "${@:4}" || true; fi
      ;;
    ended) ended "$stage" "$unit" ;;
    *) fail 2 "There is no hook \"$hook\"." ;;
  esac
}

main "$@"
