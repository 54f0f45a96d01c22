#!/usr/bin/env bash
# Builds the raw NixOS image, from which each host boots, as dist/nixos.img. HOST: for the platform of this host.
#
#   ./scripts/build-image.sh [HOST] [FLAG]…     such as: ./scripts/build-image.sh clawdinator-1
#
# The same as: clawctl image build [HOST] --out dist
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/clawctl.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/clawctl.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage_from_head
  exit 0
fi
cd "$CHECKOUT"
clawctl image build "$@" --out dist
# A dry run builds nothing. upload-image.sh takes this link.
if [[ -f dist/image.json && " $* " != *' --dry-run '* ]]; then
  image=$(node -p 'JSON.parse(require("node:fs").readFileSync("dist/image.json", "utf8")).path')
  [[ $image == /* ]] || image=$CHECKOUT/dist/$image
  ln -sfn "$image" dist/nixos.img
fi
