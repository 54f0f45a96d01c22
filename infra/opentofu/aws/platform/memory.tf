# The shared memory, which every host mounts.
resource "aws_efs_file_system" "memory" {
  creation_token  = "clawdinator-memory"
  encrypted       = true
  kms_key_id      = aws_kms_key.bucket.arn
  throughput_mode = "elastic"

  tags = { Name = "clawdinator-memory" }

  lifecycle {
    prevent_destroy = true

    precondition {
      condition     = length(local.memory_subnets) > 0
      error_message = "The memory has no subnet for a mount target. Set subnet_ids; only the default VPC has default subnets."
    }
  }
}

# Hosts mount without IAM. The groups below decide which machines may mount; this policy refuses mounts without TLS.
resource "aws_efs_file_system_policy" "memory" {
  file_system_id = aws_efs_file_system.memory.id
  policy         = data.aws_iam_policy_document.memory.json
}

data "aws_iam_policy_document" "memory" {
  statement {
    sid = "MountOverTls"
    actions = [
      "elasticfilesystem:ClientMount",
      "elasticfilesystem:ClientRootAccess",
      "elasticfilesystem:ClientWrite",
    ]
    resources = [aws_efs_file_system.memory.arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["true"]
    }

    # Without it the policy would count as public.
    condition {
      test     = "Bool"
      variable = "elasticfilesystem:AccessedViaMountTarget"
      values   = ["true"]
    }
  }
}

locals {
  memory_subnets = var.subnet_ids == null ? toset(data.aws_subnets.default.ids) : var.subnet_ids
}

resource "aws_efs_backup_policy" "memory" {
  count = coalesce(var.memory_backups, !local.emulated) ? 1 : 0

  file_system_id = aws_efs_file_system.memory.id

  backup_policy {
    status = "ENABLED"
  }
}

data "aws_vpc" "fleet" {
  id      = var.vpc_id
  default = var.vpc_id == null ? true : null
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.fleet.id]
  }

  # Mount targets need at most one subnet in each availability zone.
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_efs_mount_target" "memory" {
  for_each = local.memory_subnets

  file_system_id  = aws_efs_file_system.memory.id
  subnet_id       = each.key
  security_groups = [aws_security_group.memory.id]
}

# Members of this group may mount the memory. The fleet stack adds its hosts; the fleet's role can't change the groups of this
# stack.
resource "aws_security_group" "memory_client" {
  name        = "clawdinator-memory-client"
  description = "CLAWDINATOR hosts that may mount the memory"
  vpc_id      = data.aws_vpc.fleet.id

  tags = { Name = "clawdinator-memory-client" }
}

resource "aws_security_group" "memory" {
  name        = "clawdinator-memory"
  description = "NFS from the hosts that may mount the memory, nothing else"
  vpc_id      = data.aws_vpc.fleet.id

  tags = { Name = "clawdinator-memory" }
}

resource "aws_vpc_security_group_ingress_rule" "memory" {
  security_group_id            = aws_security_group.memory.id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.memory_client.id
}
