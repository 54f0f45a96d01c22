#!/usr/bin/env bash
# Turns a machine that has booted the image into its host: switches to the configuration of the checkout that the bundle
# brought. Once; what changes a host after that is a deploy, or its own self-update.
#   /etc/clawdinator/host   which of the flake's nixosConfigurations, written by user data; else the instance's name
#   /etc/clawdinator/config-revision   image: the commit that the image was made of; newest: what the bundle brought
#   SWITCH_FLAKE            the checkout, /var/lib/clawd/repos/clawdinators where it is not set
#   /var/lib/clawdinator/switched        written at the end: commit and system
#   /run/clawdinator/switching           there meanwhile: the checkout must not move
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"

in_checkout() {
  GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 git -C "$1" -c safe.directory="$1" "${@:2}"
}

# An older AMI boots the configuration that it was made with, not today's. The bundle's repository is shallow, so another
# commit is fetched from where it came from. What can't be had (a private repository) is said, and the bundle's is taken.
take_revision_of_image() {
  local flake=$1 wanted
  [[ $(host_value config-revision || printf 'image') == image ]] || return 0
  wanted=$(cat "$(host_path /var/lib/clawdinator/image-revision)" 2>/dev/null) || return 0
  [[ $wanted =~ ^[0-9a-f]{40}$ && $(in_checkout "$flake" rev-parse HEAD 2>/dev/null) != "$wanted" ]] || return 0
  if ! in_checkout "$flake" cat-file -e "$wanted^{commit}" 2>/dev/null; then
    if ! timeout 120 env GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 \
      git -C "$flake" -c safe.directory="$flake" fetch --quiet --depth 1 origin "$wanted"; then
      say "the image's commit ${wanted:0:12} can't be fetched: this machine takes the configuration of its bundle"
      return 0
    fi
  fi
  in_checkout "$flake" checkout --quiet --force --detach "$wanted"
  say "the configuration is the image's, ${wanted:0:12}"
}

main() {
  need git nixos-rebuild systemctl
  local flake=${SWITCH_FLAKE:-$(host_path /var/lib/clawd/repos/clawdinators)} host done_file mark current profile before code=0 commit
  done_file=$(host_path /var/lib/clawdinator/switched)
  mark=$(host_path /run/clawdinator/switching)
  current=$(host_path /run/current-system)
  profile=$(host_path /nix/var/nix/profiles/system)
  host=$(host_value host || host_value instance-name) || fail 2 'There is no /etc/clawdinator/host.' 'User data writes it at boot.'
  [[ $host =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$host\" in /etc/clawdinator/host is not a host's name."
  [[ -f $flake/flake.nix ]] || fail 1 "There is no checkout at $flake." 'systemctl status clawdinator-repo-seed'
  if [[ ! -f $flake/flake.lock ]]; then
    say "the checkout has no flake.lock, so this machine takes the newest inputs; make one with the workflow flake-lock.yml"
  fi
  mkdir -p "$(dirname "$mark")" "$(dirname "$done_file")"
  : >"$mark"
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$mark'" EXIT
  take_revision_of_image "$flake"
  commit=$(in_checkout "$flake" rev-parse HEAD 2>/dev/null || printf 'unknown')
  before=$(readlink -f "$current")
  nixos-rebuild switch --flake "$flake#$host" || code=$?
  if ((code != 0)); then
    # A unit that failed is not the switch's: it has the machine's new configuration, and says so by itself.
    if [[ $(readlink -f "$current") != "$before" && $(readlink -f "$current") == "$(readlink -f "$profile")" ]]; then
      say "the switch is done, though units failed (exit code $code): $(systemctl list-units --failed --plain --no-legend 2>/dev/null | cut -d ' ' -f 1 | tr '\n' ' ')"
    else
      fail 1 "The switch to $host at ${commit:0:12} failed (exit code $code)."
    fi
  fi
  printf '%s %s\n' "$commit" "$(readlink -f "$current")" >"$done_file.new"
  mv -f "$done_file.new" "$done_file"
  say "this machine is $host at ${commit:0:12}"
}

main "$@"
