terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.29.0, < 7.0.0"
    }
  }
}

# Endpoints and credentials come from the provider's own variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
provider "aws" {
  region = var.region
}

data "aws_partition" "this" {}
