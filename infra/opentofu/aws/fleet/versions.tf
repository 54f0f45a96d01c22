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

# Endpoints and credentials come from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
provider "aws" {
  region = var.region
  # The default is 25 retries, up to 300 s apart: without capacity a deploy would fail only after 40 minutes.
  max_retries = 5
}

data "aws_partition" "this" {}
