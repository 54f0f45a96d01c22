#!/usr/bin/env bash
# Commits the lock files of the stacks to a branch of their own and opens a pull request, where they changed. Needs gh with
# GH_TOKEN, GITHUB_REPOSITORY, and BASE, the branch to merge into.
set -euo pipefail

branch=tofu-lock
git add infra/opentofu/aws/*/.terraform.lock.hcl
if git diff --cached --quiet; then
  echo 'The lock files hold these hashes already.'
  exit 0
fi

git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message 'Lock the providers of both stacks'
# The token comes from gh's credential helper: it is in no argument and in no configuration.
gh auth setup-git
# The branch is this workflow's alone, and holds nothing but the newest lock files.
git push --quiet --force "https://github.com/$GITHUB_REPOSITORY.git" "HEAD:refs/heads/$branch"

open=$(gh pr list --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" --state open --json number --jq length)
if [[ $open == 0 ]]; then
  gh pr create --repo "$GITHUB_REPOSITORY" --head "$branch" --base "$BASE" \
    --title 'Lock the providers of both stacks' \
    --body 'Hashes from the registry for linux and darwin, amd64 and arm64. Checks of a pull request by GITHUB_TOKEN do not start by themselves: close it and open it again.'
fi
