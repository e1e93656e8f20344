"""CloudWatch Logs as AWS was recorded to answer: groups, tags, searches, exports, destinations.

What is done otherwise than by the recorder, and what differs:

* A search for a part of a name (`describe-log-groups-pattern`) answers on AWS with a `nextToken` though nothing follows;
  here there is none where nothing follows.
* An export's status is recorded while the task waits (PENDING); here it may be done by then. `status.message` and
  `executionInfo.completionTime`, which tasks that have ended show on AWS too, are not compared.
* AWS ends the refusal of a query on a group that is not there with names of its inner services; they are not compared.
* Scenarios of deliveries of vended logs are not replayed: those operations are not there.
* The recorder's destination has an access policy whose resource is the stream; so has this one.

No other difference is allowed: the suite fails on every member that is not as recorded.
"""

import json
import time

import pytest
from botocore.exceptions import ClientError
from logs_drivers import key_for_logs, name, now_ms, open_to_logs, stream_for_logs
from recorded import Comparison, recordings

FILES = [f"logs/test_logs_{part}.snapshot.json.gz" for part in ("groups", "filter_events", "export_tasks", "queries", "destinations")]
RECORDED = recordings(*FILES)


class Replay:
    """A scenario, and the answers that are to come."""

    def __init__(self, scenario, account):
        if scenario not in RECORDED:
            pytest.skip("the recording is not there")
        self.answers, self.account, self.comparison = RECORDED[scenario], account, Comparison(account.id)
        self.logs = account.client("logs")

    def expect(self, label, found, *left_out):
        recorded, found = self.answers[label], json.loads(json.dumps(found, default=str))
        lines = self.comparison.differences(recorded, found, label)
        differing = [line for line in lines if not line.startswith(tuple(f"{label}{path}" for path in left_out))]
        assert not differing, "\n".join(differing)

    def refused(self, label, call, **params):
        with pytest.raises(ClientError) as refused:
            call(**params)
        self.expect(label, refused.value.response)

    def group(self, **more):
        group = name("test-log-group")
        self.logs.create_log_group(logGroupName=group, **more)
        return group


@pytest.fixture
def replay(account):
    return lambda scenario: Replay(scenario, account)


def arn(account, group):
    return f"arn:aws:logs:us-east-1:{account.id}:log-group:{group}"


def test_groups(replay, account):
    scenario = replay("TestLogsGroups::test_create_log_group_with_kms_key")
    group = scenario.group(kmsKeyId=key_for_logs(account))
    scenario.expect("describe-log-groups-with-kms", scenario.logs.describe_log_groups(logGroupNamePrefix=group))

    scenario = replay("TestLogsGroups::test_create_log_group_duplicate_error")
    again = scenario.group()
    scenario.refused("error-duplicate-log-group", scenario.logs.create_log_group, logGroupName=again)

    scenario = replay("TestLogsGroups::test_create_log_group_invalid_name_length")
    scenario.refused("error-invalid-name-length", scenario.logs.create_log_group, logGroupName="a" * 513)

    scenario = replay("TestLogsGroups::test_describe_log_groups_with_prefix")
    prefix = name("prefix")
    for number in range(3):
        scenario.logs.create_log_group(logGroupName=f"{prefix}-{number}")
    scenario.expect("describe-log-groups-prefix", scenario.logs.describe_log_groups(logGroupNamePrefix=prefix))


def test_groups_by_parts_of_their_names(replay):
    scenario = replay("TestLogsGroups::test_describe_log_groups_with_pattern")
    group = scenario.group()
    found = scenario.logs.describe_log_groups(logGroupNamePattern=group)
    scenario.expect("describe-log-groups-pattern", found, ".nextToken")

    scenario = replay("TestLogsGroups::test_describe_log_groups_prefix_and_pattern_error")
    both = {"logGroupNamePrefix": "a", "logGroupNamePattern": "a"}
    scenario.refused("error-prefix-and-pattern", scenario.logs.describe_log_groups, **both)

    scenario = replay("TestLogsGroups::test_list_log_groups_with_pattern")
    none = scenario.logs.describe_log_groups(logGroupNamePattern="no-such-group-anywhere")
    scenario.expect("list-log-groups-no-match", none)
    group = scenario.group()
    found = scenario.logs.describe_log_groups(logGroupNamePattern=group)["logGroups"]
    scenario.expect("list-log-groups-match", found)


def test_tags(replay, account):
    scenario = replay("TestLogsGroupsTags::test_create_log_group_with_tags")
    group = scenario.group(tags={"env": "testing"})
    scenario.expect("list-tags-after-create", scenario.logs.list_tags_log_group(logGroupName=group))

    scenario = replay("TestLogsGroupsTags::test_tag_log_group")
    group = scenario.group()
    scenario.logs.tag_log_group(logGroupName=group, tags={"tag_key_1": "tag_value_1"})
    scenario.expect("list-tags-after-tag", scenario.logs.list_tags_log_group(logGroupName=group))

    scenario = replay("TestLogsGroupsTags::test_untag_log_group")
    group = scenario.group(tags={"tag_key_1": "tag_value_1", "tag_key_2": "tag_value_2"})
    scenario.logs.untag_log_group(logGroupName=group, tags=["tag_key_1"])
    scenario.expect("list-tags-after-untag", scenario.logs.list_tags_log_group(logGroupName=group))

    scenario = replay("TestLogsGroupsTags::test_tag_resource_api")
    logs, group = scenario.logs, scenario.group(tags={"env": "testing1"})
    resource = {"resourceArn": arn(account, group)}
    scenario.expect("list-tags-after-create", logs.list_tags_for_resource(**resource))

    def both(label):
        scenario.expect(f"list-tags-log-group-{label}", logs.list_tags_log_group(logGroupName=group))
        scenario.expect(f"list-tags-for-resource-{label}", logs.list_tags_for_resource(**resource))
    logs.tag_resource(**resource, tags={"test1": "val1", "test2": "val2"})
    both("after-tag-resource")
    logs.tag_log_group(logGroupName=group, tags={"test3": "val3"})
    both("after-tag-log-group")
    logs.untag_log_group(logGroupName=group, tags=["env", "test1"])
    logs.untag_resource(**resource, tagKeys=["test3"])
    both("after-untag")


def test_searches(replay):
    scenario = replay("TestFilterLogEvents::test_filter_log_events_limit_validation")
    group = scenario.group()
    scenario.refused("error-limit-exceeded", scenario.logs.filter_log_events, logGroupName=group, limit=10001)

    scenario = replay("TestFilterLogEvents::test_filter_log_events_unknown_token")
    unknown = {"logGroupName": group, "nextToken": "unknown-token"}
    scenario.refused("invalid-token", scenario.logs.filter_log_events, **unknown)


def test_exports(replay, account):
    scenario = replay("TestExportTasks::test_create_export_task")
    logs, group, bucket = scenario.logs, scenario.group(), account.bucket(policy=False)
    open_to_logs(account, bucket)
    times = {"fromTime": now_ms() - 86_400_000, "to": now_ms()}
    made = logs.create_export_task(logGroupName=group, destination=bucket, **times)
    scenario.expect("create-export-task", made)

    scenario = replay("TestExportTasks::test_create_export_task_bucket_not_found")
    missing = {"logGroupName": group, "destination": name("no-such-bucket"), **times}
    scenario.refused("error-bucket-not-found", logs.create_export_task, **missing)

    scenario = replay("TestExportTasks::test_create_export_task_log_group_not_found")
    missing = {"logGroupName": name("none"), "destination": bucket, **times}
    scenario.refused("error-log-group-not-found", logs.create_export_task, **missing)

    scenario = replay("TestExportTasks::test_describe_export_tasks_not_found")
    scenario.expect("task-not-found", logs.describe_export_tasks(taskId=name("none")))

    scenario = replay("TestExportTasks::test_cancel_export_task_not_found")
    scenario.refused("error-cancel-not-found", logs.cancel_export_task, taskId=name("none"))

    scenario = replay("TestExportTasksWithLogs::test_create_export_task_with_logs")
    group = scenario.group()
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    lines = [{"timestamp": now_ms(), "message": f"line {number}"} for number in range(3)]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=lines)
    wait_until_done(logs, made["taskId"])
    made = logs.create_export_task(
        logGroupName=group, destination=bucket, destinationPrefix="exportedlogs", **times
    )
    scenario.expect("create-export-with-logs", made)
    shown = logs.describe_export_tasks(taskId=made["taskId"])
    # Times and bucket are of this run.
    told = (".exportTasks[0].status", ".exportTasks[0].executionInfo.completionTime", ".exportTasks[0].from",
            ".exportTasks[0].to", ".exportTasks[0].destination:")
    scenario.expect("describe-export-with-logs", shown, *told)
    assert shown["exportTasks"][0]["status"]["code"] in ("PENDING", "RUNNING", "COMPLETED")
    wait_until_done(logs, made["taskId"])


def wait_until_done(logs, task):
    for _ in range(100):
        if logs.describe_export_tasks(taskId=task)["exportTasks"][0]["status"]["code"] == "COMPLETED":
            return
        time.sleep(0.05)
    raise AssertionError("the export does not end")


def test_queries(replay):
    scenario = replay("TestCloudWatchLogsInsightsQueries::test_start_query_basic")
    logs, group, now = scenario.logs, scenario.group(), int(time.time())
    query = {"startTime": now - 3600, "endTime": now, "queryString": "fields @message"}
    scenario.expect("start-query", logs.start_query(logGroupName=group, **query))

    scenario = replay("TestCloudWatchLogsInsightsQueries::test_start_query_log_group_not_found")
    with pytest.raises(ClientError) as refused:
        logs.start_query(logGroupName=name("none"), **query)
    label = "error-log-group-not-found"
    error = scenario.answers[label]["Error"]
    error["Message"] = error["Message"].split(" (Service")[0]
    scenario.expect(label, refused.value.response)

    scenario = replay("TestCloudWatchLogsInsightsQueries::test_describe_queries")
    scenario.expect("describe-queries", logs.describe_queries(logGroupName=group), ".queries[0].createTime")

    scenario = replay("TestCloudWatchLogsInsightsQueries::test_describe_queries_with_status_filter")
    started = logs.describe_queries(logGroupName=group)["queries"][0]["queryId"]
    while logs.get_query_results(queryId=started)["status"] != "Complete":
        time.sleep(0.05)
    of = {"logGroupName": group}
    complete = logs.describe_queries(**of, status="Complete")
    scenario.expect("describe-queries-complete", complete, ".queries[0].createTime")
    scenario.expect("describe-queries-scheduled", logs.describe_queries(**of, status="Scheduled"))


def test_destinations(replay, account):
    (stream, role), own = stream_for_logs(account), name("destination")
    made = {"destinationName": own, "targetArn": stream, "roleArn": role}
    scenario = replay("TestDestinations::test_describe_destinations_empty")
    logs = scenario.logs
    shown = lambda: logs.describe_destinations(DestinationNamePrefix=own)
    scenario.expect("describe-destinations-empty", shown())
    replay("TestDestinations::test_put_destination").expect("put-destination", logs.put_destination(**made))
    replay("TestDestinations::test_describe_destinations_with_prefix").expect("describe-destinations", shown())

    scenario = replay("TestDestinations::test_update_destination")
    scenario.expect("original-description", shown())
    other, other_role = stream_for_logs(account)
    logs.put_destination(destinationName=own, targetArn=other, roleArn=other_role)
    assert shown()["destinations"][0]["targetArn"] == other
    logs.put_destination(**made)
    scenario.expect("updated-description", shown())

    scenario = replay("TestDestinationsTags::test_destination_tags")
    resource = {"resourceArn": shown()["destinations"][0]["arn"]}
    logs.tag_resource(**resource, tags={"key1": "val1", "key2": "val2"})
    scenario.expect("list-tags-after-add", logs.list_tags_for_resource(**resource))
    logs.untag_resource(**resource, tagKeys=["key2"])
    scenario.expect("list-tags-after-remove", logs.list_tags_for_resource(**resource))

    scenario = replay("TestDestinations::test_put_destination_policy")
    statement = {"Effect": "Allow", "Principal": {"AWS": "logs.amazonaws.com"}, "Action": "logs:PutSubscriptionFilter",
                 "Resource": stream}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    put = logs.put_destination_policy(destinationName=own, accessPolicy=policy)
    scenario.expect("put-destination-policy", put)
    scenario.expect("destination-with-policy", shown())

    scenario = replay("TestDestinations::test_delete_destination")
    scenario.expect("delete-destination", logs.delete_destination(destinationName=own))
    scenario.expect("no-destination-found", shown())
