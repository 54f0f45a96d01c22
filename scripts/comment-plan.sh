#!/usr/bin/env bash
# Writes a plan into a comment of a pull request; later runs update that comment. Needs gh with GH_TOKEN, PULL_REQUEST and
# GITHUB_REPOSITORY.
set -euo pipefail

file=${1:?the file with the plan}
marker='<!-- platform plan -->'
# GitHub takes 65,536 characters.
limit=60000

body=$(mktemp)
trap 'rm -f "$body"' EXIT
# Longer than any fence in the plan, so that the plan does not become Markdown.
fence='``````````'
{
  printf '%s\n### Plan of the platform stack\n\n' "$marker"
  printf "A maintainer applies it: \`scripts/platform.sh apply\`.\n\n%s\n" "$fence"
  head -c "$limit" "$file"
  printf '\n%s\n' "$fence"
  if (($(wc -c <"$file") > limit)); then printf '\nShortened. The whole plan is in the log of the run.\n'; fi
} >"$body"

comments="repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments"
id=$(gh api --paginate "$comments" \
  --jq ".[] | select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$marker\"))) | .id" | head -n 1)
if [[ -n $id ]]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" --field "body=@$body"
else
  gh api --silent --method POST "$comments" --field "body=@$body"
fi
