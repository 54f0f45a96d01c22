terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The one that both stacks were run with. .github/workflows/tofu-lock.yml renews it with the hashes of its platforms.
      version = "6.47.0"
    }
  }
}

# Endpoints, credentials and account come from the provider's own variables (AWS_ENDPOINT_URL, AWS_PROFILE, …).
provider "aws" {
  region = var.region
  # AWS takes both styles; an endpoint of its own (an emulator, say) rarely has a name for every bucket.
  s3_use_path_style = true

  default_tags {
    # Not `app`: that tag marks what the deploy role may change.
    tags = { project = "clawdinator", stack = "platform" }
  }
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  # Numbers that AWS gives to nobody: LocalStack's, and the one of AWS's own examples, which is moto's.
  emulated = contains(["000000000000", "123456789012"], local.account_id)
}
