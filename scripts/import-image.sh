#!/usr/bin/env bash
# Imports an uploaded image as an AMI; default: the newest build. Needs ci mode: AWS_REGION, S3_BUCKET.
#
#   ./scripts/import-image.sh [KEY] [FLAG]…
#
# The same as: clawctl image import [KEY] --mode ci
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/clawctl.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/clawctl.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage_from_head
  exit 0
fi
clawctl image import "$@" --mode "${CLAWCTL_MODE:-ci}"
