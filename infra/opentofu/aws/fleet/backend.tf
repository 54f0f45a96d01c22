# Partial: clawctl passes bucket, key, region and, if there is a lock table, dynamodb_table as -backend-config.
# Without `encrypt`, which would use S3's key; the bucket encrypts each object with its own key.
terraform {
  backend "s3" {
    use_lockfile = true
  }
}
