# Permissions of `clawctl image upload | import | list | prune | smoke`.
data "aws_iam_policy_document" "image_build" {
  source_policy_documents = [data.aws_iam_policy_document.bucket_key.json]

  statement {
    sid = "SeeImages"
    actions = [
      "ec2:DescribeImages",
      "ec2:DescribeImportSnapshotTasks",
      "ec2:DescribeInstanceStatus",
      "ec2:DescribeInstances",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSnapshots",
      "ec2:DescribeSubnets",
    ]
    # Describe calls of EC2 can't be limited to resources.
    resources = ["*"]
  }

  statement {
    sid = "KeepRawImages"
    actions = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:ListMultipartUploadParts",
      "s3:PutObject",
    ]
    resources = ["${aws_s3_bucket.fleet.arn}/images/*"]
  }

  statement {
    sid       = "ListTheBucket"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.fleet.arn]
  }

  # `image prune` keeps rollback targets and AMIs in use, which the records and the state name.
  statement {
    sid     = "ReadWhatRefersToImages"
    actions = ["s3:GetObject"]
    resources = [
      "${aws_s3_bucket.fleet.arn}/deploys/*",
      "${aws_s3_bucket.fleet.arn}/${local.fleet_state}",
    ]
  }

  statement {
    sid     = "MakeSnapshots"
    actions = ["ebs:StartSnapshot", "ec2:ImportSnapshot"]
    resources = [
      "${local.ec2}:import-snapshot-task/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]
  }

  # Needed for a direct upload. Only incomplete snapshots can be written.
  statement {
    sid       = "FillSnapshots"
    actions   = ["ebs:CompleteSnapshot", "ebs:PutSnapshotBlock"]
    resources = ["arn:${local.partition}:ec2:${var.region}::snapshot/*"]
  }

  # For snapshots that are encrypted with the project's key, and the smoke boot of such an image.
  statement {
    sid = "EncryptSnapshots"
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
      values   = ["ebs.${var.region}.amazonaws.com", "ec2.${var.region}.amazonaws.com"]
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
      values   = ["ebs.${var.region}.amazonaws.com", "ec2.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid     = "RegisterImages"
    actions = ["ec2:RegisterImage"]
    resources = [
      "arn:${local.partition}:ec2:${var.region}::image/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]
  }

  # Tags at the creation of an object.
  statement {
    sid     = "TagWhatItMakes"
    actions = ["ec2:CreateTags"]
    resources = [
      "${local.ec2}:import-snapshot-task/*",
      "${local.ec2}:instance/*",
      "${local.ec2}:security-group/*",
      "${local.ec2}:volume/*",
      "arn:${local.partition}:ec2:${var.region}::image/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup", "ImportSnapshot", "RegisterImage", "RunInstances", "StartSnapshot"]
    }
  }

  # After creation: `clawdinator=true` comes when the image is available, `withdrawn` when it does not boot. Without the
  # condition this role could tag other images and backups as the project's, and then delete them.
  statement {
    sid     = "TagItsImages"
    actions = ["ec2:CreateTags"]
    resources = [
      "arn:${local.partition}:ec2:${var.region}::image/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator"]
    }
  }

  # Snapshots of VM Import have no tags, and EC2 names vol-ffffffff as their volume. Backups name their own volume.
  statement {
    sid       = "TagImportedSnapshots"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${local.partition}:ec2:${var.region}::snapshot/*"]

    condition {
      test     = "ArnLike"
      variable = "ec2:ParentVolume"
      values   = ["${local.ec2}:volume/vol-ffffffff"]
    }

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/app"
      values   = ["true"]
    }
  }

  statement {
    sid     = "PruneImages"
    actions = ["ec2:DeleteSnapshot", "ec2:DeregisterImage"]
    resources = [
      "arn:${local.partition}:ec2:${var.region}::image/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator"]
    }
  }

  statement {
    sid       = "DropHalfWrittenSnapshots"
    actions   = ["ec2:DeleteSnapshot"]
    resources = ["arn:${local.partition}:ec2:${var.region}::snapshot/*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/clawctl:writes"
      values   = ["false"]
    }
  }

  # The smoke boot has its own tag, so that this role and the deploy role can't change each other's machines.
  statement {
    sid       = "LaunchTheSmokeBoot"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/app"
      values   = ["clawdinator-smoke"]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:MetadataHttpTokens"
      values   = ["required"]
    }

    # Without a role the machine has no access to AWS.
    condition {
      test     = "Null"
      variable = "ec2:InstanceProfile"
      values   = ["true"]
    }
  }

  statement {
    sid     = "LaunchTheSmokeBootInTheRegion"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.ec2}:network-interface/*",
      "${local.ec2}:subnet/*",
      "${local.ec2}:volume/*",
      "arn:${local.partition}:ec2:${var.region}::image/*",
      "arn:${local.partition}:ec2:${var.region}::snapshot/*",
    ]
  }

  # Only into its own group, which is tagged at its creation: another group could let the machine reach the memory.
  statement {
    sid       = "LaunchTheSmokeBootIntoItsGroup"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator-smoke"]
    }
  }

  statement {
    sid       = "EndTheSmokeBoot"
    actions   = ["ec2:DeleteSecurityGroup", "ec2:GetConsoleOutput", "ec2:RevokeSecurityGroupEgress", "ec2:TerminateInstances"]
    resources = ["${local.ec2}:instance/*", "${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator-smoke"]
    }
  }

  statement {
    sid       = "IsolateTheSmokeBoot"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/app"
      values   = ["clawdinator-smoke"]
    }
  }

  statement {
    sid       = "IsolateTheSmokeBootInTheVpc"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:vpc/${data.aws_vpc.fleet.id}"]
  }
}
