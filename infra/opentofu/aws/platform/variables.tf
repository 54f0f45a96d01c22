variable "region" {
  description = "Region of this stack and of the fleet."
  type        = string
}

variable "bucket" {
  description = "Name of the fleet's bucket: images, bundles, heartbeats, records, state. The bucket of its access log is NAME-access-log."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,50}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 52 lowercase letters, digits, dots and dashes."
  }
}

variable "lock_table" {
  description = "Name of the DynamoDB table that locks the states, in addition to the lock in S3."
  type        = string
  default     = "clawdinator-tofu-locks"
}

variable "github_repository" {
  description = "owner/name of the repository whose workflows deploy."
  type        = string
  default     = "openclaw/clawdinators"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "github_repository must be owner/name."
  }
}

variable "github_repository_id" {
  description = "GitHub's number of the repository, which, unlike the name, can't pass to another owner: gh api repos/OWNER/NAME --jq .id."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "github_repository_id must be a number."
  }
}

variable "github_owner_id" {
  description = "GitHub's number of the owner: gh api repos/OWNER/NAME --jq .owner.id."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.github_owner_id))
    error_message = "github_owner_id must be a number."
  }
}

variable "github_branch" {
  description = "The branch whose workflows deploy and whose registry is used."
  type        = string
  default     = "main"
}

variable "github_oidc_provider_arn" {
  description = "ARN of the account's OIDC provider for GitHub. An account can have only one. Null: this stack creates it."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "VPC of the fleet. Null: the region's default VPC."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the memory's mount targets, at most one in each availability zone. Null: the default subnets of the VPC."
  type        = set(string)
  default     = null
}

variable "memory_backups" {
  description = "Whether AWS Backup backs up the shared memory daily and keeps each backup for 35 days. Null: yes, except in the account of an emulator."
  type        = bool
  default     = null
}

variable "control_api_zip" {
  description = "Zip file of the built Control API. Null: dist/lambda.zip, which `npm run build` writes."
  type        = string
  default     = null
}

variable "control_api_concurrency" {
  description = "Concurrent requests of the Control API. Its URL accepts ten times as many each second. -1: the limit of the account."
  type        = number
  default     = 10
}

variable "github_app_id" {
  description = "Id of the GitHub App that dispatches deploys. Empty: the Control API's secret GITHUB_TOKEN is used."
  type        = string
  default     = ""
}

variable "github_app_installation_id" {
  description = "Id of the App's installation. The App's private key is one of the Control API's secrets."
  type        = string
  default     = ""
}

variable "ami_owners" {
  description = "Ids of other accounts whose AMIs may be deployed, by --ami."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.ami_owners : can(regex("^[0-9]{12}$", one))])
    error_message = "An account's id is 12 digits."
  }
}

variable "alarm_subscribers" {
  description = "Receivers of the alarms: e-mail addresses and https:// URLs, at least one. Each must confirm its subscription once."
  type        = set(string)

  validation {
    condition     = length(var.alarm_subscribers) > 0
    error_message = "alarm_subscribers must have at least one entry: otherwise the alarms have no receiver."
  }

  validation {
    condition     = alltrue([for one in var.alarm_subscribers : can(regex("^(https://[^\\s'\"]+|[^\\s'\"@]+@[^\\s'\"@]+)$", one))])
    error_message = "A subscriber must be an e-mail address or an https:// URL."
  }
}

variable "alarms" {
  description = "Whether to create the CloudWatch alarms and dashboard. Null: yes, except in the account of an emulator."
  type        = bool
  default     = null
}

variable "log_retention_days" {
  description = "Days that the Control API's log is kept."
  type        = number
  default     = 90
}

variable "access_log_retention_days" {
  description = "Days that the access log of the bucket is kept."
  type        = number
  default     = 365
}

variable "image_retention_days" {
  description = "Days that a raw image and its block manifest are kept in the bucket. The AMI does not need them. If no image was imported for so long, the next import uploads all blocks."
  type        = number
  default     = 30
}
