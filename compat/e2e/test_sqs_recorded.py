"""SQS answers as AWS answered: calls that were recorded there are made here, in both of its protocols.

A scenario is a function of the recorded scenario's name; what it answers under a label is held against what AWS answered
under that label.
"""

import re

import pytest

import sqs_scenarios  # noqa: F401
import sqs_scenarios_fifo  # noqa: F401
import sqs_scenarios_moves  # noqa: F401
from recorded import Comparison, recordings
from sqs_replay import SCENARIOS, Replay

RECORDED = recordings("sqs/test_sqs.snapshot.json.gz", "sqs/test_sqs_move_task.snapshot.json.gz")

# What differs: a pattern of the line that says it, and why.
DIFFERENCES = [
    (r"^test_(delete_message_batch|change_message_visibility_batch)_\w+\[sqs_query\] .*\.Error\.Detail: None is too much",
     "the recordings of these left the empty Detail out, which AWS's query protocol answers and the others show"),
    (r"^test_sqs_permission_lifecycle.* get-queue-policy-attribute\.Attributes\.Policy\.Statement\[0\]\.Principal\.AWS\[",
     "AWS gives several principals in no order; here it is that of the call"),
    (r"^test_message_system_attribute_names_with_attribute_names\[sqs_query\] different_values\.",
     "AWS gives what both members ask for in the JSON protocol, and lets AttributeNames win in the query protocol; here"
     " both protocols give all that was asked for"),
    (r"^test_list_queues_pagination.* (list_all|list_two_max|list_remaining)\.(QueueUrls\[\d\]|NextToken):",
     "recorded of an emulator: its URLs, and a token that is a URL; how many there are on each page is compared"),
    (r"^test_move_task_cancel.* list-after\.Results\[0\]\.ApproximateNumberOfMessagesMoved",
     "AWS goes on moving for some seconds after it took the cancellation; here no message is moved afterwards"),
    (r"^test_move_task_delete_destination_queue_while_running.*\.ApproximateNumberOfMessagesMoved",
     "how many messages a task moves until AWS notices that its destination is gone depends on its timing"),
]


def parts_of(name):
    """A recorded name's scenario, protocol and choices: test_x[sqs_query-True]."""
    found = re.fullmatch(r"(?:\w+::)?(\w+)(?:\[(.*)\])?", name)
    function, choice = found[1], found[2]
    if choice is None:
        return function, "sqs", []
    protocol = re.match(r"(sqs_query|sqs)(?:-|$)", choice)
    if not protocol:
        return function, "sqs", [choice]
    rest = choice[len(protocol[1]):]
    return function, protocol[1], [rest[1:]] if rest else []


def test_every_recorded_scenario_is_replayed():
    if not RECORDED:
        pytest.skip("CAIRN_SHARED names no folder of fixtures")
    assert {parts_of(name)[0] for name, recorded in RECORDED.items() if recorded} == SCENARIOS.keys()


@pytest.mark.parametrize("name", [name for name, recorded in RECORDED.items() if recorded])
def test_sqs_answers_as_recorded(name, account):
    function, protocol, choices = parts_of(name)
    replay, comparison = Replay(account, protocol), Comparison(account.id)
    if function == "test_receive_message_message_system_attribute_names_filters":
        choices = ["MessageSystemAttributeNames"]
    try:
        SCENARIOS[function](replay, *choices)
    finally:
        replay.close()
    recorded = RECORDED[name]
    assert recorded.keys() == replay.answers.keys()
    lines = [line for label in recorded for line in
             comparison.differences(recorded[label], replay.answers[label], f"{function}[{protocol}] {label}")]
    unexpected = [line for line in lines if not any(re.search(pattern, line) for pattern, _ in DIFFERENCES)]
    assert not unexpected, "\n".join(unexpected)
