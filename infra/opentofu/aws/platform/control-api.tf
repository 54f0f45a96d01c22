locals {
  control_api_name      = "clawdinator-control-api"
  control_api_zip       = coalesce(var.control_api_zip, "${path.module}/../../../../dist/lambda.zip")
  control_api_log_group = "/aws/lambda/${local.control_api_name}"
  # The handler reads it at its start and every few minutes: docs/adr/0022.
  control_api_secrets_key = "control-api/secrets.json"
}

resource "aws_lambda_function" "control_api" {
  function_name = local.control_api_name
  description   = "Control API of the CLAWDINATOR fleet"
  role          = aws_iam_role.control_api.arn

  filename         = local.control_api_zip
  source_code_hash = filebase64sha256(local.control_api_zip)
  handler          = "index.handler"
  runtime          = "nodejs24.x"
  # 20 % cheaper than x86_64.
  architectures = ["arm64"]

  # 30 s include the timeouts and retries of GitHub and EC2. Lambda's CPU grows with memory, for the cold start.
  timeout                        = 30
  memory_size                    = 512
  reserved_concurrent_executions = var.control_api_concurrency

  # The variables of lambda/configuration.ts. Secrets are in the bucket instead, because these values are in the state, too.
  environment {
    variables = {
      AMI_OWNERS                 = join(",", local.ami_owners)
      CONTROL_API_REUSE_MS       = "2000"
      CONTROL_API_SECRETS_KEY    = local.control_api_secrets_key
      GITHUB_API_URL             = "https://api.github.com"
      GITHUB_APP_ID              = var.github_app_id
      GITHUB_APP_INSTALLATION_ID = var.github_app_installation_id
      GITHUB_REF                 = var.github_branch
      GITHUB_REPO                = var.github_repository
      GITHUB_WORKFLOW            = "fleet-deploy.yml"
      S3_BUCKET                  = aws_s3_bucket.fleet.id
    }
  }

  # The first cold start needs its permissions and its log group.
  depends_on = [aws_iam_role_policy.control_api, aws_cloudwatch_log_group.control_api]
}

resource "aws_lambda_function_url" "control_api" {
  function_name = aws_lambda_function.control_api.function_name
  # The handler authenticates by bearer token, because hosts and laptops have no AWS credentials to sign with.
  authorization_type = "NONE"
  invoke_mode        = "BUFFERED"
}

# Since October 2025 a public URL needs both permissions. The provider adds FunctionURLAllowPublicAccess and
# FunctionURLAllowInvokeAction itself, outside of plans; with these two, a plan shows a missing one.
resource "aws_lambda_permission" "control_api_url" {
  statement_id           = "ControlApiUrl"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.control_api.function_name
  principal              = "*"
  function_url_auth_type = "NONE"

  depends_on = [aws_lambda_function_url.control_api]
}

resource "aws_lambda_permission" "control_api_invoke" {
  statement_id             = "ControlApiInvokedByUrl"
  action                   = "lambda:InvokeFunction"
  function_name            = aws_lambda_function.control_api.function_name
  principal                = "*"
  invoked_via_function_url = true

  # Lambda refuses concurrent changes of one policy.
  depends_on = [aws_lambda_permission.control_api_url]
}

resource "aws_cloudwatch_log_group" "control_api" {
  name              = local.control_api_log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.bucket.arn
}

resource "aws_iam_role" "control_api" {
  name               = local.control_api_name
  description        = "Permissions of the Control API. Deploys run in GitHub Actions"
  assume_role_policy = data.aws_iam_policy_document.control_api_trust.json
}

data "aws_iam_policy_document" "control_api_trust" {
  statement {
    sid     = "Lambda"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "control_api" {
  name   = "status-and-records"
  role   = aws_iam_role.control_api.id
  policy = data.aws_iam_policy_document.control_api.json
}

data "aws_iam_policy_document" "control_api" {
  source_policy_documents = [data.aws_iam_policy_document.bucket_key.json]

  statement {
    sid     = "SeeTheFleet"
    actions = ["ec2:DescribeImages", "ec2:DescribeInstanceStatus", "ec2:DescribeInstances"]
    # Describe calls of EC2 can't be limited to resources.
    resources = ["*"]
  }

  # The console shows the fault of a machine that can't reach S3.
  statement {
    sid       = "ReadTheConsoleOfHosts"
    actions   = ["ec2:GetConsoleOutput"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/app"
      values   = ["clawdinator"]
    }
  }

  statement {
    sid     = "ReadRecords"
    actions = ["s3:GetObject"]
    resources = [
      "${aws_s3_bucket.fleet.arn}/active/*",
      "${aws_s3_bucket.fleet.arn}/claims/*",
      "${aws_s3_bucket.fleet.arn}/control/*",
      "${aws_s3_bucket.fleet.arn}/deploys/*",
      "${aws_s3_bucket.fleet.arn}/heartbeats/*",
      "${aws_s3_bucket.fleet.arn}/${local.control_api_secrets_key}",
      # Only the manifests of the bundles, not their secrets.
      "${aws_s3_bucket.fleet.arn}/bootstrap/*/config.json",
    ]
  }

  # Claims of request ids; people, freezes and cancellations in control/.
  statement {
    sid       = "KeepItsOwn"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/claims/*", "${aws_s3_bucket.fleet.arn}/control/*"]
  }

  # Without it S3 answers AccessDenied for a missing heartbeat or record.
  statement {
    sid       = "SeeWhatIsMissing"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.fleet.arn]
  }

  statement {
    sid       = "WriteItsLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${var.region}:${local.account_id}:log-group:${local.control_api_log_group}:*"]
  }
}
