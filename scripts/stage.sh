#!/usr/bin/env bash
# The hooks of the units that make up a boot; each keeps the boot report (lib/stage.sh).
#
#   stage.sh working STAGE                   before the unit starts
#   stage.sh passed STAGE UNIT [VERB NEXT]   after it is done; VERB is start or restart, NEXT the unit of the next stage
#   stage.sh ended STAGE UNIT                when it has stopped, with SERVICE_RESULT and INVOCATION_ID of systemd
#   stage.sh probe                           when the gateway was started
#   stage.sh beat                            after something else that the heartbeat carries has changed
#
# A unit that failed is started again by systemd; `ended` makes the pauses before it grow. A stage starts the next one
# itself: systemd would start a unit that waits for another when that one has failed once, and never again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stage.sh
source "$here/lib/stage.sh"
# The unit's own may be narrower, and the heartbeat's user reads the report.
umask 022

# Seconds before a unit that has failed so often in a row is started again, beside its RestartSec. A mended bundle has to
# get through within a minute.
pause_after() {
  local -a pauses=(0 5 10 20 40)
  printf '%s' "${pauses[$1 < 5 ? $1 - 1 : 4]}"
}

ended() {
  local stage=$1 unit=$2 failed=0
  # Stopped because somebody wanted it to.
  if [[ ${SERVICE_RESULT:-success} == success ]]; then return 0; fi
  journalctl --sync 2>/dev/null || true
  {
    journalctl --quiet --no-pager --output=cat --lines=40 "_SYSTEMD_INVOCATION_ID=${INVOCATION_ID:-none}" 2>/dev/null || true
    printf '%s: %s\n' "$unit" "$SERVICE_RESULT${EXIT_STATUS:+ ($EXIT_STATUS)}"
  } | blame "$stage" "$unit"
  # The gateway's own limit of starts ends its loop; it comes back as fast as it can.
  if (($(stage_number "$stage") >= 5)); then return 0; fi
  if [[ -f $REPORT/attempts/$unit ]]; then failed=$(<"$REPORT/attempts/$unit"); fi
  printf '%s\n' $((failed + 1)) >"$REPORT/attempts/$unit"
  exec 8>&-
  sleep "${STAGE_PAUSE:-$(pause_after $((failed + 1)))}"
}

main() {
  need jq flock systemctl
  (($# >= 2)) || [[ ${1:-} == beat || ${1:-} == probe ]] || fail 2 'This takes a hook and a stage.' 'Usage: stage.sh working|passed|ended STAGE [UNIT [VERB NEXT]]'
  local hook=$1 stage=${2:-} unit=${3:-} config
  case $hook in
    beat) report_now ;;
    # In the background: it waits until the gateway answers.
    probe) systemctl start --no-block clawdinator-gateway-probe.service || true ;;
    working) reach "$stage" ;;
    passed)
      if [[ $stage == bundle ]]; then
        config=$(host_path /var/lib/clawdinator/bootstrap/current/config.json)
        jq -r .generation "$config" >"$REPORT/bundle.new" && mv -f "$REPORT/bundle.new" "$REPORT/bundle"
      fi
      absolve "$unit"
      # On a machine that has its configuration, a path unit notices a new bundle.
      if (($# > 3 && $(stage_number "$(stage_reached)") < 5)); then systemctl --no-block "${@:4}" || true; fi
      ;;
    ended) ended "$stage" "$unit" ;;
    *) fail 2 "There is no hook \"$hook\"." ;;
  esac
}

main "$@"
