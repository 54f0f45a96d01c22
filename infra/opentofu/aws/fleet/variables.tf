variable "ami_id" {
  description = "AMI of new and replaced machines. Other machines keep theirs."
  type        = string

  validation {
    condition     = can(regex("^ami-([0-9a-f]{8}|[0-9a-f]{17})$", var.ami_id))
    error_message = "ami_id must be ami- and 8 or 17 hexadecimal digits."
  }
}

variable "bucket" {
  description = "Bucket of bundles and heartbeats, written to /etc/clawdinator/bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 63 lowercase letters, digits, dots and dashes."
  }
}

variable "region" {
  description = "Region of the fleet."
  type        = string
}

variable "control_api_url" {
  description = "URL of the Control API, written to /etc/clawdinator/control-api-url."
  type        = string

  validation {
    condition     = can(regex("^https?://[A-Za-z0-9.:/_~-]+$", var.control_api_url))
    error_message = "control_api_url must be http(s):// and a host, without query."
  }
}

variable "instance_ids" {
  description = "Ids of the managed instances: those in the state and the one that is deployed. Null: every entry of the registry."
  type        = set(string)
  default     = null

  validation {
    condition = var.instance_ids == null ? true : alltrue([
      for id in var.instance_ids : can(regex("^[a-z][a-z0-9-]{0,62}$", id))
    ])
    error_message = "An id must be lowercase letters, digits and dashes, and begin with a letter."
  }
}

variable "kept_prefixes" {
  description = "Bootstrap prefixes, by id, of the hosts that are not deployed: those of their launch."
  type        = map(string)
  default     = {}
}

variable "slots" {
  description = "Slots (a, b or both) with a machine, by id. Default of an id: slot a."
  type        = map(set(string))
  default     = {}

  validation {
    condition     = alltrue([for slots in values(var.slots) : length(setsubtract(slots, ["a", "b"])) == 0])
    error_message = "A slot must be a or b."
  }
}

variable "adopt" {
  description = "Objects that a killed deploy left outside of the state, by the key that each gets in the state."
  type = object({
    # EC2 ids, by id or id/b.
    instances = map(string)
    # Names, by id.
    roles    = map(string)
    profiles = map(string)
    # role:policy, by id.
    role_policies = map(string)
    # Id of the fleet's security group, if the first deploy was killed.
    security_group = optional(string)
  })
  default = { instances = {}, roles = {}, profiles = {}, role_policies = {} }
}

variable "request_id" {
  description = "Request id of the deploy, for the tags of new machines and /etc/clawdinator/request-id. Empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.request_id == "" || can(regex("^[A-Za-z0-9][A-Za-z0-9-]{7,63}$", var.request_id))
    error_message = "request_id must be 8 to 64 letters, digits and dashes, and begin with a letter or digit."
  }
}

variable "config_revision" {
  description = "Commit that new machines switch to: image (that of their image) or newest (that of their bundle)."
  type        = string
  default     = "image"
  nullable    = false

  validation {
    condition     = var.config_revision == "image" || var.config_revision == "newest"
    error_message = "config_revision must be image or newest."
  }
}

variable "memory_security_group_id" {
  description = "Security group whose members may mount the shared memory. Null: none."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "KMS key of the bucket. Null: the bucket is encrypted with S3's key."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the instances' roles. Null: none."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "VPC of the security group. Null: the region's default VPC."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "Subnet of the hosts, in vpc_id. Null: a default subnet."
  type        = string
  default     = null
}

variable "root_volume_gib" {
  description = "Size of the root volume in GiB, at least that of the image."
  type        = number
  default     = 64
}
