locals {
  # By name: aws_iam_role.ci["…"] would make an import fail while the role is not in the state.
  ci_role_arns = "arn:${local.partition}:iam::${local.account_id}:role/clawdinator-ci/clawdinator-"

  repository_variables = {
    AWS_REGION               = var.region
    AWS_DEPLOY_ROLE_ARN      = "${local.ci_role_arns}fleet-deploy"
    AWS_DRIFT_ROLE_ARN       = "${local.ci_role_arns}fleet-drift"
    AWS_IMAGE_ROLE_ARN       = "${local.ci_role_arns}image-build"
    AWS_BOOTSTRAP_ROLE_ARN   = "${local.ci_role_arns}bootstrap-upload"
    AWS_PLAN_ROLE_ARN        = aws_iam_role.platform_plan.arn
    S3_BUCKET                = aws_s3_bucket.fleet.id
    TOFU_LOCK_TABLE          = aws_dynamodb_table.locks.name
    KMS_KEY_ARN              = aws_kms_key.bucket.arn
    CONTROL_API_URL          = aws_lambda_function_url.control_api.function_url
    PERMISSIONS_BOUNDARY_ARN = aws_iam_policy.host_boundary.arn
    MEMORY_SECURITY_GROUP_ID = aws_security_group.memory_client.id
    VPC_ID                   = data.aws_vpc.fleet.id
    AMI_OWNERS               = join(",", local.ami_owners)
    # For plans of this stack in infra.yml.
    CLAWDINATOR_REPOSITORY_ID = var.github_repository_id
    CLAWDINATOR_OWNER_ID      = var.github_owner_id
    ALARM_SUBSCRIBERS         = jsonencode(var.alarm_subscribers)
  }

  # By the names that fleet-deploy.yml gives them, so that a deploy from a laptop plans what a deploy from CI plans.
  shell_settings = {
    AWS_REGION                     = local.repository_variables.AWS_REGION
    S3_BUCKET                      = local.repository_variables.S3_BUCKET
    TOFU_LOCK_TABLE                = local.repository_variables.TOFU_LOCK_TABLE
    CLAWDINATOR_CONTROL_API_URL    = local.repository_variables.CONTROL_API_URL
    FLEET_KMS_KEY_ARN              = local.repository_variables.KMS_KEY_ARN
    FLEET_MEMORY_SECURITY_GROUP_ID = local.repository_variables.MEMORY_SECURITY_GROUP_ID
    FLEET_PERMISSIONS_BOUNDARY_ARN = local.repository_variables.PERMISSIONS_BOUNDARY_ARN
    FLEET_VPC_ID                   = local.repository_variables.VPC_ID
    CLAWCTL_AMI_OWNERS             = local.repository_variables.AMI_OWNERS
    # A runner sets it by itself.
    GITHUB_REPOSITORY = var.github_repository
  }
}

output "repository_variables" {
  description = "Variables of the GitHub repository, for its workflows."
  value       = local.repository_variables
}

output "set_repository_variables" {
  description = "Commands that set these variables: tofu output -raw set_repository_variables | bash"
  value = join("", [
    for name, value in local.repository_variables :
    "gh variable set ${name} --repo ${var.github_repository} --body '${value == null ? "" : value}'\n"
  ])
}

output "shell_settings" {
  description = "What clawctl reads in a maintainer's shell: tofu output -raw shell_settings >>.env"
  value       = join("", [for name, value in local.shell_settings : "${name}='${value}'\n"])
}

output "control_api_url" {
  description = "URL of the Control API, for /etc/clawdinator/control-api-url and CLAWDINATOR_CONTROL_API_URL."
  value       = aws_lambda_function_url.control_api.function_url
}

output "memory_file_system_id" {
  description = "Id of the shared memory's file system, for services.clawdinator.memoryEfs.fileSystemId."
  value       = aws_efs_file_system.memory.id
}
