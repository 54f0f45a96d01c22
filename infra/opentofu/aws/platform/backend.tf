# Partial: scripts/platform.sh passes bucket and region as -backend-config, and makes the first apply, before the bucket exists.
# Without `encrypt`, which would use S3's key; the bucket encrypts each object with its own key.
terraform {
  backend "s3" {
    key          = "state/platform.tfstate"
    use_lockfile = true
  }
}
