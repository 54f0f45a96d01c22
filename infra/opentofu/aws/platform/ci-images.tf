# What `clawctl image upload | import | list | prune | smoke` call.
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
    # EC2's Describe calls know no resource to limit them to.
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

  # `image prune` keeps what a host could go back to, which the records and the state tell.
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

  # A snapshot is written to by whoever knows its id, until it is completed.
  statement {
    sid       = "FillSnapshots"
    actions   = ["ebs:CompleteSnapshot", "ebs:PutSnapshotBlock"]
    resources = ["arn:${local.partition}:ec2:${var.region}::snapshot/*"]
  }

  # Snapshots that are to be encrypted with the project's key, where somebody asks for it, and the boot of such an image.
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

  # Only what it makes, as it makes it, …
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

  # … or has made: `clawdinator=true` is put on last, when the image is available, and `withdrawn` when it does not boot.
  # With a free hand it could mark a foreign image or backup as the project's, and then delete it.
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

  # VM Import makes snapshots without tags, and of no volume: EC2 writes vol-ffffffff there. A snapshot of a volume, a
  # backup say, is none of these.
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

  # What was being written when it failed.
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

  # The smoke boot: an instance of its own tag, so that neither role may touch the other's machines.
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

    # No role, so nothing that it could reach.
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

  # Into its own group, which is tagged as it is made: another one could let it reach the memory.
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
