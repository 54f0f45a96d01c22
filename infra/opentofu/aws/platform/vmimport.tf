# VM Import requires this role name: https://docs.aws.amazon.com/vm-import/latest/userguide/required-permissions.html
resource "aws_iam_role" "vmimport" {
  name               = "vmimport"
  description        = "VM Import reads the raw image of the bucket"
  assume_role_policy = data.aws_iam_policy_document.vmimport_trust.json
}

data "aws_iam_policy_document" "vmimport_trust" {
  statement {
    sid     = "VmImport"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vmie.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:Externalid"
      values   = ["vmimport"]
    }
  }
}

resource "aws_iam_role_policy" "vmimport" {
  name   = "images-of-the-bucket"
  role   = aws_iam_role.vmimport.id
  policy = data.aws_iam_policy_document.vmimport.json
}

data "aws_iam_policy_document" "vmimport" {
  statement {
    sid       = "LookAtTheBucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [aws_s3_bucket.fleet.arn]
  }

  statement {
    sid       = "ReadImages"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/images/*"]
  }

  statement {
    sid       = "DecryptImages"
    actions   = ["kms:Decrypt", "kms:DescribeKey"]
    resources = [aws_kms_key.bucket.arn]
  }

  statement {
    sid     = "MakeSnapshots"
    actions = ["ec2:CopySnapshot", "ec2:Describe*", "ec2:ModifySnapshotAttribute", "ec2:RegisterImage"]
    # As AWS documents it: ids of new snapshots are not known before.
    resources = ["*"]
  }
}
