"""Kinesis as its clients see it, what a crash leaves of it, and what its records show."""

import json
import signal
import threading

from botocore.exceptions import BotoCoreError, ClientError
from messaging_drivers import name
from stream_drivers import read_all
from trails import Account, wait_for


def test_the_command_line_puts_and_reads(aws):
    stream = name("cli")
    assert aws("kinesis", "create-stream", "--stream-name", stream, "--shard-count", "1")[0] == 0
    assert aws("kinesis", "wait", "stream-exists", "--stream-name", stream)[0] == 0
    code, _, error = aws("kinesis", "put-record", "--stream-name", stream, "--partition-key", "k", "--data", "hello")
    assert code == 0, error
    _, iterator, _ = aws("kinesis", "get-shard-iterator", "--stream-name", stream, "--shard-id", "shardId-000000000000",
                         "--shard-iterator-type", "TRIM_HORIZON", "--query", "ShardIterator", "--output", "text")
    code, page, error = aws("kinesis", "get-records", "--shard-iterator", iterator.strip())
    assert code == 0 and json.loads(page)["Records"][0]["Data"] == "aGVsbG8=", error
    assert aws("kinesis", "delete-stream", "--stream-name", stream)[0] == 0


def test_what_was_acknowledged_outlives_a_kill(own_server):
    server = own_server()
    kinesis = Account(server).client("kinesis")
    kinesis.create_stream(StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    acknowledged, stop = [], threading.Event()

    def put(writer):
        made = 0
        while not stop.is_set():
            batch = [f"{writer}-{made + n}".encode() for n in range(10)]
            try:
                answer = kinesis.put_records(
                    StreamName="s", Records=[{"PartitionKey": data.decode(), "Data": data} for data in batch])
            except (BotoCoreError, ClientError):
                return
            for data, result in zip(batch, answer["Records"]):
                acknowledged.append((data, result["ShardId"], result["SequenceNumber"]))
            made += 10
    writers = [threading.Thread(target=put, args=(n,)) for n in range(3)]
    for writer in writers:
        writer.start()
    wait_for("500 records", lambda: len(acknowledged) > 500)
    server.process.send_signal(signal.SIGKILL)
    stop.set()
    for writer in writers:
        writer.join()
    server.process.wait()
    server.start()
    kinesis = Account(server).client("kinesis")
    shards = [shard["ShardId"] for shard in kinesis.list_shards(StreamName="s")["Shards"]]
    found = {shard: read_all(kinesis, "s", shard) for shard in shards}
    for data, shard, _ in acknowledged:
        assert data in found[shard], data
    for shard in shards:
        in_order = [data for _, data in sorted((number, data) for data, at, number in acknowledged if at == shard)]
        assert [data for data in found[shard] if data in set(in_order)] == in_order
    # And it goes on.
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"after")


def test_records_show_no_data(own_server):
    server = own_server(delivery_interval="300ms")
    account = Account(server)
    trail, bucket = account.trail()
    selector = [{"Name": "streams", "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::Kinesis::Stream"]}]},
        {"Name": "all", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], AdvancedEventSelectors=selector)
    kinesis = account.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    placed = kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"a secret")
    kinesis.put_records(StreamName="s", Records=[{"PartitionKey": "k", "Data": b"a secret"}])
    read_all(kinesis, "s", "shardId-000000000000")

    def found():
        records = {record["eventName"]: record for record in account.delivered(bucket)}
        return records if {"CreateStream", "PutRecord", "PutRecords", "GetRecords"} <= set(records) else None
    records = wait_for("the records", found)
    put = records["PutRecord"]
    assert put["eventSource"] == "kinesis.amazonaws.com" and put["eventCategory"] == "Data" and not put["readOnly"]
    assert put["requestParameters"] == {"streamName": "s", "partitionKey": "k"}
    assert put["responseElements"]["sequenceNumber"] == placed["SequenceNumber"]
    arn = f"arn:aws:kinesis:us-east-1:{account.id}:stream/s"
    assert put["resources"] == [{"accountId": account.id, "type": "AWS::Kinesis::Stream", "ARN": arn}]
    assert records["PutRecords"]["requestParameters"]["records"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
    assert records["GetRecords"]["readOnly"] and records["CreateStream"]["managementEvent"]
    assert "a secret" not in json.dumps(list(records.values()))
