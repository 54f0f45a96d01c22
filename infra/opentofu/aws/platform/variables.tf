variable "region" {
  description = "Region of everything here and of the fleet."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket to make: images, bundles, heartbeats, records, state. Its access log gets a bucket of its own, NAME-access-log."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,50}[a-z0-9]$", var.bucket))
    error_message = "The bucket's name is 3 to 52 lowercase letters, digits, dots and dashes."
  }
}

variable "lock_table" {
  description = "Name of the DynamoDB table that locks the states, beside S3's own lock."
  type        = string
  default     = "clawdinator-tofu-locks"
}

variable "github_repository" {
  description = "owner/name of the repository whose workflows deploy."
  type        = string
  default     = "openclaw/clawdinators"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "The repository is owner/name."
  }
}

variable "github_repository_id" {
  description = "GitHub's number of the repository: gh api repos/OWNER/NAME --jq .id. A name can change hands, a number can't."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "The repository's id is a number."
  }
}

variable "github_owner_id" {
  description = "GitHub's number of the owner: gh api repos/OWNER/NAME --jq .owner.id."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.github_owner_id))
    error_message = "The owner's id is a number."
  }
}

variable "github_branch" {
  description = "The branch that deploys, and whose registry counts."
  type        = string
  default     = "main"
}

variable "github_oidc_provider_arn" {
  description = "An account has one provider for GitHub: its ARN where there is one already. Null: made here."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "VPC of the fleet. Null: the region's default VPC."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets that the memory is mounted from, at most one in each availability zone. Null: the default subnets of the VPC."
  type        = set(string)
  default     = null
}

variable "memory_backups" {
  description = "Whether AWS Backup keeps the shared memory, daily for 35 days. Null: yes, except in an emulator's account."
  type        = bool
  default     = null
}

variable "control_api_zip" {
  description = "The built Control API. Null: what `npm run build` writes, dist/lambda.zip."
  type        = string
  default     = null
}

variable "control_api_concurrency" {
  description = "Requests that the Control API answers at once; a Function URL takes ten times as many a second. -1: as many as the account allows."
  type        = number
  default     = 10
}

variable "github_app_id" {
  description = "Id of the GitHub App whose installation dispatches the deploys. Empty: GITHUB_TOKEN of the secrets does."
  type        = string
  default     = ""
}

variable "github_app_installation_id" {
  description = "Id of its installation. The App's private key is one of the secrets."
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
  description = "Who gets the alarms: e-mail addresses and https:// URLs, at least one. An address has to confirm once."
  type        = set(string)

  validation {
    condition     = length(var.alarm_subscribers) > 0
    error_message = "An alarm that nobody gets is none: name at least one subscriber."
  }

  validation {
    condition     = alltrue([for one in var.alarm_subscribers : can(regex("^(https://[^\\s'\"]+|[^\\s'\"@]+@[^\\s'\"@]+)$", one))])
    error_message = "A subscriber is an e-mail address or an https:// URL."
  }
}

variable "alarms" {
  description = "Whether CloudWatch gets the alarms and the dashboard. Null: yes, except in an emulator's account."
  type        = bool
  default     = null
}

variable "log_retention_days" {
  description = "How long the Control API's log is kept."
  type        = number
  default     = 90
}

variable "access_log_retention_days" {
  description = "How long the access log of the bucket is kept."
  type        = number
  default     = 365
}

variable "image_retention_days" {
  description = "How long a raw image and its block manifest stay in the bucket. The AMI needs neither; where no image was imported for that long, the next import sends all of its blocks."
  type        = number
  default     = 30
}
