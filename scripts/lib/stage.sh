# shellcheck shell=bash
# The boot report in /run/clawdinator, which a reboot clears. The heartbeat sends it, so lines are scrubbed before writing.
#   stages         one line "STAGE TIME" for each stage, in the order reached
#   failure.json   the failure that holds the machine in its stage, if there is one
#   bundle         generation of the installed bundle
#   attempts/UNIT  consecutive failures of a unit

STAGE_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
STAGES=(booted bundle secrets repositories switch standby active yielded)
REPORT=$(host_path /run/clawdinator)
# EC2 keeps the console's output: `aws ec2 get-console-output`.
CONSOLE=$(host_path /dev/console)

# stage_number STAGE: the stage's index in STAGES.
stage_number() {
  local number
  for number in "${!STAGES[@]}"; do
    if [[ ${STAGES[number]} == "$1" ]]; then
      printf '%s' "$number"
      return 0
    fi
  done
  fail 2 "There is no stage \"$1\"." "The stages are ${STAGES[*]}."
}

now_iso() {
  date -u +%Y-%m-%dT%H:%M:%SZ
}

# Prints the newest stage; `booted` before the first report.
stage_reached() {
  local last=''
  if [[ -r $REPORT/stages ]]; then last=$(tail -n 1 "$REPORT/stages"); fi
  printf '%s' "${last%% *}" | grep . || printf 'booted'
}

write_console() {
  if [[ -w $CONSOLE ]]; then printf 'clawdinator: %s\n' "$@" >>"$CONSOLE" 2>/dev/null || true; fi
}

# Locks the boot report until the process ends, or closes descriptor 8.
open_report() {
  mkdir -p "$REPORT/attempts"
  chmod 0755 "$REPORT"
  exec 8>>"$REPORT/.lock"
  flock -w 20 8 || log 'another unit has held the boot report for 20 seconds'
  if [[ ! -s $REPORT/stages ]]; then
    printf 'booted %s\n' "$(date -u -d "@$(sed -n 's/^btime //p' /proc/stat)" +%Y-%m-%dT%H:%M:%SZ)" >"$REPORT/stages"
  fi
}

# Sends the heartbeat now, not within a minute. A running heartbeat reads the report again before it ends.
send_heartbeat() {
  { exec 8>&-; } 2>/dev/null || true
  systemctl start --no-block clawdinator-heartbeat.service 2>/dev/null || true
}

# reach_stage STAGE: records the stage. A unit of an earlier boot stage that runs again does not move the machine back.
reach_stage() {
  local at number
  open_report
  number=$(stage_number "$1")
  at=$(stage_number "$(stage_reached)")
  if ((number == at || number < at && number < 5)); then return 0; fi
  printf '%s %s\n' "$1" "$(now_iso)" >>"$REPORT/stages"
  write_console "stage $1"
  send_heartbeat
}

# record_failure STAGE UNIT: records that the unit failed; standard input is its last lines. A failure of an earlier stage than
# the machine's is not recorded: it does not hold the machine.
record_failure() {
  local stage=$1 unit=$2
  open_report
  if (($(stage_number "$stage") < $(stage_number "$(stage_reached)"))); then return 0; fi
  scrub | jq -c --arg stage "$stage" --arg unit "$unit" --arg at "$(now_iso)" '{$stage, $unit, lines: ., $at}' >"$REPORT/failure.new"
  mv -f "$REPORT/failure.new" "$REPORT/failure.json"
  write_console "$unit failed in stage $stage" "$(jq -r '.lines[] | "  " + .' "$REPORT/failure.json")"
  send_heartbeat
}

# clear_failure UNIT: the unit has succeeded.
clear_failure() {
  open_report
  rm -f "$REPORT/attempts/$1"
  if [[ -f $REPORT/failure.json && $(jq -r .unit "$REPORT/failure.json") == "$1" ]]; then
    rm -f "$REPORT/failure.json"
    send_heartbeat
  fi
}

# Prints each file of secrets as a JSON string, for `scrubbed`. For a pipe only: every process can read arguments.
known_secrets() {
  local file
  for file in "$(host_path /run/agenix)"/* "$(host_path /var/lib/clawdinator/bootstrap/current/secrets)"/*.key \
    "$(host_path /run/clawdinator-gateway)"/* "$(host_path /run/clawdinator-github)"/*; do
    if [[ -f $file ]]; then jq -Rs . "$file" 2>/dev/null || true; fi
  done
}

# Prints the last lines of standard input, scrubbed, as a JSON list of at most 2 KB.
scrub() {
  tail -n 40 | jq -L "$STAGE_LIB" -Rsc --slurpfile files <(known_secrets) 'include "scrub";
    [split("\n")[] | scrubbed($files) | .[0:400] | select(test("\\S"))]
    | reduce reverse[] as $line ({lines: [], bytes: 0};
        if .bytes + ($line | utf8bytelength) > 2048 then .bytes = 4096
        else .lines = [$line] + .lines | .bytes += ($line | utf8bytelength) end)
    | .lines'
}
