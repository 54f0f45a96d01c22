#!/usr/bin/env bash
# Makes sure that the secrets of the installed bundle can be read here, and decrypts them where the host's configuration
# has agenix. Does nothing where this bundle was taken already.
#
#   take-secrets.sh BUNDLE [FILE]…    each FILE must be there and not empty after decryption
#
# agenix decrypts in the activation script, which runs before the network is up: a new bundle needs it once more. After
# that whatever runs with the old secrets, or failed with them, is started anew.
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

SEEN=$(host_path /run/clawdinator-secrets/bundle)

# Every file of ciphertext is for this machine's identity.
check() {
  local identity=$bundle/secrets/age-identity.key file said
  [[ -s $identity ]] || fail 1 "The bundle holds no identity to decrypt with." \
    "Upload it once: clawctl bootstrap upload $(host_value instance-name || printf ID) --identities-dir DIR"
  for file in "$bundle"/secrets/*.age; do
    if ! said=$(age --decrypt --identity "$identity" "$file" 2>&1 >/dev/null); then
      said=${said%%$'\n'*}
      fail 1 "$(basename "$file") can't be decrypted with this machine's identity: ${said#age: error: }" \
        'Encrypt it for the recipient of this instance, and make the bundle again: clawctl bootstrap upload'
    fi
  done
}

decrypt() {
  local file
  # Where users are not made by the activation script, agenix has a unit of its own.
  if [[ -e $(host_path /etc/systemd/system/agenix-install-secrets.service) ]]; then
    systemctl restart agenix-install-secrets.service
  else
    "$(host_path /run/current-system/activate)"
  fi
  for file; do
    [[ -s $(host_path "$file") ]] || fail 1 "$file is missing or empty after decryption." \
      'The bundle lacks the secret, or it was encrypted empty: clawctl secrets check'
  done
}

# None of these is waited for: at boot they wait for this unit.
revive() {
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
  (($# >= 1)) || fail 2 'This takes the folder of a bundle.' 'Usage: take-secrets.sh BUNDLE [FILE]…'
  need age systemctl
  local bundle=$1 installed taken before=''
  shift
  [[ -f $bundle/config.json ]] || fail 1 "There is no bundle at $bundle." 'systemctl status clawdinator-bootstrap'
  installed=$(readlink -f "$bundle")
  if [[ -s $SEEN ]]; then before=$(<"$SEEN"); fi
  # The host's configuration wants more of the same bundle than the image's.
  taken="$installed $*"
  if [[ $before == "$taken" ]]; then return 0; fi
  check
  if (($# > 0)); then
    decrypt "$@"
    if [[ -n $before && ${before%% *} != "$installed" ]]; then revive; fi
  fi
  mkdir -p "$(dirname "$SEEN")"
  printf '%s\n' "$taken" >"$SEEN"
}

main "$@"
