#!/usr/bin/env bash
# Uploads the bundle (secrets and repository seeds) of an instance. Needs ci mode: AWS_REGION, S3_BUCKET.
#
#   ./scripts/upload-bootstrap.sh ID|all [FLAG]…     such as: ./scripts/upload-bootstrap.sh clawdinator-1
#
# The same as: clawctl bootstrap upload ID --mode ci
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/clawctl.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/clawctl.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage_from_head
  exit 0
fi
clawctl bootstrap upload "$@" --mode "${CLAWCTL_MODE:-ci}"
