resource "aws_kms_key" "bucket" {
  description             = "Clawdinator: bucket, lock table, memory and log"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "bucket" {
  name          = "alias/clawdinator"
  target_key_id = aws_kms_key.bucket.key_id
}

# In the policy of a key, the resource "*" is that key.
data "aws_iam_policy_document" "key" {
  # Lets IAM policies decide. Without the account, a wrong policy would make the key unusable forever.
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  statement {
    sid       = "LogOfTheControlApi"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${var.region}:${local.account_id}:log-group:${local.control_api_log_group}"]
    }
  }
}

# Every reader and writer of the bucket needs its key, only through S3.
data "aws_iam_policy_document" "bucket_key" {
  statement {
    sid       = "BucketKeyThroughS3"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.bucket.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_s3_bucket" "fleet" {
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "fleet" {
  bucket = aws_s3_bucket.fleet.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "fleet" {
  bucket = aws_s3_bucket.fleet.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.bucket.arn
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "fleet" {
  bucket = aws_s3_bucket.fleet.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "fleet" {
  bucket                  = aws_s3_bucket.fleet.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "fleet" {
  bucket = aws_s3_bucket.fleet.id
  policy = data.aws_iam_policy_document.bucket.json

  # S3 refuses concurrent changes of both.
  depends_on = [aws_s3_bucket_public_access_block.fleet]
}

# "S3:" with a capital letter: IAM ignores the case. Emulators that match it literally and ignore conditions would deny every
# request.
data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["S3:*"]
    resources = [aws_s3_bucket.fleet.arn, "${aws_s3_bucket.fleet.arn}/*"]

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

  # A request without encryption headers uses the bucket's key. These two deny other KMS keys and other encryption.
  statement {
    sid       = "NoOtherKey"
    effect    = "Deny"
    actions   = ["S3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "s3:x-amz-server-side-encryption"
      values   = ["aws:kms"]
    }

    # Also true for a request without a key id, for which S3 would use its AWS managed key.
    condition {
      test     = "StringNotEquals"
      variable = "s3:x-amz-server-side-encryption-aws-kms-key-id"
      values   = [aws_kms_key.bucket.arn]
    }
  }

  statement {
    sid       = "NoWeakerEncryption"
    effect    = "Deny"
    actions   = ["S3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    # StringNotEquals is also true for a request without the header.
    condition {
      test     = "Null"
      variable = "s3:x-amz-server-side-encryption"
      values   = ["false"]
    }

    condition {
      test     = "StringNotEquals"
      variable = "s3:x-amz-server-side-encryption"
      values   = ["aws:kms"]
    }
  }
}

# Only images, claims and replaced versions expire. Current states, bundles, records and secrets do not.
resource "aws_s3_bucket_lifecycle_configuration" "fleet" {
  bucket = aws_s3_bucket.fleet.id

  rule {
    id     = "old-images"
    status = "Enabled"

    filter {
      prefix = "images/"
    }

    expiration {
      days = var.image_retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "replaced-bundles"
    status = "Enabled"

    filter {
      prefix = "bootstrap/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # Every host replaces its heartbeat each minute.
  rule {
    id     = "replaced-heartbeats"
    status = "Enabled"

    filter {
      prefix = "heartbeats/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "replaced-holders"
    status = "Enabled"

    filter {
      prefix = "active/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  rule {
    id     = "replaced-control-objects"
    status = "Enabled"

    filter {
      prefix = "control/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  rule {
    id     = "replaced-records"
    status = "Enabled"

    filter {
      prefix = "deploys/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }
  }

  # A request id is valid for 30 days, too: docs/adr/0063.
  rule {
    id     = "old-claims"
    status = "Enabled"

    filter {
      prefix = "claims/"
    }

    expiration {
      days = 30
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "replaced-secrets"
    status = "Enabled"

    filter {
      prefix = "control-api/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "replaced-states"
    status = "Enabled"

    filter {
      prefix = "state/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 365
    }
  }

  # Rules for noncurrent versions need versioning.
  depends_on = [aws_s3_bucket_versioning.fleet]
}

resource "aws_dynamodb_table" "locks" {
  name                        = var.lock_table
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "LockID"
  deletion_protection_enabled = true

  attribute {
    name = "LockID"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.bucket.arn
  }

  lifecycle {
    prevent_destroy = true
  }
}
