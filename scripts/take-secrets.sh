#!/usr/bin/env bash
# Test-decrypts the secrets of the installed bundle; with FILEs, runs agenix again and verifies that each FILE exists and is
# not empty. Does nothing for a bundle that was processed already.
#
#   take-secrets.sh BUNDLE [FILE]…
#
# agenix decrypts in the activation script, before the network is up, so a new bundle needs another run. Services that run
# with the old secrets, or failed with them, are restarted after it.
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

DONE=$(host_path /run/clawdinator-secrets/bundle)

check() {
  local identity=$bundle/secrets/age-identity.key file output
  [[ -s $identity ]] || fail 1 "The bundle has no age identity, so its secrets can't be decrypted." \
    "Upload it once: clawctl bootstrap upload $(instance_id) --identities-dir DIR"
  for file in "$bundle"/secrets/*.age; do
    if ! output=$(age --decrypt --identity "$identity" "$file" 2>&1 >/dev/null); then
      output=${output%%$'\n'*}
      fail 1 "$(basename "$file") can't be decrypted with this machine's identity: ${output#age: error: }" \
        'Encrypt it for the recipient of this instance, and upload the bundle again: clawctl bootstrap upload'
    fi
  done
}

decrypt() {
  local file
  # With systemd-sysusers or userborn, agenix is a unit instead of a part of the activation script.
  if [[ -e $(host_path /etc/systemd/system/agenix-install-secrets.service) ]]; then
    systemctl restart agenix-install-secrets.service
  else
    "$(host_path /run/current-system/activate)"
  fi
  for file; do
    [[ -s $(host_path "$file") ]] || fail 1 "$file is missing or empty after decryption." \
      'The bundle lacks the secret, or the secret is empty: clawctl secrets check'
  done
}

# --no-block: at boot these units wait for this script's unit.
restart_services() {
  local target wanted
  systemctl reset-failed 'clawdinator-*' || true
  for target in clawdinator-active.target clawdinator-standby.target; do
    if systemctl is-active --quiet "$target"; then
      read -r -a wanted < <(systemctl show --property=Wants --value "$target") || true
      systemctl restart --no-block "${wanted[@]}" || true
    fi
  done
  systemctl start --no-block clawdinator-github-token.service 2>/dev/null || true
}

main() {
  (($# >= 1)) || fail 2 'The folder of the bundle is missing.' 'Usage: take-secrets.sh BUNDLE [FILE]…'
  need age systemctl
  local bundle=$1 installed state before=''
  shift
  [[ -f $bundle/config.json ]] || fail 1 "There is no bundle at $bundle." "See where it stopped: clawctl fleet show $(instance_id)"
  installed=$(readlink -f "$bundle")
  if [[ -s $DONE ]]; then before=$(<"$DONE"); fi
  # With the FILEs: the host's configuration needs more files of the same bundle than the image's.
  state="$installed $*"
  if [[ $before == "$state" ]]; then return 0; fi
  check
  if (($# > 0)); then
    decrypt "$@"
    if [[ -n $before && ${before%% *} != "$installed" ]]; then restart_services; fi
  fi
  mkdir -p "$(dirname "$DONE")"
  printf '%s\n' "$state" >"$DONE"
}

main "$@"
