"""What the suites do with trails, in the words of a test."""

import gzip
import itertools
import json
import time

import boto3
from botocore.config import Config

numbers = itertools.count(1)


def wait_for(what, check, seconds=30):
    """Calls `check` until it gives something, and gives that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Account:
    """An account of a server, seen through boto3 with its default settings."""

    def __init__(self, server, access_key=None, secret_key=None):
        self.server = server
        environment = server.environment
        self.session = boto3.Session(
            aws_access_key_id=access_key or environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret_key or environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        self.id = self.client("sts").get_caller_identity()["Account"] if access_key is None else None

    def client(self, service, region="us-east-1", **config):
        config = Config(retries={"total_max_attempts": 1}, **config)
        return self.session.client(service, region_name=region, endpoint_url=self.server.endpoint, config=config)

    def bucket(self, prefix=None, policy=True):
        """A new bucket that CloudTrail may deliver to."""
        name = f"logs-{next(numbers)}-{time.time_ns() % 10**9}"
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name)
        if policy:
            s3.put_bucket_policy(Bucket=name, Policy=json.dumps(self.delivery_policy(name, prefix)))
        return name

    def delivery_policy(self, bucket, prefix=None):
        folder = f"{prefix}/" if prefix else ""
        service = {"Service": "cloudtrail.amazonaws.com"}
        owner = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl",
                 "Resource": f"arn:aws:s3:::{bucket}"},
                {"Effect": "Allow", "Principal": service, "Action": "s3:PutObject",
                 "Resource": f"arn:aws:s3:::{bucket}/{folder}AWSLogs/{self.id}/*", "Condition": owner},
            ],
        }

    def trail(self, region="us-east-1", prefix=None, logging=True, bucket=None, **more):
        """A new trail into a new bucket: (trail's description, bucket)."""
        bucket = bucket or self.bucket(prefix)
        cloudtrail = self.client("cloudtrail", region)
        if prefix:
            more["S3KeyPrefix"] = prefix
        trail = cloudtrail.create_trail(
            Name=f"trail-{next(numbers)}-{time.time_ns() % 10**9}", S3BucketName=bucket,
            EnableLogFileValidation=more.pop("EnableLogFileValidation", True), **more,
        )
        if logging:
            cloudtrail.start_logging(Name=trail["TrailARN"])
        return trail, bucket

    def keys(self, bucket, folder="CloudTrail"):
        """The keys of all log files (or digests) in a bucket, without the markers."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [key for key in keys if f"/{folder}/" in key and key.endswith(".json.gz")]

    def read(self, bucket, key):
        body = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return json.loads(gzip.decompress(body))

    def delivered(self, bucket):
        """All delivered records of a bucket."""
        return [record for key in self.keys(bucket) for record in self.read(bucket, key)["Records"]]

    def digested(self, bucket):
        """The keys of all log files that some digest lists."""
        digests = [self.read(bucket, key) for key in self.keys(bucket, "CloudTrail-Digest")]
        return {file["s3Object"] for digest in digests for file in digest["logFiles"]}

    def close_trail(self, trail, region="us-east-1"):
        self.client("cloudtrail", region).delete_trail(Name=trail["TrailARN"])
