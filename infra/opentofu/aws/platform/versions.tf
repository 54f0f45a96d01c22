terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.29.0, < 7.0.0"
    }
  }
}

# Endpoints, credentials and account come from the provider's own variables (AWS_ENDPOINT_URL, AWS_PROFILE, …).
provider "aws" {
  region            = var.region
  s3_use_path_style = var.emulator

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
}
