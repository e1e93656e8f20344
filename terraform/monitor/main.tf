# What `cairn monitor enable` makes, as Terraform: the log group of a trail, the role that the trail writes to it with, a
# metric filter and an alarm for each watch, and the topic that alarms tell. Both read watches.json.
#
# The trail itself is described elsewhere. Give it the two outputs:
#
#   module "monitor" {
#     source    = "./terraform/monitor"
#     trail_arn = "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"
#   }
#
#   resource "aws_cloudtrail" "audit" {
#     ...
#     cloud_watch_logs_group_arn = module.monitor.cloud_watch_logs_group_arn
#     cloud_watch_logs_role_arn  = module.monitor.cloud_watch_logs_role_arn
#   }

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "trail_arn" {
  description = "The trail whose events are watched."
  type        = string
}

variable "log_group" {
  description = "The name of the trail's log group."
  type        = string
  default     = "cairn-monitor"
}

variable "role" {
  description = "The name of the role that the trail writes to the log group with."
  type        = string
  default     = "cairn-monitor"
}

variable "topic" {
  description = "The name of the topic that alarms tell."
  type        = string
  default     = "cairn-monitor"
}

variable "period" {
  description = "Over how many seconds events are counted."
  type        = number
  default     = 300
}

locals {
  prefix    = "CairnMonitor-"
  namespace = "CloudTrailMetrics"
  account   = split(":", var.trail_arn)[4]
  watches   = { for watch in jsondecode(file("${path.module}/watches.json")) : watch.name => watch }
}

resource "aws_cloudwatch_log_group" "trail" {
  name = var.log_group
}

resource "aws_iam_role" "trail" {
  name = var.role
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceArn" = var.trail_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "trail" {
  name = "write-log-streams"
  role = aws_iam_role.trail.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.trail.arn}:log-stream:*"
    }]
  })
}

resource "aws_sns_topic" "alarms" {
  name = var.topic
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "CairnMonitorAlarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "SNS:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_cloudwatch_log_metric_filter" "watch" {
  for_each       = local.watches
  name           = "${local.prefix}${each.key}"
  log_group_name = aws_cloudwatch_log_group.trail.name
  pattern        = each.value.pattern

  metric_transformation {
    name          = each.key
    namespace     = local.namespace
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "watch" {
  for_each            = local.watches
  alarm_name          = "${local.prefix}${each.key}"
  alarm_description   = each.value.control == null ? each.value.title : "${each.value.title} (${each.value.control})"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  namespace           = local.namespace
  metric_name         = each.key
  statistic           = "Sum"
  period              = var.period
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
}

output "cloud_watch_logs_group_arn" {
  value = "${aws_cloudwatch_log_group.trail.arn}:*"
}

output "cloud_watch_logs_role_arn" {
  value = aws_iam_role.trail.arn
}

output "topic_arn" {
  value = aws_sns_topic.alarms.arn
}
