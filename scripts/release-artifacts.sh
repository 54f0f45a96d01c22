#!/usr/bin/env bash
# Builds the files of a release: the npm package, lambda.zip, a CycloneDX SBOM of both, and SHA256SUMS. The same commit gives
# the same bytes: release.yml builds twice and compares.
#   scripts/release-artifacts.sh FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# != 1)); then
  echo 'Usage: scripts/release-artifacts.sh FOLDER' >&2
  exit 2
fi
if [[ ! -d node_modules ]]; then
  echo 'The packages are not installed. Run npm ci first.' >&2
  exit 2
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
version=$(node -p 'require("./package.json").version')

npm pack --silent --pack-destination "$folder" >/dev/null
cp dist/lambda.zip "$folder/lambda-$version.zip"
# npm adds a time and a random number to each SBOM.
npm sbom --sbom-format cyclonedx --omit dev --package-lock-only |
  node -e '
    const sbom = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
    delete sbom.serialNumber
    delete sbom.metadata.timestamp
    sbom.metadata.component.name = "clawctl"
    process.stdout.write(JSON.stringify(sbom, null, 2) + "\n")' >"$folder/clawctl-$version.cdx.json"

cd "$folder"
sha256sum "clawctl-$version.tgz" "lambda-$version.zip" "clawctl-$version.cdx.json" >SHA256SUMS
