#!/usr/bin/env bash
# Commits what changed in a workflow's checkout to BRANCH and opens a pull request, or updates the open one. Only one
# workflow writes BRANCH. Needs gh with GH_TOKEN, GITHUB_REPOSITORY, and BASE, the branch to merge into.
#
#   scripts/propose.sh BRANCH TITLE BODY
set -euo pipefail

branch=$1
title=$2
body=$3
git add --all
if git diff --cached --quiet; then
  echo 'Nothing changed.'
  exit 0
fi

git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message "$title"
# gh's credential helper keeps the token out of arguments and configuration.
gh auth setup-git
git push --quiet --force "https://github.com/$GITHUB_REPOSITORY.git" "HEAD:refs/heads/$branch"

# `gh pr view` also finds closed ones, which a push does not open again.
open=$(gh pr list --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --state open --json number --jq length)
if [[ $open == 0 ]]; then
  gh pr create --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --title "$title" \
    --body "$body GitHub does not start CI for a pull request of a workflow: close it and open it again."
fi
