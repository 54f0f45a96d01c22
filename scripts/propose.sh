#!/usr/bin/env bash
# Commits what changed in a workflow's checkout to a branch and opens a pull request for it, or renews the open one. Needs
# gh with GH_TOKEN, GITHUB_REPOSITORY, and BASE, the branch to merge into.
#
#   scripts/propose.sh BRANCH TITLE BODY     The branch is this one's alone: it is overwritten.
set -euo pipefail

branch=$1
title=$2
body=$3
git add --all
if git diff --cached --quiet; then
  echo 'Nothing changed: there is nothing to propose.'
  exit 0
fi

git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message "$title"
# The token comes from gh's credential helper: it is in no argument and in no configuration.
gh auth setup-git
git push --quiet --force "https://github.com/$GITHUB_REPOSITORY.git" "HEAD:refs/heads/$branch"

# Of open ones: `gh pr view` also finds one that was closed, which a push does not open again.
open=$(gh pr list --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --state open --json number --jq length)
if [[ $open == 0 ]]; then
  gh pr create --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --title "$title" \
    --body "$body CI does not run by itself on what a workflow proposes: close and open this pull request to start it."
fi
