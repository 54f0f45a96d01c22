# Permissions of `clawctl bootstrap upload | verify`. No other role may write bundles.
data "aws_iam_policy_document" "bootstrap_upload" {
  source_policy_documents = [data.aws_iam_policy_document.bucket_key.json]

  statement {
    sid = "KeepBundles"
    actions = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:PutObject",
    ]
    resources = ["${aws_s3_bucket.fleet.arn}/bootstrap/*"]
  }

  statement {
    sid       = "ListTheBucket"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.fleet.arn]
  }
}
