# The access log of the bucket, which contains bundles and states. S3 writes logs only to buckets that are encrypted with S3's
# key.
resource "aws_s3_bucket" "access_log" {
  bucket = "${var.bucket}-access-log"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "access_log" {
  bucket = aws_s3_bucket.access_log.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "access_log" {
  bucket = aws_s3_bucket.access_log.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "access_log" {
  bucket                  = aws_s3_bucket.access_log.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "access_log" {
  bucket = aws_s3_bucket.access_log.id
  policy = data.aws_iam_policy_document.access_log.json

  depends_on = [aws_s3_bucket_public_access_block.access_log]
}

data "aws_iam_policy_document" "access_log" {
  statement {
    sid       = "DeliverTheLog"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.access_log.arn}/*"]

    principals {
      type        = "Service"
      identifiers = ["logging.s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.fleet.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }

  # Capital letter: see the policy of the fleet's bucket.
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["S3:*"]
    resources = [aws_s3_bucket.access_log.arn, "${aws_s3_bucket.access_log.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "access_log" {
  bucket = aws_s3_bucket.access_log.id

  rule {
    id     = "old-entries"
    status = "Enabled"

    filter {}

    expiration {
      days = var.access_log_retention_days
    }
  }
}

resource "aws_s3_bucket_logging" "fleet" {
  bucket        = aws_s3_bucket.fleet.id
  target_bucket = aws_s3_bucket.access_log.id
  target_prefix = "s3/"

  # S3 checks its permission when logging is enabled.
  depends_on = [aws_s3_bucket_policy.access_log]
}
