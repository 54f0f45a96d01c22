# Partial: scripts/platform.sh gives bucket and region as -backend-config. It also makes the first apply, before there is
# a bucket to keep the state in. Without `encrypt`, which would ask for S3's own key: the bucket encrypts everything
# with its key by itself.
terraform {
  backend "s3" {
    key          = "state/platform.tfstate"
    use_lockfile = true
  }
}
