#!/usr/bin/env bash
# Commits changed lock files of the stacks to the branch `tofu-lock` and opens a pull request. Needs gh with GH_TOKEN,
# GITHUB_REPOSITORY, and BASE, the branch to merge into.
set -euo pipefail

branch=tofu-lock
git add infra/opentofu/aws/*/.terraform.lock.hcl
if git diff --cached --quiet; then
  echo 'The lock files have these hashes already.'
  exit 0
fi

git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message 'Lock the providers of both stacks'
# gh's credential helper keeps the token out of arguments and configuration.
gh auth setup-git
# Only this workflow writes the branch.
git push --quiet --force "https://github.com/$GITHUB_REPOSITORY.git" "HEAD:refs/heads/$branch"

open=$(gh pr list --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --state open --json number --jq length)
if [[ $open == 0 ]]; then
  gh pr create --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" \
    --title 'Lock the providers of both stacks' \
    --body 'Hashes from the registry for linux and darwin, amd64 and arm64. GitHub does not start checks for a pull request by GITHUB_TOKEN: close it and open it again.'
fi
