locals {
  control_api_name      = "clawdinator-control-api"
  control_api_zip       = coalesce(var.control_api_zip, "${path.module}/../../../../dist/lambda.zip")
  control_api_log_group = "/aws/lambda/${local.control_api_name}"
  # Read by the handler when it starts and every few minutes: docs/adr/0022.
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
  # A fifth cheaper than x86_64, and the bundle is JavaScript alone.
  architectures = ["arm64"]

  # It waits for GitHub and EC2: 30 s cover their timeouts and retries. Memory buys CPU for the cold start.
  timeout                        = 30
  memory_size                    = 512
  reserved_concurrent_executions = var.control_api_concurrency

  # Exactly what lambda/configuration.ts reads, the secrets aside, which it finds in the bucket: what stands here stands
  # in the state, too. AWS_REGION is Lambda's own.
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

  # The first cold start finds its permissions and its log group in place.
  depends_on = [aws_iam_role_policy.control_api, aws_cloudwatch_log_group.control_api]
}

resource "aws_lambda_function_url" "control_api" {
  function_name = aws_lambda_function.control_api.function_name
  # The handler authenticates by bearer token: hosts and laptops have no AWS credential to sign with.
  authorization_type = "NONE"
  invoke_mode        = "BUFFERED"
}

# Since October 2025 a public URL needs both. The provider adds FunctionURLAllowPublicAccess and
# FunctionURLAllowInvokeAction by itself, unseen by any plan; these two are ours, and a plan shows when one is gone.
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

  # Lambda refuses two changes of one policy at the same time.
  depends_on = [aws_lambda_permission.control_api_url]
}

resource "aws_cloudwatch_log_group" "control_api" {
  name              = local.control_api_log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.bucket.arn
}

resource "aws_iam_role" "control_api" {
  name               = local.control_api_name
  description        = "What the Control API itself may do; deploys run elsewhere"
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
    # EC2's Describe calls know no resource to limit them to.
    resources = ["*"]
  }

  # Why a machine does not come up that never reached S3.
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
      # The manifests of the bundles, and none of the secrets beside them.
      "${aws_s3_bucket.fleet.arn}/bootstrap/*/config.json",
    ]
  }

  # What it keeps itself: claims of request ids; people, freezes and cancellations below control/.
  statement {
    sid       = "KeepItsOwn"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.fleet.arn}/claims/*", "${aws_s3_bucket.fleet.arn}/control/*"]
  }

  # Without it S3 answers AccessDenied where a heartbeat or record does not exist.
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
