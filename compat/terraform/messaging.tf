# Queues, topics, notifications, lifecycle rules and a trail, as Terraform makes, changes and removes them: see test_terraform.py.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}
variable "endpoint" {}
variable "change" { default = false }
provider "aws" {
  region            = "us-east-1"
  s3_use_path_style = true
  endpoints {
    s3         = var.endpoint
    sqs        = var.endpoint
    sns        = var.endpoint
    sts        = var.endpoint
    cloudtrail = var.endpoint
    kms        = var.endpoint
    iam        = var.endpoint
  }
}
data "aws_caller_identity" "me" {}
resource "aws_sqs_queue" "dead" { name = "dead" }
resource "aws_sqs_queue" "main" {
  name                       = "main"
  visibility_timeout_seconds = var.change ? 90 : 45
  message_retention_seconds  = 86400
  receive_wait_time_seconds  = 10
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = var.change ? 7 : 4 })
  tags                       = var.change ? { a = "1", b = "3" } : { a = "1", b = "2" }
}
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url            = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.main.arn] })
}
resource "aws_sqs_queue" "fifo" {
  name                        = "orders.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
}
resource "aws_sqs_queue_policy" "main" {
  queue_url = aws_sqs_queue.main.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [
    { Effect = "Allow", Principal = { Service = "sns.amazonaws.com" }, Action = "sqs:SendMessage", Resource = aws_sqs_queue.main.arn, Condition = { ArnEquals = { "aws:SourceArn" = aws_sns_topic.logs.arn } } },
    { Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }, Action = "sqs:SendMessage", Resource = aws_sqs_queue.main.arn },
  ] })
}
resource "aws_sns_topic" "logs" {
  name         = "logs"
  display_name = var.change ? "Log files" : "Logs"
  tags         = { a = "1" }
}
resource "aws_sns_topic_policy" "logs" {
  arn    = aws_sns_topic.logs.arn
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "cloudtrail.amazonaws.com" }, Action = "SNS:Publish", Resource = aws_sns_topic.logs.arn }] })
}
resource "aws_sns_topic_subscription" "main" {
  topic_arn            = aws_sns_topic.logs.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.main.arn
  filter_policy        = var.change ? jsonencode({ kind = ["x", "y"] }) : null
  raw_message_delivery = var.change
  depends_on           = [aws_sqs_queue_policy.main]
}
resource "aws_s3_bucket" "logs" {
  bucket        = "tf-judge-logs"
  force_destroy = true
}
resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [
    { Effect = "Allow", Principal = { Service = "cloudtrail.amazonaws.com" }, Action = "s3:GetBucketAcl", Resource = aws_s3_bucket.logs.arn },
    { Effect = "Allow", Principal = { Service = "cloudtrail.amazonaws.com" }, Action = "s3:PutObject", Resource = "${aws_s3_bucket.logs.arn}/AWSLogs/${data.aws_caller_identity.me.account_id}/*", Condition = { StringEquals = { "s3:x-amz-acl" = "bucket-owner-full-control" } } },
  ] })
}
resource "aws_s3_bucket_notification" "logs" {
  bucket = aws_s3_bucket.logs.id
  queue {
    queue_arn     = aws_sqs_queue.main.arn
    events        = var.change ? ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"] : ["s3:ObjectCreated:*"]
    filter_prefix = "AWSLogs/"
    filter_suffix = ".json.gz"
  }
  depends_on = [aws_sqs_queue_policy.main]
}
resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    id     = "old"
    status = "Enabled"
    filter { prefix = "AWSLogs/" }
    expiration { days = var.change ? 400 : 365 }
    noncurrent_version_expiration { noncurrent_days = 30 }
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }
  rule {
    id     = "cold"
    status = "Enabled"
    filter {
      and {
        prefix = "archive/"
        tags   = { kind = "cold" }
      }
    }
    transition {
      days          = 90
      storage_class = "GLACIER"
    }
  }
}
resource "aws_cloudtrail" "main" {
  name                       = "main"
  s3_bucket_name             = aws_s3_bucket.logs.id
  sns_topic_name             = aws_sns_topic.logs.name
  enable_log_file_validation = true
  is_multi_region_trail      = var.change
  depends_on                 = [aws_s3_bucket_policy.logs, aws_sns_topic_policy.logs]
}
