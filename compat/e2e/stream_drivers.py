"""Every operation of Kinesis and Firehose, called with boto3: what test_operations judges the answers of."""

import json
import time

from messaging_drivers import code_of, name
from trails import wait_for

HALF = 1 << 127


def read_all(kinesis, stream, shard, **start):
    """The data of all records of a shard, from the first on where nothing is said."""
    start = start or {"ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, **start)["ShardIterator"]
    found = []
    while iterator:
        try:
            page = kinesis.get_records(ShardIterator=iterator)
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            time.sleep(0.3)
            continue
        found += [record["Data"] for record in page["Records"]]
        iterator = page.get("NextShardIterator")
        if not page["Records"] and page["MillisBehindLatest"] == 0:
            break
    return found


def drive_kinesis(kinesis, account):
    stream = name("stream")
    arn = f"arn:aws:kinesis:us-east-1:{account.id}:stream/{stream}"
    kinesis.create_stream(StreamName=stream, ShardCount=1, Tags={"team": "red"})
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    assert stream in kinesis.list_streams(Limit=1000)["StreamNames"]
    assert kinesis.describe_stream(StreamARN=arn)["StreamDescription"]["StreamStatus"] == "ACTIVE"
    assert kinesis.describe_limits()["ShardLimit"] == 500
    assert kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]["Status"] == "DISABLED"
    drive_records(kinesis, stream, arn)
    drive_consumers(kinesis, stream, arn)
    drive_settings(kinesis, stream, arn)
    drive_shards(kinesis, stream)
    kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=stream)
    assert code_of(kinesis.describe_stream_summary, StreamName=stream) == "ResourceNotFoundException"


def drive_records(kinesis, stream, arn):
    first = kinesis.put_record(StreamName=stream, PartitionKey="a", Data=b"one \0\xff")
    assert len(first["SequenceNumber"]) == 56 and first["ShardId"] == "shardId-000000000000"
    more = [{"PartitionKey": "b", "Data": b"two"}, {"PartitionKey": "c", "Data": b"three", "ExplicitHashKey": "7"}]
    put = kinesis.put_records(StreamARN=arn, Records=more)
    assert put["FailedRecordCount"] == 0 and put["Records"][1]["SequenceNumber"] > first["SequenceNumber"]
    assert read_all(kinesis, stream, first["ShardId"]) == [b"one \0\xff", b"two", b"three"]
    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": first["SequenceNumber"]}
    assert read_all(kinesis, stream, first["ShardId"], **after) == [b"two", b"three"]
    assert code_of(kinesis.get_records, ShardIterator="AAAA") == "InvalidArgumentException"


def drive_consumers(kinesis, stream, arn):
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="fast")["Consumer"]
    described = kinesis.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]
    assert described["ConsumerStatus"] == "ACTIVE" and described["StreamARN"] == arn
    assert kinesis.list_stream_consumers(StreamARN=arn)["Consumers"] == [consumer]
    subscription = kinesis.subscribe_to_shard(
        ConsumerARN=consumer["ConsumerARN"], ShardId="shardId-000000000000", StartingPosition={"Type": "TRIM_HORIZON"})
    events = iter(subscription["EventStream"])
    records = next(events)["SubscribeToShardEvent"]["Records"]
    assert [record["Data"] for record in records] == [b"one \0\xff", b"two", b"three"]
    kinesis.put_record(StreamName=stream, PartitionKey="a", Data=b"four")
    event = next(event["SubscribeToShardEvent"] for event in events if event["SubscribeToShardEvent"]["Records"])
    assert event["Records"][0]["Data"] == b"four"
    subscription["EventStream"].close()
    kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="fast")


def drive_settings(kinesis, stream, arn):
    kinesis.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=48)
    kinesis.decrease_stream_retention_period(StreamName=stream, RetentionPeriodHours=24)
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"more": "yes"})
    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["team"])
    assert kinesis.list_tags_for_stream(StreamName=stream)["Tags"] == [{"Key": "more", "Value": "yes"}]
    kinesis.tag_resource(ResourceARN=arn, Tags={"other": ""})
    kinesis.untag_resource(ResourceARN=arn, TagKeys=["more"])
    assert kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "other", "Value": ""}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kinesis:DescribeStream", "Resource": arn}]})
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == policy
    kinesis.delete_resource_policy(ResourceARN=arn)
    key = {"StreamName": stream, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
    kinesis.start_stream_encryption(**key)
    assert kinesis.put_record(StreamName=stream, PartitionKey="a", Data=b"sealed")["EncryptionType"] == "KMS"
    assert read_all(kinesis, stream, "shardId-000000000000")[-1] == b"sealed"
    kinesis.stop_stream_encryption(**key)


def drive_shards(kinesis, stream):
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard, NewStartingHashKey=str(HALF))
    children = [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream, ExclusiveStartShardId=shard)["Shards"]]
    kinesis.merge_shards(StreamName=stream, ShardToMerge=children[0], AdjacentShardToMerge=children[1])
    scaled = kinesis.update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    assert (scaled["CurrentShardCount"], scaled["TargetShardCount"]) == (1, 2)
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2
    kinesis.update_stream_mode(StreamARN=summary["StreamARN"], StreamModeDetails={"StreamMode": "ON_DEMAND"})


TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
RIGHTS = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:*", "kinesis:*"], "Resource": "*"}]})


def firehose_role(account):
    iam, role = account.client("iam"), name("firehose")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=RIGHTS)
    return arn


def destination(account, bucket, **more):
    hints = {"SizeInMBs": 1, "IntervalInSeconds": 0}
    return {"RoleARN": firehose_role(account), "BucketARN": f"arn:aws:s3:::{bucket}", "BufferingHints": hints, **more}


def drive_firehose(firehose, account):
    stream, bucket = name("delivery"), account.bucket(policy=False)
    made = firehose.create_delivery_stream(
        DeliveryStreamName=stream, Tags=[{"Key": "team", "Value": "red"}],
        ExtendedS3DestinationConfiguration=destination(account, bucket, Prefix="in/"))
    assert made["DeliveryStreamARN"] == f"arn:aws:firehose:us-east-1:{account.id}:deliverystream/{stream}"
    described = firehose.describe_delivery_stream(DeliveryStreamName=stream)["DeliveryStreamDescription"]
    assert described["DeliveryStreamStatus"] == "ACTIVE" and described["VersionId"] == "1"
    assert stream in firehose.list_delivery_streams(Limit=1000)["DeliveryStreamNames"]
    firehose.put_record(DeliveryStreamName=stream, Record={"Data": b"one\n"})
    batch = firehose.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": b"two\n"}, {"Data": b"three\n"}])
    assert batch["FailedPutCount"] == 0 and len(batch["RequestResponses"]) == 2
    s3 = account.client("s3")

    def delivered():
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix="in/").get("Contents", [])]
        return b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys) == b"one\ntwo\nthree\n"
    wait_for("the object", delivered)
    firehose.tag_delivery_stream(DeliveryStreamName=stream, Tags=[{"Key": "more", "Value": ""}])
    firehose.untag_delivery_stream(DeliveryStreamName=stream, TagKeys=["team"])
    assert firehose.list_tags_for_delivery_stream(DeliveryStreamName=stream)["Tags"] == [{"Key": "more", "Value": ""}]
    firehose.start_delivery_stream_encryption(DeliveryStreamName=stream)
    firehose.stop_delivery_stream_encryption(DeliveryStreamName=stream)
    firehose.update_destination(
        DeliveryStreamName=stream, CurrentDeliveryStreamVersionId="1", DestinationId="destinationId-000000000001",
        ExtendedS3DestinationUpdate={"CompressionFormat": "GZIP"})
    firehose.delete_delivery_stream(DeliveryStreamName=stream)
    assert code_of(firehose.describe_delivery_stream, DeliveryStreamName=stream) == "ResourceNotFoundException"
