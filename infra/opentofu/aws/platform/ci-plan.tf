# Permissions of a plan of this stack: in the bucket only its own state, and the key only for that state.
data "aws_iam_policy_document" "platform_plan" {
  statement {
    sid       = "ReadItsState"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/state/platform.tfstate"]
  }

  statement {
    sid       = "DecryptItsState"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid = "SeeTheBuckets"
    actions = [
      "s3:GetAccelerateConfiguration",
      "s3:GetBucketAcl",
      "s3:GetBucketCORS",
      "s3:GetBucketLocation",
      "s3:GetBucketLogging",
      "s3:GetBucketObjectLockConfiguration",
      "s3:GetBucketOwnershipControls",
      "s3:GetBucketPolicy",
      "s3:GetBucketPublicAccessBlock",
      "s3:GetBucketRequestPayment",
      "s3:GetBucketTagging",
      "s3:GetBucketVersioning",
      "s3:GetBucketWebsite",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration",
      "s3:ListBucket",
      "s3:ListTagsForResource",
    ]
    resources = [aws_s3_bucket.access_log.arn, aws_s3_bucket.fleet.arn]
  }

  statement {
    sid       = "SeeTheKey"
    actions   = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"]
    resources = [aws_kms_key.bucket.arn]
  }

  statement {
    sid = "SeeTheTable"
    actions = [
      "dynamodb:DescribeContinuousBackups",
      "dynamodb:DescribeTable",
      "dynamodb:DescribeTimeToLive",
      "dynamodb:ListTagsOfResource",
    ]
    resources = [aws_dynamodb_table.locks.arn]
  }

  statement {
    sid = "SeeTheMemory"
    actions = [
      "elasticfilesystem:DescribeBackupPolicy",
      "elasticfilesystem:DescribeFileSystemPolicy",
      "elasticfilesystem:DescribeFileSystems",
      "elasticfilesystem:DescribeLifecycleConfiguration",
      "elasticfilesystem:DescribeMountTargetSecurityGroups",
      "elasticfilesystem:DescribeMountTargets",
      "elasticfilesystem:ListTagsForResource",
    ]
    resources = [aws_efs_file_system.memory.arn]
  }

  statement {
    sid = "SeeTheControlApi"
    actions = [
      "lambda:GetFunction",
      "lambda:GetFunctionCodeSigningConfig",
      "lambda:GetFunctionConcurrency",
      "lambda:GetFunctionConfiguration",
      "lambda:GetFunctionUrlConfig",
      "lambda:GetPolicy",
      "lambda:ListTags",
      "lambda:ListVersionsByFunction",
    ]
    resources = [aws_lambda_function.control_api.arn]
  }

  statement {
    sid       = "SeeTheTopic"
    actions   = ["sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListTagsForResource"]
    resources = [aws_sns_topic.alarms.arn, "${aws_sns_topic.alarms.arn}:*"]
  }

  statement {
    sid       = "SeeTheDashboard"
    actions   = ["cloudwatch:GetDashboard"]
    resources = ["arn:${local.partition}:cloudwatch::${local.account_id}:dashboard/clawdinator"]
  }

  statement {
    sid       = "SeeTheSchedule"
    actions   = ["events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"]
    resources = [aws_cloudwatch_event_rule.watch.arn]
  }

  statement {
    sid = "SeeRolesOfThisStack"
    actions = [
      "iam:GetOpenIDConnectProvider",
      "iam:GetPolicy",
      "iam:GetPolicyVersion",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListPolicyVersions",
      "iam:ListRolePolicies",
    ]
    resources = [
      aws_iam_role.control_api.arn,
      aws_iam_role.vmimport.arn,
      local.oidc_provider_arn,
      "arn:${local.partition}:iam::${local.account_id}:policy/clawdinator-ci/*",
      "arn:${local.partition}:iam::${local.account_id}:role/clawdinator-ci/*",
    ]
  }

  statement {
    sid = "SeeWhatHasNoNarrowerName"
    actions = [
      "cloudwatch:DescribeAlarms",
      "cloudwatch:ListTagsForResource",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcAttribute",
      "ec2:DescribeVpcs",
      "kms:ListAliases",
      "logs:DescribeLogGroups",
      "logs:ListTagsForResource",
    ]
    # These calls can't be limited to resources.
    resources = ["*"]
  }
}
