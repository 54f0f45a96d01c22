# shellcheck shell=bash
# The boot report: what this machine has reached, and what keeps it there. It lies in memory, so a reboot begins anew:
#   stages         "STAGE TIME" a line, in the order in which they were reached
#   failure.json   what keeps the machine in its stage; not there while nothing does
#   bundle         generation of the installed bundle
#   attempts/UNIT  how often a unit has failed in a row
# The heartbeat carries it; lines are without secrets before they are written.

STAGE_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
STAGES=(booted bundle secrets repositories switch standby active yielded)
REPORT=$(host_path /run/clawdinator)
# EC2 keeps what is written here, and gives it to whoever asks for the console's output.
CONSOLE=$(host_path /dev/console)

# stage_number STAGE: its place in the order of a boot.
stage_number() {
  local number
  for number in "${!STAGES[@]}"; do
    if [[ ${STAGES[number]} == "$1" ]]; then
      printf '%s' "$number"
      return 0
    fi
  done
  fail 2 "There is no stage \"$1\"." "Stages are ${STAGES[*]}."
}

now_iso() {
  date -u +%Y-%m-%dT%H:%M:%SZ
}

# The stage that was reached last, or `booted`.
stage_reached() {
  local last=''
  if [[ -r $REPORT/stages ]]; then last=$(tail -n 1 "$REPORT/stages"); fi
  printf '%s' "${last%% *}" | grep . || printf 'booted'
}

on_console() {
  if [[ -w $CONSOLE ]]; then printf 'clawdinator: %s\n' "$@" >>"$CONSOLE" 2>/dev/null || true; fi
}

# One of several units at a time.
report_open() {
  mkdir -p "$REPORT/attempts"
  chmod 0755 "$REPORT"
  exec 8>>"$REPORT/.lock"
  flock -w 20 8 || say 'another unit has held the boot report for 20 seconds'
  # The first that writes here writes down when the machine booted.
  if [[ ! -s $REPORT/stages ]]; then
    printf 'booted %s\n' "$(date -u -d "@$(sed -n 's/^btime //p' /proc/stat)" +%Y-%m-%dT%H:%M:%SZ)" >"$REPORT/stages"
  fi
}

# The heartbeat at once instead of within a minute. Where it is under way already, it looks again before it ends.
report_now() {
  { exec 8>&-; } 2>/dev/null || true
  systemctl start --no-block clawdinator-heartbeat.service 2>/dev/null || true
}

# reach STAGE: writes it down. A boot goes forward: a unit of an earlier stage that runs again changes nothing.
reach() {
  local at number
  report_open
  number=$(stage_number "$1")
  at=$(stage_number "$(stage_reached)")
  if ((number == at || number < at && number < 5)); then return 0; fi
  printf '%s %s\n' "$1" "$(now_iso)" >>"$REPORT/stages"
  on_console "stage $1"
  report_now
}

# blame STAGE UNIT: writes down that the unit failed; its last lines are standard input. Not where the machine is past that
# stage: what fails then keeps it from nothing.
blame() {
  local stage=$1 unit=$2
  report_open
  if (($(stage_number "$stage") < $(stage_number "$(stage_reached)"))); then return 0; fi
  scrub | jq -c --arg stage "$stage" --arg unit "$unit" --arg at "$(now_iso)" '{$stage, $unit, lines: ., $at}' >"$REPORT/failure.new"
  mv -f "$REPORT/failure.new" "$REPORT/failure.json"
  on_console "$unit failed in stage $stage" "$(jq -r '.lines[] | "  " + .' "$REPORT/failure.json")"
  report_now
}

# absolve UNIT: it works now.
absolve() {
  report_open
  rm -f "$REPORT/attempts/$1"
  if [[ -f $REPORT/failure.json && $(jq -r .unit "$REPORT/failure.json") == "$1" ]]; then
    rm -f "$REPORT/failure.json"
    report_now
  fi
}

# What must not leave the host: every file of secrets that is here, as JSON strings. Never an argument of a program.
known_secrets() {
  local file
  for file in "$(host_path /run/agenix)"/* "$(host_path /var/lib/clawdinator/bootstrap/current/secrets)"/*.key \
    "$(host_path /run/clawdinator-gateway)"/* "$(host_path /run/clawdinator-github)"/*; do
    if [[ -f $file ]]; then jq -Rs . "$file" 2>/dev/null || true; fi
  done
}

# Standard input as a JSON list of its last lines: at most 2 KB, scrubbed.
scrub() {
  tail -n 40 | jq -L "$STAGE_LIB" -Rsc --slurpfile files <(known_secrets) 'include "scrub";
    [split("\n")[] | scrubbed($files) | .[0:400] | select(test("\\S"))]
    | reduce reverse[] as $line ({lines: [], bytes: 0};
        if .bytes + ($line | utf8bytelength) > 2048 then .bytes = 4096
        else .lines = [$line] + .lines | .bytes += ($line | utf8bytelength) end)
    | .lines'
}
