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

# Endpoints and credentials come from the provider's own variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
provider "aws" {
  region = var.region
  # The provider tries 25 times, up to 300 s apart: without capacity a deploy would take 40 minutes to fail.
  max_retries = 5
}

data "aws_partition" "this" {}
