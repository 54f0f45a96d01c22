# One role an instance: with a shared one any host could read every bundle.
resource "aws_iam_role" "clawdinator" {
  for_each = local.hosts

  name                 = each.key
  path                 = "/clawdinator/"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Instance"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })

  tags = {
    app              = "clawdinator"
    "clawdinator:id" = each.key
  }
}

resource "aws_iam_role_policy" "clawdinator" {
  for_each = local.hosts

  name = "own-bundle-and-heartbeat"
  role = aws_iam_role.clawdinator[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadOwnBundle"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = "arn:aws:s3:::${var.bucket}/${each.value.bootstrapPrefix}/*"
        },
        {
          Sid       = "ListOwnBundle"
          Effect    = "Allow"
          Action    = "s3:ListBucket"
          Resource  = "arn:aws:s3:::${var.bucket}"
          Condition = { StringLike = { "s3:prefix" = "${each.value.bootstrapPrefix}/*" } }
        },
        {
          Sid      = "WriteOwnHeartbeat"
          Effect   = "Allow"
          Action   = "s3:PutObject"
          Resource = "arn:aws:s3:::${var.bucket}/heartbeats/${each.key}.json"
        },
      ],
      var.kms_key_arn == null ? [] : [
        {
          Sid       = "BucketKeyThroughS3Only"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = var.kms_key_arn
          Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
        },
      ],
    )
  })
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
