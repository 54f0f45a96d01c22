# One role for each instance: with a shared role each host could read every bundle.
resource "aws_iam_role" "clawdinator" {
  for_each = local.hosts

  name                 = each.key
  path                 = "/clawdinator/"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = data.aws_iam_policy_document.ec2.json

  tags = {
    app              = "clawdinator"
    "clawdinator:id" = each.key
  }

  lifecycle {
    precondition {
      condition     = startswith(each.value.bootstrapPrefix, "bootstrap/")
      error_message = "The bootstrapPrefix of ${each.key} must begin with bootstrap/: hosts, CI and the Control API may read bundles only there. Correct nix/instances.json."
    }
  }
}

data "aws_iam_policy_document" "ec2" {
  statement {
    sid     = "Instance"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "clawdinator" {
  for_each = local.hosts

  name   = "own-bundle-and-heartbeat"
  role   = aws_iam_role.clawdinator[each.key].id
  policy = data.aws_iam_policy_document.clawdinator[each.key].json
}

data "aws_iam_policy_document" "clawdinator" {
  for_each = local.hosts

  statement {
    sid     = "ReadOwnBundleAndWhoIsActive"
    actions = ["s3:GetObject"]
    resources = [
      "arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/${each.value.bootstrapPrefix}/*",
      "arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/active/${each.key}.json",
    ]
  }

  # Without it S3 answers AccessDenied for a missing object.
  statement {
    sid       = "ListOwnObjects"
    actions   = ["s3:ListBucket"]
    resources = ["arn:${data.aws_partition.this.partition}:s3:::${var.bucket}"]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.value.bootstrapPrefix}/*", "active/${each.key}.json"]
    }
  }

  statement {
    sid       = "WriteOwnHeartbeats"
    actions   = ["s3:PutObject"]
    resources = ["arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/heartbeats/${each.key}/*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "BucketKeyThroughS3Only"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_instance_profile" "clawdinator" {
  for_each = local.hosts

  name = each.key
  path = "/clawdinator/"
  role = aws_iam_role.clawdinator[each.key].name

  tags = {
    app              = "clawdinator"
    "clawdinator:id" = each.key
  }
}
