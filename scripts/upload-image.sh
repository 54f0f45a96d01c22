#!/usr/bin/env bash
# Uploads an image to the fleet's bucket. A repeated run resumes. Needs ci mode: AWS_REGION, S3_BUCKET.
#
#   ./scripts/upload-image.sh [FILE] [FLAG]…     such as: ./scripts/upload-image.sh dist/nixos.img
#
# The same as: clawctl image upload [FILE] --mode ci
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/clawctl.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/clawctl.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage_from_head
  exit 0
fi
clawctl image upload "$@" --mode "${CLAWCTL_MODE:-ci}"
