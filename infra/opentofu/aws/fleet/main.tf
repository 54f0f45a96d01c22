locals {
  registry = jsondecode(file("${path.module}/../../../../nix/instances.json"))
  ids      = var.instance_ids == null ? toset(keys(local.registry)) : var.instance_ids

  # What the registry says of the host that is deployed. A host that is not, keeps the prefix that it was launched with:
  # its role must go on matching the bundle it reads, though its entry has changed since, or has left the registry.
  hosts = {
    for id in local.ids : id => merge(
      { host = id, instanceType = "t3.large", bootstrapPrefix = "bootstrap/${id}" },
      lookup(local.registry, id, {}),
      { for kept in [lookup(var.kept_prefixes, id, null)] : "bootstrapPrefix" => kept if kept != null },
    )
  }

  # One machine an id and slot. Slot a has the id for its key: the address of a fleet that knows no slots.
  slots = merge([
    for id, host in local.hosts : {
      for slot in lookup(var.slots, id, toset(["a"])) :
      (slot == "a" ? id : "${id}/${slot}") => merge(host, { id = id, slot = slot })
    }
  ]...)
}

resource "aws_security_group" "clawdinator" {
  name        = "clawdinator-fleet"
  description = "CLAWDINATOR hosts: nothing in, everything out"
  vpc_id      = var.vpc_id

  # Not merely absent: a rule that was added by hand is removed.
  ingress = []

  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  tags = {
    app  = "clawdinator"
    Name = "clawdinator-fleet"
  }
}

resource "aws_instance" "clawdinator" {
  for_each = local.slots

  ami                    = var.ami_id
  instance_type          = each.value.instanceType
  iam_instance_profile   = aws_iam_instance_profile.clawdinator[each.value.id].name
  subnet_id              = var.subnet_id
  vpc_security_group_ids = compact([aws_security_group.clawdinator.id, var.memory_security_group_id])

  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    instance_name    = each.value.id
    bootstrap_prefix = each.value.bootstrapPrefix
    control_api_url  = var.control_api_url
    bucket           = var.bucket
    host             = each.value.host
    request_id       = var.request_id
    config_revision  = var.config_revision
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted             = true
    volume_type           = "gp3"
    volume_size           = var.root_volume_gib
    delete_on_termination = true
  }

  tags = {
    app                            = "clawdinator"
    Name                           = each.value.id
    "clawdinator:id"               = each.value.id
    "clawdinator:slot"             = each.value.slot
    "clawdinator:request-id"       = var.request_id
    "clawdinator:bootstrap-prefix" = each.value.bootstrapPrefix
  }

  # The first boot reads the bundle, so its permission comes first.
  depends_on = [aws_iam_role_policy.clawdinator]

  lifecycle {
    # A machine is created as the variables say and never changed: a deploy creates one slot and destroys the other, or
    # names it in -replace. Without this a new ami_id would replace every host, whichever one is deployed.
    ignore_changes = all
  }
}
