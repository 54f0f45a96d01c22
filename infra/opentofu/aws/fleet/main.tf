locals {
  registry = jsondecode(file("${path.module}/../../../../nix/instances.json"))
  ids      = var.instance_ids == null ? toset(keys(local.registry)) : var.instance_ids

  # The registry's settings. A host that is not deployed keeps the prefix of its launch, because its role must match the bundle
  # that it reads, even if its entry was changed or removed since.
  hosts = {
    for id in local.ids : id => merge(
      { host = id, instanceType = "t3.large", bootstrapPrefix = "bootstrap/${id}" },
      lookup(local.registry, id, {}),
      { for kept in [lookup(var.kept_prefixes, id, null)] : "bootstrapPrefix" => kept if kept != null },
    )
  }

  # One machine for each id and slot. The key of slot a is the id, as in states from before slots.
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

  # An empty list, not an absent one, removes rules that were added by hand.
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

  # The first boot needs the permission to read the bundle.
  depends_on = [aws_iam_role_policy.clawdinator]

  lifecycle {
    # A machine is never changed: a deploy creates one slot and destroys the other, or uses -replace. Without this a new ami_id
    # would replace every host.
    ignore_changes = all
  }
}
