"""Every operation of EventBridge, called with boto3: what test_operations judges the answers of."""

import json
import time
import uuid

from messaging_drivers import arn_of, code_of
from trails import wait_for

TAG = {"Key": "team", "Value": "red"}


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def drive_events(events, account):
    drive_buses(events, account)
    drive_rules(events, account)
    drive_archives(events, account)
    drive_connections(events)


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


def drive_archives(events, account):
    own, replay = name("archive"), name("replay")
    bus = f"arn:aws:events:us-east-1:{account.id}:event-bus/default"
    arn = events.create_archive(ArchiveName=own, EventSourceArn=bus, EventPattern=json.dumps({"source": [own]}))["ArchiveArn"]
    assert code_of(events.create_archive, ArchiveName=own, EventSourceArn=bus) == "ResourceAlreadyExistsException"
    events.update_archive(ArchiveName=own, RetentionDays=3, Description="d")
    events.put_events(Entries=[{"Source": own, "DetailType": "t", "Detail": "{}"}])
    shown = events.describe_archive(ArchiveName=own)
    assert (shown["EventCount"], shown["RetentionDays"], shown["Description"]) == (1, 3, "d")
    assert own in [one["ArchiveName"] for one in events.list_archives(EventSourceArn=bus)["Archives"]]
    times = {"EventStartTime": time.time() - 60, "EventEndTime": time.time() + 60}
    started = events.start_replay(ReplayName=replay, EventSourceArn=arn, Destination={"Arn": bus}, **times)
    assert started["State"] == "STARTING"
    wait_for("the replay", lambda: events.describe_replay(ReplayName=replay)["State"] == "COMPLETED")
    assert code_of(events.cancel_replay, ReplayName=replay) == "IllegalStatusException"
    assert [one["ReplayName"] for one in events.list_replays(NamePrefix=replay)["Replays"]] == [replay]
    # One that ends before it is cancelled is tried anew.
    wait_for("a replay that is cancelled", lambda: cancelled(events, arn, bus, times))
    events.delete_archive(ArchiveName=own)
    assert code_of(events.describe_archive, ArchiveName=own) == "ResourceNotFoundException"


def cancelled(events, arn, bus, times):
    replay = name("replay")
    events.start_replay(ReplayName=replay, EventSourceArn=arn, Destination={"Arn": bus}, **times)
    try:
        return events.cancel_replay(ReplayName=replay)["State"] == "CANCELLING"
    except events.exceptions.IllegalStatusException:
        return False


def drive_connections(events):
    own = name("connection")
    auth = {"BasicAuthParameters": {"Username": "u", "Password": "p"}}
    arn = events.create_connection(Name=own, AuthorizationType="BASIC", AuthParameters=auth)["ConnectionArn"]
    assert events.describe_connection(Name=own)["AuthParameters"] == {"BasicAuthParameters": {"Username": "u"}}
    events.update_connection(Name=own, Description="d")
    assert [one["ConnectionArn"] for one in events.list_connections(NamePrefix=own)["Connections"]] == [arn]
    events.create_api_destination(
        Name=own, ConnectionArn=arn, HttpMethod="PUT", InvocationEndpoint="https://example.com/", InvocationRateLimitPerSecond=5
    )
    events.update_api_destination(Name=own, HttpMethod="POST")
    shown = events.describe_api_destination(Name=own)
    assert (shown["HttpMethod"], shown["InvocationRateLimitPerSecond"]) == ("POST", 5)
    assert [one["Name"] for one in events.list_api_destinations(ConnectionArn=arn)["ApiDestinations"]] == [own]
    assert events.deauthorize_connection(Name=own)["ConnectionState"] == "DEAUTHORIZING"
    assert events.describe_api_destination(Name=own)["ApiDestinationState"] == "INACTIVE"
    events.delete_api_destination(Name=own)
    events.delete_connection(Name=own)
    assert code_of(events.describe_connection, Name=own) == "ResourceNotFoundException"
