#!/usr/bin/env bash
# Switches a machine that booted the image to its host's configuration, once. Later changes are deploys or self-updates.
#   /etc/clawdinator/host              name in nixosConfigurations, written by user data; default: the instance's name
#   /etc/clawdinator/config-revision   image: use the commit of the image; newest: use the commit of the bundle
#   SWITCH_FLAKE                       the checkout; default: /var/lib/clawd/repos/clawdinators
#   /var/lib/clawdinator/switched      commit and system, written at the end
#   /run/clawdinator/switching         exists during the switch: the checkout must not change
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

in_checkout() {
  GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 git -C "$1" -c safe.directory="$1" "${@:2}"
}

# An older AMI boots its own configuration, not today's. The bundle's repository is shallow, so the commit is fetched from its
# origin. If that fails (a private repository), or the host was added to the registry after the image was built, the bundle's
# commit is used.
use_image_revision() {
  local flake=$1 host=$2 wanted registry
  [[ $(host_value config-revision || printf 'image') == image ]] || return 0
  wanted=$(cat "$(host_path /var/lib/clawdinator/image-revision)" 2>/dev/null) || return 0
  [[ $wanted =~ ^[0-9a-f]{40}$ && $(in_checkout "$flake" rev-parse HEAD 2>/dev/null) != "$wanted" ]] || return 0
  if ! in_checkout "$flake" cat-file -e "$wanted^{commit}" 2>/dev/null; then
    if ! timeout 120 env GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 \
      git -C "$flake" -c safe.directory="$flake" fetch --quiet --depth 1 origin "$wanted"; then
      log "the image's commit ${wanted:0:12} can't be fetched; the configuration of the bundle is used"
      return 0
    fi
  fi
  if registry=$(in_checkout "$flake" show "$wanted:nix/instances.json" 2>/dev/null) &&
    ! jq -e --arg host "$host" 'any(to_entries[]; (.value.host // .key) == $host)' <<<"$registry" >/dev/null; then
    log "the image's commit ${wanted:0:12} has no host $host; the configuration of the bundle is used"
    return 0
  fi
  in_checkout "$flake" checkout --quiet --force --detach "$wanted"
  log "the configuration of the image is used, ${wanted:0:12}"
}

main() {
  need git jq nixos-rebuild systemctl
  local flake=${SWITCH_FLAKE:-$(host_path /var/lib/clawd/repos/clawdinators)} host done_file switching current profile before code=0 commit
  done_file=$(host_path /var/lib/clawdinator/switched)
  switching=$(host_path /run/clawdinator/switching)
  current=$(host_path /run/current-system)
  profile=$(host_path /nix/var/nix/profiles/system)
  host=$(host_value host || host_value instance-name) || fail 2 'There is no /etc/clawdinator/host.' 'User data writes it at boot.'
  [[ $host =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$host\" in /etc/clawdinator/host is not a host's name."
  [[ -f $flake/flake.nix ]] || fail 1 "There is no checkout at $flake." "See where it stopped: clawctl fleet show $(instance_id)"
  if [[ ! -f $flake/flake.lock ]]; then
    log "the checkout has no flake.lock, so the newest inputs are used; create it with the workflow flake-lock.yml"
  fi
  mkdir -p "$(dirname "$switching")" "$(dirname "$done_file")"
  : >"$switching"
  # shellcheck disable=SC2064 # expand now: the variable is local
  trap "rm -f '$switching'" EXIT
  use_image_revision "$flake" "$host"
  commit=$(in_checkout "$flake" rev-parse HEAD 2>/dev/null || printf 'unknown')
  before=$(readlink -f "$current")
  nixos-rebuild switch --flake "$flake#$host" || code=$?
  if ((code != 0)); then
    # nixos-rebuild also fails if a unit fails after a complete switch; the unit reports that itself.
    if [[ $(readlink -f "$current") != "$before" && $(readlink -f "$current") == "$(readlink -f "$profile")" ]]; then
      log "the switch is complete, but units failed (exit code $code): $(systemctl list-units --failed --plain --no-legend 2>/dev/null | cut -d ' ' -f 1 | tr '\n' ' ')"
    else
      fail 1 "The switch to $host at ${commit:0:12} failed (exit code $code)." 'nixos-rebuild reports the reason above. systemd starts the next attempt.'
    fi
  fi
  printf '%s %s\n' "$commit" "$(readlink -f "$current")" >"$done_file.new"
  mv -f "$done_file.new" "$done_file"
  log "switched to $host at ${commit:0:12}"
}

main "$@"
