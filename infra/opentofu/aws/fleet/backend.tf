# Partial: clawctl gives bucket, key, region and, where there is a lock table, dynamodb_table as -backend-config.
# Without `encrypt`, which would ask for S3's own key: the bucket encrypts everything with its key by itself.
terraform {
  backend "s3" {
    use_lockfile = true
  }
}
