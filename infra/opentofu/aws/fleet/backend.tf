# Partial: clawctl gives bucket, key, region and, where there is a lock table, dynamodb_table as -backend-config.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
