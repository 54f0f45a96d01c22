# Partial: scripts/platform-apply.sh gives bucket, region, KMS key and lock table as -backend-config. It also makes the
# first apply, before there is a bucket to keep the state in.
terraform {
  backend "s3" {
    key          = "state/platform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
