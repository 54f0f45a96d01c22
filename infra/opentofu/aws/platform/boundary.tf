# Limits the role of each host, whatever policy the fleet stack gives it. The deploy role can create roles only with this
# boundary.
resource "aws_iam_policy" "host_boundary" {
  name        = "clawdinator-host-boundary"
  path        = "/clawdinator-ci/"
  description = "The most that the role of a CLAWDINATOR host may hold"
  policy      = data.aws_iam_policy_document.host_boundary.json
}

data "aws_iam_policy_document" "host_boundary" {
  source_policy_documents = [data.aws_iam_policy_document.bucket_key.json]

  statement {
    sid       = "ReadBundlesAndWhoIsActive"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/active/*", "${aws_s3_bucket.fleet.arn}/bootstrap/*"]
  }

  statement {
    sid       = "ListBundles"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.fleet.arn]
  }

  statement {
    sid       = "WriteHeartbeats"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/heartbeats/*"]
  }
}
