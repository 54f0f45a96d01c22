#!/usr/bin/env bash
# Mints a short-lived installation token of the GitHub App.
#
#   ./scripts/mint-github-app-token.sh --out FILE     an env file (GITHUB_TOKEN=…), mode 0640
#   ./scripts/mint-github-app-token.sh --stdout       only the token
#
# Needs GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID, GITHUB_APP_PRIVATE_KEY_FILE. The same as: clawctl github token
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/clawctl.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/clawctl.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage_from_head
  exit 0
fi
clawctl github token "$@"
