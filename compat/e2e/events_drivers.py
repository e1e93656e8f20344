"""Every operation of EventBridge, called with boto3: what test_operations judges the answers of."""

import json
import uuid

from messaging_drivers import arn_of, code_of

TAG = {"Key": "team", "Value": "red"}


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def drive_events(events, account):
    drive_buses(events, account)
    drive_rules(events, account)


def drive_buses(events, account):
    bus = name("bus")
    arn = f"arn:aws:events:us-east-1:{account.id}:event-bus/{bus}"
    made = events.create_event_bus(Name=bus, Description="säfe", Tags=[TAG])
    assert made["EventBusArn"] == arn and made["Description"] == "säfe"
    assert code_of(events.create_event_bus, Name=bus) == "ResourceAlreadyExistsException"
    events.update_event_bus(Name=bus, Description="other")
    assert events.describe_event_bus(Name=bus)["Description"] == "other"
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [TAG]
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "more", "Value": ""}])
    events.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "more", "Value": ""}]
    events.put_permission(EventBusName=bus, StatementId="s", Principal="444455556666", Action="events:PutEvents")
    policy = json.loads(events.describe_event_bus(Name=bus)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::444455556666:root"}
    events.remove_permission(EventBusName=bus, StatementId="s")
    assert "Policy" not in events.describe_event_bus(Name=bus)
    assert bus in [one["Name"] for one in events.list_event_buses(NamePrefix="bus-")["EventBuses"]]
    assert "default" in [one["Name"] for one in events.list_event_buses()["EventBuses"]]
    events.delete_event_bus(Name=bus)
    assert code_of(events.describe_event_bus, Name=bus) == "ResourceNotFoundException"


def drive_rules(events, account):
    rule, queue = name("rule"), name("rule-target")
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = arn_of(sqs, url)
    pattern = json.dumps({"source": [rule], "detail": {"n": [{"numeric": [">", 1]}]}})
    rule_arn = events.put_rule(Name=rule, EventPattern=pattern, Description="d")["RuleArn"]
    allow(sqs, url, arn, rule_arn)
    assert code_of(events.put_rule, Name=rule, EventPattern='{"source":"x"}') == "InvalidEventPatternException"
    put = events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn}])
    assert put["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule=rule)["Targets"] == [{"Id": "1", "Arn": arn}]
    assert events.list_rule_names_by_target(TargetArn=arn)["RuleNames"] == [rule]
    events.disable_rule(Name=rule)
    assert events.describe_rule(Name=rule)["State"] == "DISABLED"
    events.enable_rule(Name=rule)
    assert events.list_rules(NamePrefix=rule)["Rules"][0]["State"] == "ENABLED"
    entries = [{"Source": rule, "DetailType": "t", "Detail": json.dumps({"n": n})} for n in (1, 2)]
    ids = [entry["EventId"] for entry in events.put_events(Entries=entries)["Entries"]]
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10)["Messages"]
    event = json.loads(message["Body"])
    assert event["id"] == ids[1] and event["detail"] == {"n": 2} and event["account"] == account.id
    assert events.test_event_pattern(EventPattern=pattern, Event=message["Body"])["Result"] is True
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)
    assert code_of(events.describe_rule, Name=rule) == "ResourceNotFoundException"


def allow(sqs, url, arn, rule_arn):
    """Lets a rule send to a queue."""
    statement = {
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
