"""The recorded scenarios of message move tasks."""

import base64
import json
import time

from sqs_replay import scenario
from trails import wait_for


def moved(s, bodies, limit=None, destination=True):
    """Messages in a dead-letter queue: its ARN, the destination's URL and ARN, and the call that moves them."""
    url, dead = s.pipe(VisibilityTimeout="0")
    for body in bodies:
        s.send(url, body)
    wait_for("all dead letters", lambda: s.receive(url, VisibilityTimeout=0) and waiting(s, dead) == len(bodies))
    place = s.create()
    more = {"DestinationArn": s.arn(place)} if destination else {}
    more |= {"MaxNumberOfMessagesPerSecond": limit} if limit else {}
    return s.arn(dead), place, lambda: s.sqs.start_message_move_task(SourceArn=s.arn(dead), **more)


def waiting(s, url):
    got = s.json.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(got["Attributes"]["ApproximateNumberOfMessages"])


def task_that_is(s, arn, *statuses):
    def ended():
        listed = s.sqs.list_message_move_tasks(SourceArn=arn)
        return listed if listed["Results"][0]["Status"] in statuses else None
    return wait_for(f"a task that is {statuses}", ended)


def error(s, call, **parameters):
    s.refused("error", call, **parameters)


@scenario("test_basic_move_task_workflow")
def move(s):
    arn, place, start = moved(s, ["message-1", "message-2"])
    s.note("start-message-move-task-response", start())
    s.note("list-message-move-task-response", task_that_is(s, arn, "COMPLETED"))
    assert waiting(s, place) == 2


@scenario("test_move_task_workflow_with_default_destination")
def move_back(s):
    url, dead = s.pipe()
    s.note("source-arn", s.arn(dead))
    s.note("original-source", s.arn(url))
    move_all_back(s, dead, [url])


@scenario("test_move_task_workflow_with_multiple_sources_as_default_destination")
def move_back_to_several(s):
    dead = s.create()
    policy = json.dumps({"deadLetterTargetArn": s.arn(dead), "maxReceiveCount": 1})
    urls = [s.create(RedrivePolicy=policy) for _ in range(2)]
    s.note("source-arn", s.arn(dead))
    for number, url in enumerate(urls):
        s.note(f"original-source-{number + 1}", s.arn(url))
    move_all_back(s, dead, urls)


def move_all_back(s, dead, urls):
    for url in urls:
        s.send(url, "message-1")
        s.send(url, "message-2")
    expected = 2 * len(urls)
    wait_for("all dead letters", lambda: [s.receive(url, VisibilityTimeout=0) for url in urls]
             and waiting(s, dead) == expected)
    s.note("start-message-move-task-response", s.sqs.start_message_move_task(SourceArn=s.arn(dead)))
    s.note("list-message-move-task-response", task_that_is(s, s.arn(dead), "COMPLETED"))
    assert [waiting(s, url) for url in urls] == [2] * len(urls)


@scenario("test_move_task_with_throughput_limit")
def move_slowly(s):
    arn, _, start = moved(s, [f"message-{number}" for number in range(4)], limit=1)
    begun = time.monotonic()
    s.note("start-message-move-task-response", start())
    task_that_is(s, arn, "COMPLETED")
    assert time.monotonic() - begun >= 3


@scenario("test_move_task_cancel")
def cancel(s):
    arn, place, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    handle = start()["TaskHandle"]
    wait_for("two messages", lambda: waiting(s, place) >= 2)
    s.note("list-while", s.sqs.list_message_move_tasks(SourceArn=arn))
    s.note("cancel", s.sqs.cancel_message_move_task(TaskHandle=handle))
    s.note("list-after", task_that_is(s, arn, "CANCELLED"))


@scenario("test_move_task_delete_destination_queue_while_running")
def destination_goes_away(s):
    arn, place, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    start()
    s.json.delete_queue(QueueUrl=place)
    s.note("list", task_that_is(s, arn, "FAILED"))


@scenario("test_start_multiple_move_tasks")
def start_twice(s):
    _, _, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    start()
    error(s, start)


@scenario("test_source_needs_redrive_policy")
def no_dead_letter_queue(s):
    error(s, s.sqs.start_message_move_task, SourceArn=s.arn(s.create()), DestinationArn=s.arn(s.create()))


@scenario("test_destination_needs_to_exist")
def no_destination(s):
    _, dead = s.pipe()
    error(s, s.sqs.start_message_move_task, SourceArn=s.arn(dead), DestinationArn=s.arn(s.create()) + "doesntexist")


@scenario("test_cancel_with_invalid_task_handle")
def strange_handle(s):
    error(s, s.sqs.cancel_message_move_task, TaskHandle="foobared")


def task_handle(task, arn):
    return base64.b64encode(json.dumps({"taskId": task, "sourceArn": arn}).encode()).decode()


@scenario("test_cancel_with_invalid_source_arn_in_task_handle")
def handle_of_no_queue(s):
    arn = f"arn:aws:sqs:us-east-1:{s.account.id}:test-queue-doesnt-exist-123456"
    error(s, s.sqs.cancel_message_move_task, TaskHandle=task_handle("10f57157-fc38-4da9-a113-4de7e12d05dd", arn))


@scenario("test_cancel_with_invalid_task_id_in_task_handle")
def handle_of_no_task(s):
    handle = task_handle("10f57157-fc38-4da9-a113-4de7e12d05aa", s.arn(s.create()))
    error(s, s.sqs.cancel_message_move_task, TaskHandle=handle)
