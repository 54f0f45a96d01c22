# Objects that exist and are not in the state. A killed deploy leaves them, because OpenTofu writes its state every 20 s only.
# `fleet deploy` finds them and sets `adopt`; a plan fails if one does not exist.
import {
  for_each = var.adopt.instances

  to = aws_instance.clawdinator[each.key]
  id = each.value
}

import {
  for_each = var.adopt.roles

  to = aws_iam_role.clawdinator[each.key]
  id = each.value
}

import {
  for_each = var.adopt.role_policies

  to = aws_iam_role_policy.clawdinator[each.key]
  id = each.value
}

import {
  for_each = var.adopt.profiles

  to = aws_iam_instance_profile.clawdinator[each.key]
  id = each.value
}

import {
  for_each = { for id in [lookup(var.adopt, "security_group", null)] : "fleet" => id if id != null }

  to = aws_security_group.clawdinator
  id = each.value
}
