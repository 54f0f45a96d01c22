# Workflows assume their roles by OIDC, without static keys. Each role has its own policy file.
locals {
  oidc_host         = "token.actions.githubusercontent.com"
  oidc_provider_arn = var.github_oidc_provider_arn == null ? one(aws_iam_openid_connect_provider.github[*].arn) : var.github_oidc_provider_arn

  owner      = split("/", var.github_repository)[0]
  repository = split("/", var.github_repository)[1]
  branch_ref = "refs/heads/${var.github_branch}"

  # `sub` contains the numbers for repositories that were created, renamed or transferred since July 2026.
  subject_prefixes = [
    "repo:${var.github_repository}",
    "repo:${local.owner}@${var.github_owner_id}/${local.repository}@${var.github_repository_id}",
  ]

  # `sub` of a job with an environment names that instead of the branch; `ref` and `job_workflow_ref` still name the branch.
  subject_ends = ["ref:${local.branch_ref}", "environment:fleet"]

  ci_roles = {
    fleet-deploy     = { workflows = ["fleet-deploy.yml", "fleet-recover.yml"], policy = data.aws_iam_policy_document.fleet_deploy.json, seconds = 7200 }
    fleet-drift      = { workflows = ["fleet-drift.yml"], policy = data.aws_iam_policy_document.fleet_drift.json, seconds = 3600 }
    image-build      = { workflows = ["image-build.yml"], policy = data.aws_iam_policy_document.image_build.json, seconds = 14400 }
    bootstrap-upload = { workflows = ["bootstrap-upload.yml"], policy = data.aws_iam_policy_document.bootstrap_upload.json, seconds = 3600 }
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.oidc_host}"
  client_id_list = ["sts.amazonaws.com"]
}

# Not in the path of the hosts' roles, because the deploy role must not change itself.
resource "aws_iam_role" "ci" {
  for_each = local.ci_roles

  name                 = "clawdinator-${each.key}"
  path                 = "/clawdinator-ci/"
  description          = "${join(" and ", each.value.workflows)} of ${var.github_repository}"
  assume_role_policy   = data.aws_iam_policy_document.ci_trust[each.key].json
  max_session_duration = each.value.seconds
}

resource "aws_iam_role_policy" "ci" {
  for_each = local.ci_roles

  name   = each.key
  role   = aws_iam_role.ci[each.key].id
  policy = each.value.policy
}

# Only this repository (by number, so not a renamed fork), this branch and this workflow.
data "aws_iam_policy_document" "ci_trust" {
  for_each = { for name, role in local.ci_roles : name => role.workflows }

  statement {
    sid     = "Workflow"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:sub"
      values   = flatten([for prefix in local.subject_prefixes : [for end in local.subject_ends : "${prefix}:${end}"]])
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:repository_id"
      values   = [var.github_repository_id]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:ref"
      values   = [local.branch_ref]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:job_workflow_ref"
      values   = [for workflow in each.value : "${var.github_repository}/.github/workflows/${workflow}@${local.branch_ref}"]
    }
  }
}

# infra.yml runs on pull requests, which may change the workflow itself, so this role can only read, and no secrets.
resource "aws_iam_role" "platform_plan" {
  name               = "clawdinator-platform-plan"
  path               = "/clawdinator-ci/"
  description        = "infra.yml of ${var.github_repository}: plans this stack on pull requests"
  assume_role_policy = data.aws_iam_policy_document.platform_plan_trust.json
}

resource "aws_iam_role_policy" "platform_plan" {
  name   = "platform-plan"
  role   = aws_iam_role.platform_plan.id
  policy = data.aws_iam_policy_document.platform_plan.json
}

data "aws_iam_policy_document" "platform_plan_trust" {
  statement {
    sid     = "PullRequest"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:sub"
      values   = [for prefix in local.subject_prefixes : "${prefix}:pull_request"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:repository_id"
      values   = [var.github_repository_id]
    }

    condition {
      test     = "StringLike"
      variable = "${local.oidc_host}:job_workflow_ref"
      values   = ["${var.github_repository}/.github/workflows/infra.yml@refs/pull/*/merge"]
    }
  }
}
