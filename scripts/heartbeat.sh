#!/usr/bin/env bash
# Tells the fleet how this host is: writes heartbeats/ID.json to the fleet's bucket. Needs no argument:
#   /etc/clawdinator/instance-name · S3_BUCKET or /etc/clawdinator/bucket · AWS_REGION or the instance's own
#   HEARTBEAT_SERVICE    the unit whose ActiveState is told   · HEARTBEAT_REVISION   commit of the configuration, or empty
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/common.sh
source "$here/lib/common.sh"
# shellcheck source-path=SCRIPTDIR source=lib/s3.sh
source "$here/lib/s3.sh"

# The next beat is the retry that counts.
S3_ATTEMPTS=2

main() {
  local id instance ami service file
  need curl jq systemctl
  id=$(host_value instance-name) || fail 2 'There is no /etc/clawdinator/instance-name.' 'User data writes it at boot.'
  [[ $id =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail 2 "\"$id\" in /etc/clawdinator/instance-name is not an instance's id."
  s3_setup
  instance=$(imds instance-id) || fail 4 'The metadata service does not say which instance this is.'
  ami=$(imds ami-id) || fail 4 'The metadata service does not say which AMI this is.'
  # A unit that does not exist is "inactive".
  service=$(systemctl show --property=ActiveState --value "${HEARTBEAT_SERVICE:-clawdinator-gateway.service}")
  file=$(mktemp)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$file'" EXIT
  jq -n --arg instanceId "$instance" --arg amiId "$ami" --arg revision "${HEARTBEAT_REVISION:-}" --arg service "$service" \
    '{$instanceId, $amiId, revision: (if $revision == "" then null else $revision end), $service, at: (now | todateiso8601)}' >"$file"
  s3_put "heartbeats/$id.json" "$file" ||
    fail 4 "S3 does not take heartbeats/$id.json (status $S3_STATUS): $S3_SAID" "The instance's role has to allow s3:PutObject on it."
}

main "$@"
