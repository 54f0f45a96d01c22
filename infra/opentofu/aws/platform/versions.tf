terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Both stacks were tested with this version. .github/workflows/tofu-lock.yml updates its hashes.
      version = "6.47.0"
    }
  }
}

# Endpoints, credentials and account come from the environment (AWS_ENDPOINT_URL, AWS_PROFILE, …).
provider "aws" {
  region = var.region
  # For emulators, which have no host name for each bucket. AWS accepts both styles.
  s3_use_path_style = true

  default_tags {
    # Not `app`: the deploy role may change objects with that tag.
    tags = { project = "clawdinator", stack = "platform" }
  }
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  # Account ids of LocalStack and moto, which AWS does not assign.
  emulated = contains(["000000000000", "123456789012"], local.account_id)
}
