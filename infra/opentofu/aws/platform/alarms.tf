locals {
  # The Control API writes these metrics to its log in CloudWatch's embedded metric format.
  metrics_namespace = "Clawctl"

  # moto does not support the provider's protocol for CloudWatch.
  watched = coalesce(var.alarms, !local.emulated)

  # Metrics of Lambda.
  lambda_alarms = {
    Errors    = "The Control API crashed or timed out. Read its log."
    Throttles = "There are more concurrent requests than control_api_concurrency: too many requests, or GitHub or EC2 does not answer."
    # Errors does not count answers with 5xx.
    Url5xxCount = "The Control API answered with 5xx: GitHub, EC2, S3 or the Control API itself fails."
  }

  own_alarms = {
    DispatchFailures  = "A deploy was requested, but GitHub did not start it."
    SecretsUnreadable = "The Control API can't read its secrets object, or the object is incomplete. The last valid one stays in use."
  }

  # Queries, because an alarm can't search metrics by the value of a dimension.
  query_alarms = {
    deploy-failed = {
      query       = "SELECT SUM(DeployOutcomes) FROM SCHEMA(\"${local.metrics_namespace}\", Outcome) WHERE Outcome != 'succeeded' AND Outcome != 'cancelled'"
      description = "A deploy failed, was rolled back or kept the old machine: clawctl fleet history."
    }
    heartbeat-missing = {
      query       = "SELECT MAX(HeartbeatMissing) FROM SCHEMA(\"${local.metrics_namespace}\", Instance)"
      description = "A registered host sends no heartbeat: clawctl fleet status."
    }
  }
}

resource "aws_sns_topic" "alarms" {
  name = "clawdinator-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = var.alarm_subscribers

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = startswith(each.key, "https://") ? "https" : "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "control_api" {
  for_each = { for metric, description in merge(local.lambda_alarms, local.own_alarms) : metric => description if local.watched }

  alarm_name          = "${local.control_api_name}-${lower(each.key)}"
  alarm_description   = each.value
  namespace           = contains(keys(local.lambda_alarms), each.key) ? "AWS/Lambda" : local.metrics_namespace
  metric_name         = each.key
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  dimensions = contains(keys(local.lambda_alarms), each.key) ? { FunctionName = local.control_api_name } : {}
}

resource "aws_cloudwatch_metric_alarm" "fleet" {
  for_each = { for name, alarm in local.query_alarms : name => alarm if local.watched }

  alarm_name          = "clawdinator-${each.key}"
  alarm_description   = each.value.description
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "worst"
    expression  = each.value.query
    period      = 300
    return_data = true
  }
}

# Starts the check for hosts without a heartbeat; otherwise only requests would detect one. A request from the URL can't
# imitate this event, because every request has a requestContext.
resource "aws_cloudwatch_event_rule" "watch" {
  name                = "clawdinator-watch"
  description         = "Starts the Control API's check for hosts without a heartbeat"
  schedule_expression = "rate(5 minutes)"
}

resource "aws_cloudwatch_event_target" "watch" {
  rule      = aws_cloudwatch_event_rule.watch.name
  target_id = "control-api"
  arn       = aws_lambda_function.control_api.arn
  input     = jsonencode({ clawctl = "watch" })
}

resource "aws_lambda_permission" "watch" {
  statement_id  = "Watch"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.control_api.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.watch.arn

  # Lambda refuses concurrent changes of one policy.
  depends_on = [aws_lambda_permission.control_api_invoke]
}

resource "aws_cloudwatch_dashboard" "fleet" {
  count = local.watched ? 1 : 0

  dashboard_name = "clawdinator"

  dashboard_body = jsonencode({
    widgets = [
      for index, widget in [
        {
          title = "Requests and refusals by code"
          metrics = [
            [local.metrics_namespace, "Requests"],
            [{ expression = "SEARCH('{${local.metrics_namespace},Code} MetricName=\"Refusals\"', 'Sum', 300)", id = "refusals" }],
          ]
        },
        {
          title = "Errors and throttles of the Control API"
          metrics = [
            ["AWS/Lambda", "Url5xxCount", "FunctionName", local.control_api_name],
            ["AWS/Lambda", "Url4xxCount", "FunctionName", local.control_api_name],
            ["AWS/Lambda", "Errors", "FunctionName", local.control_api_name],
            ["AWS/Lambda", "Throttles", "FunctionName", local.control_api_name],
          ]
        },
        {
          title = "Upstream failures by service, and failed dispatches"
          metrics = [
            [{ expression = "SEARCH('{${local.metrics_namespace},Service} MetricName=\"UpstreamFailures\"', 'Sum', 300)", id = "upstream" }],
            [local.metrics_namespace, "DispatchFailures"],
          ]
        },
        {
          title = "Deploys by outcome"
          metrics = [
            [{ expression = "SEARCH('{${local.metrics_namespace},Outcome} MetricName=\"DeployOutcomes\"', 'Sum', 300)", id = "outcomes" }],
          ]
        },
        {
          title = "Hosts without a heartbeat"
          metrics = [
            [{ expression = "SEARCH('{${local.metrics_namespace},Instance} MetricName=\"HeartbeatMissing\"', 'Maximum', 300)", id = "missing" }],
          ]
        },
        {
          title = "Secrets: age in seconds, and failed reads"
          metrics = [
            [local.metrics_namespace, "SecretsAgeSeconds", { stat = "Maximum" }],
            [local.metrics_namespace, "SecretsUnreadable"],
          ]
        },
      ] :
      {
        type   = "metric"
        x      = index % 2 * 12
        y      = floor(index / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = var.region
          stat    = "Sum"
          period  = 300
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}
