"""Every kind of target, reached for real: by a rule, and by a subscription filter of a log group."""

import base64
import gzip
import json
import time

import pytest

from functions import answer, function, name, role
from test_firehose import lines
from stream_drivers import destination
from trails import Account, wait_for

KEPT = 'import json\ndef handler(event, context):\n    print("KEPT " + json.dumps(event))\n'


@pytest.fixture(scope="module")
def events_role(account):
    return role(account.client("iam"), service="events.amazonaws.com")


@pytest.fixture(scope="module")
def logs_role(account):
    return role(account.client("iam"), service="logs.amazonaws.com")


def put_until(account, source, arrived):
    """Puts one event with a rule for it, and waits until it has arrived."""
    detail = json.dumps({"said": source})
    put = account.client("events").put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": detail}])
    assert put["FailedEntryCount"] == 0, put
    return wait_for("the event", arrived)


def rule(account, target):
    source, events = name("source"), account.client("events")
    events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    failed = events.put_targets(Rule=source, Targets=[{"Id": "1", **target}])
    assert failed["FailedEntryCount"] == 0, failed
    return source


def stream(account):
    kinesis, named = account.client("kinesis"), name("stream")
    kinesis.create_stream(StreamName=named, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    arn = kinesis.describe_stream_summary(StreamName=named)["StreamDescriptionSummary"]["StreamARN"]

    def read():
        data = []
        for shard in kinesis.list_shards(StreamName=named)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=named, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            data += [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
        return data
    return arn, read


def firehose(account):
    bucket, named = account.bucket(policy=False), name("delivery")
    made = account.client("firehose").create_delivery_stream(
        DeliveryStreamName=named, ExtendedS3DestinationConfiguration=destination(
            account, bucket, CompressionFormat="GZIP", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 1}))
    return made["DeliveryStreamARN"], lambda: lines(account, bucket)


def test_rules_reach_streams_and_delivery_streams(account, events_role):
    for arn, read in (stream(account), firehose(account)):
        source = rule(account, {"Arn": arn, "RoleArn": events_role})
        event = json.loads(put_until(account, source, read)[0])
        assert event["source"] == source and event["detail"] == {"said": source}


def test_rules_reach_log_groups(account):
    logs, group = account.client("logs"), name("/aws/events/group")
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:{account.id}:log-group:{group}"
    statement = {"Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
                 "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": f"{arn}:*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    logs.put_resource_policy(policyName=name("events"), policyDocument=policy)
    source = rule(account, {"Arn": arn})
    found = put_until(account, source, lambda: logs.filter_log_events(logGroupName=group)["events"])
    assert json.loads(found[0]["message"])["source"] == source


def test_rules_reach_another_bus_in_another_region(account, events_role):
    far, sqs = account.client("events", region="eu-west-1"), account.client("sqs", region="eu-west-1")
    bus = far.create_event_bus(Name=name("bus"))
    queue = sqs.create_queue(QueueName=name("heard"))["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue_arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    source = rule(account, {"Arn": bus["EventBusArn"], "RoleArn": events_role})
    bus_name = bus["EventBusArn"].rsplit("/", 1)[1]
    far.put_rule(Name=source, EventBusName=bus_name, EventPattern=json.dumps({"source": [source]}))
    far.put_targets(Rule=source, EventBusName=bus_name, Targets=[{"Id": "1", "Arn": queue_arn}])
    heard = put_until(account, source, lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(heard[0]["Body"])["region"] == "us-east-1"


def subscribed(account, arn, **more):
    """A group whose lines go there; says one."""
    logs, group = account.client("logs"), name("subscribed")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    logs.put_subscription_filter(logGroupName=group, filterName="f", filterPattern="ERROR", destinationArn=arn, **more)
    said = [{"timestamp": int(time.time() * 1000), "message": text} for text in ("ERROR one", "fine")]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=said)
    return group


def messages(parcels, group):
    told = [json.loads(gzip.decompress(parcel)) for parcel in parcels]
    return [line["message"] for parcel in told if parcel["logGroup"] == group for line in parcel["logEvents"]]


def test_lines_reach_a_function(account):
    functions, logs = account.client("lambda"), account.client("logs")
    with function(functions, role(account.client("iam")), KEPT) as made:
        functions.add_permission(
            FunctionName=made["FunctionName"], StatementId="logs", Action="lambda:InvokeFunction",
            Principal="logs.us-east-1.amazonaws.com", SourceAccount=account.id)
        group = subscribed(account, made["FunctionArn"])
        own = f"/aws/lambda/{made['FunctionName']}"

        def kept():
            try:
                found = logs.filter_log_events(logGroupName=own, filterPattern="KEPT")["events"]
            except logs.exceptions.ResourceNotFoundException:
                return None
            events = [json.loads(line["message"].split(" ", 1)[1]) for line in found]
            return messages([base64.b64decode(event["awslogs"]["data"]) for event in events], group)
        assert wait_for("the line", kept) == ["ERROR one"]


def test_lines_reach_a_delivery_stream(account, logs_role):
    bucket = account.bucket(policy=False)
    made = account.client("firehose").create_delivery_stream(
        DeliveryStreamName=name("delivery"), ExtendedS3DestinationConfiguration=destination(
            account, bucket, BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 1}))
    group, s3 = subscribed(account, made["DeliveryStreamARN"], roleArn=logs_role), account.client("s3")

    def delivered():
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        text = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)
        # Several members of gzip, one after the other: the control message and the lines.
        told = gzip.decompress(text).decode() if text else ""
        return group in told and "ERROR one" in told
    wait_for("the line", delivered)


def test_functions_elsewhere_are_invoked_there(account, server, own_server):
    functions = account.client("lambda")
    keys = server.environment
    there = {"CAIRN_LAMBDA_ENDPOINT": keys["AWS_ENDPOINT_URL"], "CAIRN_LAMBDA_ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"],
             "CAIRN_LAMBDA_SECRET_ACCESS_KEY": keys["AWS_SECRET_ACCESS_KEY"]}
    here = Account(own_server(account=account.id, variables=there))
    with function(functions, role(account.client("iam"))) as made:
        said = answer(here.client("lambda"), made["FunctionName"], {"from": "here"})
        assert said == {"event": {"from": "here"}, "version": "$LATEST"}


def test_an_asynchronous_invocation_tells_its_destinations(account):
    functions, sqs, events, sns = (account.client(service) for service in ("lambda", "sqs", "events", "sns"))
    queue = sqs.create_queue(QueueName=name("told"))["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]},
                 "Action": "sqs:SendMessage", "Resource": queue_arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    topic = sns.create_topic(Name=name("told"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
    bucket = account.bucket(policy=False)
    with function(functions, role(account.client("iam"))) as made:
        named, bus = made["FunctionName"], f"arn:aws:events:us-east-1:{account.id}:event-bus/default"
        events.put_rule(Name=named, EventPattern=json.dumps({"source": ["lambda"], "resources": [{"prefix": made["FunctionArn"]}]}))
        events.put_targets(Rule=named, Targets=[{"Id": "1", "Arn": queue_arn}])
        for destination_arn in (topic, bus, f"arn:aws:s3:::{bucket}"):
            functions.put_function_event_invoke_config(
                FunctionName=named, DestinationConfig={"OnSuccess": {"Destination": destination_arn}})
            functions.invoke(FunctionName=named, InvocationType="Event", Payload=json.dumps({"for": destination_arn}))

            def told():
                if destination_arn.startswith("arn:aws:s3"):
                    keys = [found["Key"] for found in account.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]
                    return keys and account.client("s3").get_object(Bucket=bucket, Key=keys[0])["Body"].read().decode()
                heard = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0, MaxNumberOfMessages=10).get("Messages")
                return heard and next((m["Body"] for m in heard if destination_arn in m["Body"]), None)
            assert '"condition":"Success"' in wait_for(destination_arn, told).replace('": "', '":"')
