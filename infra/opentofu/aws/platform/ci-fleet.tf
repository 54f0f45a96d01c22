locals {
  ami_owners        = concat([local.account_id], sort(var.ami_owners))
  ec2               = "arn:${local.partition}:ec2:${var.region}:${local.account_id}"
  host_roles        = "arn:${local.partition}:iam::${local.account_id}:role/clawdinator/*"
  host_profiles     = "arn:${local.partition}:iam::${local.account_id}:instance-profile/clawdinator/*"
  fleet_state       = "state/fleet.tfstate"
  fleet_state_locks = ["${var.bucket}/${local.fleet_state}", "${var.bucket}/${local.fleet_state}-md5"]
}

# Permissions of `clawctl fleet deploy` and of OpenTofu with the fleet stack. docs/security.md lists them; a test compares both.
data "aws_iam_policy_document" "fleet_deploy" {
  source_policy_documents = [
    data.aws_iam_policy_document.fleet_read.json,
    data.aws_iam_policy_document.bucket_key.json,
  ]

  # Bundles, heartbeats, active machines, freezes and cancellations. Not control/people, which only the Control API reads.
  statement {
    sid     = "ReadBundlesAndHeartbeats"
    actions = ["s3:GetObject"]
    resources = [
      "${aws_s3_bucket.fleet.arn}/active/*",
      "${aws_s3_bucket.fleet.arn}/bootstrap/*",
      "${aws_s3_bucket.fleet.arn}/control/cancel/*",
      "${aws_s3_bucket.fleet.arn}/control/freeze.json",
      "${aws_s3_bucket.fleet.arn}/heartbeats/*",
      "${aws_s3_bucket.fleet.arn}/${local.fleet_state}.*",
    ]
  }

  # `.errored` keeps a state that could not be written, until a deploy pushes it.
  statement {
    sid     = "WriteRecordsAndItsState"
    actions = ["s3:PutObject"]
    resources = [
      "${aws_s3_bucket.fleet.arn}/active/*",
      "${aws_s3_bucket.fleet.arn}/deploys/*",
      "${aws_s3_bucket.fleet.arn}/${local.fleet_state}",
      "${aws_s3_bucket.fleet.arn}/${local.fleet_state}.errored",
    ]
  }

  statement {
    sid     = "ClearWhatBelongsToNoMachine"
    actions = ["s3:DeleteObject"]
    resources = [
      "${aws_s3_bucket.fleet.arn}/active/*",
      "${aws_s3_bucket.fleet.arn}/heartbeats/*",
      "${aws_s3_bucket.fleet.arn}/${local.fleet_state}.errored",
    ]
  }

  statement {
    sid       = "LockItsState"
    actions   = ["s3:DeleteObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/${local.fleet_state}.tflock"]
  }

  statement {
    sid       = "LockItsStateInTheTable"
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.locks.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = local.fleet_state_locks
    }
  }

  statement {
    sid       = "KeyThroughTheLockTable"
    actions   = ["kms:GenerateDataKey"]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["dynamodb.${var.region}.amazonaws.com"]
    }
  }

  # A launch needs statements for the instance, its network, its volume and its image.
  statement {
    sid       = "LaunchHosts"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/app"
      values   = ["clawdinator"]
    }

    # Requires IMDSv2, whatever the stack sets.
    condition {
      test     = "StringEquals"
      variable = "ec2:MetadataHttpTokens"
      values   = ["required"]
    }
  }

  statement {
    sid     = "LaunchHostsIntoTheVpc"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.ec2}:network-interface/*",
      "${local.ec2}:security-group/*",
      "${local.ec2}:subnet/*",
    ]

    condition {
      test     = "ArnEquals"
      variable = "ec2:Vpc"
      values   = ["${local.ec2}:vpc/${data.aws_vpc.fleet.id}"]
    }
  }

  statement {
    sid       = "LaunchHostsEncrypted"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:volume/*"]

    condition {
      test     = "Bool"
      variable = "ec2:Encrypted"
      values   = ["true"]
    }
  }

  statement {
    sid       = "LaunchHostsFromOwnImages"
    actions   = ["ec2:RunInstances"]
    resources = ["arn:${local.partition}:ec2:${var.region}::image/*", "arn:${local.partition}:ec2:${var.region}::snapshot/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:Owner"
      values   = local.ami_owners
    }
  }

  # For an image that is encrypted with the project's key.
  statement {
    sid = "BootEncryptedImages"
    actions = [
      "kms:Decrypt",
      "kms:DescribeKey",
      "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "LetEbsUseTheKey"
    actions   = ["kms:CreateGrant"]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "TagWhatItMakes"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:instance/*", "${local.ec2}:security-group/*", "${local.ec2}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup", "RunInstances"]
    }
  }

  # A failed AMI is not deployed again.
  statement {
    sid       = "MarkImagesThatFailed"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${local.partition}:ec2:${var.region}::image/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:Owner"
      values   = [local.account_id]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"
      values   = ["clawdinator:failed"]
    }

    condition {
      test     = "Null"
      variable = "aws:TagKeys"
      values   = ["false"]
    }
  }

  # Stop: fences an old machine that did not yield. Start: a rollback after that.
  statement {
    sid = "FenceAndEndHosts"
    actions = [
      "ec2:GetConsoleOutput",
      "ec2:StartInstances",
      "ec2:StopInstances",
      "ec2:TerminateInstances",
    ]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator"]
    }
  }

  statement {
    sid       = "MakeTheGroupOfTheFleet"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/app"
      values   = ["clawdinator"]
    }
  }

  statement {
    sid       = "MakeTheGroupInTheVpc"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:vpc/${data.aws_vpc.fleet.id}"]
  }

  # Ingress may only be revoked.
  statement {
    sid = "KeepTheGroupOfTheFleet"
    actions = [
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:CreateTags",
      "ec2:DeleteSecurityGroup",
      "ec2:DeleteTags",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator"]
    }
  }

  statement {
    sid       = "MakeRolesOfHostsWithTheBoundary"
    actions   = ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    resources = [local.host_roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [aws_iam_policy.host_boundary.arn]
    }
  }

  statement {
    sid = "KeepRolesOfHosts"
    actions = [
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:TagRole",
      "iam:UntagRole",
      "iam:UpdateAssumeRolePolicy",
    ]
    resources = [local.host_roles]
  }

  statement {
    sid = "KeepProfilesOfHosts"
    actions = [
      "iam:AddRoleToInstanceProfile",
      "iam:CreateInstanceProfile",
      "iam:DeleteInstanceProfile",
      "iam:RemoveRoleFromInstanceProfile",
      "iam:TagInstanceProfile",
      "iam:UntagInstanceProfile",
    ]
    # AddRoleToInstanceProfile also needs the role as a resource.
    resources = [local.host_profiles, local.host_roles]
  }

  statement {
    sid       = "PassRolesOfHostsToEc2"
    actions   = ["iam:PassRole"]
    resources = [local.host_roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
}

# Permissions of `clawctl fleet drift`: read-only.
data "aws_iam_policy_document" "fleet_drift" {
  source_policy_documents = [data.aws_iam_policy_document.fleet_read.json]
}

# Reads of fleet_deploy and fleet_drift.
data "aws_iam_policy_document" "fleet_read" {
  statement {
    sid = "SeeTheFleet"
    actions = [
      "ec2:DescribeImages",
      "ec2:DescribeInstanceAttribute",
      "ec2:DescribeInstanceCreditSpecifications",
      "ec2:DescribeInstanceStatus",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeInstances",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeTags",
      "ec2:DescribeVolumes",
      "ec2:DescribeVpcs",
    ]
    # Describe calls of EC2 can't be limited to resources.
    resources = ["*"]
  }

  statement {
    sid       = "ReadRecordsAndState"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/deploys/*", "${aws_s3_bucket.fleet.arn}/${local.fleet_state}"]
  }

  statement {
    sid       = "DecryptThroughItsServices"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["dynamodb.${var.region}.amazonaws.com", "s3.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "ListTheBucket"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.fleet.arn]
  }

  # With a lock table, the backend compares the state with a digest in the table.
  statement {
    sid       = "ReadTheDigestOfTheState"
    actions   = ["dynamodb:GetItem"]
    resources = [aws_dynamodb_table.locks.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = local.fleet_state_locks
    }
  }

  statement {
    sid       = "SeeTheTable"
    actions   = ["dynamodb:DescribeTable"]
    resources = [aws_dynamodb_table.locks.arn]
  }

  statement {
    sid = "SeeRolesAndProfilesOfHosts"
    actions = [
      "iam:GetInstanceProfile",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListInstanceProfileTags",
      "iam:ListInstanceProfilesForRole",
      "iam:ListRolePolicies",
      "iam:ListRoleTags",
    ]
    resources = [local.host_profiles, local.host_roles]
  }
}
