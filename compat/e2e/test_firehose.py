"""Firehose: what was put comes into the bucket, also after a kill, and from a stream of Kinesis."""

import gzip
import signal

from stream_drivers import destination, firehose_role
from trails import Account, wait_for


def lines(account, bucket):
    s3 = account.client("s3")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return b"".join(gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys).splitlines()


def test_what_was_acknowledged_is_delivered_after_a_kill(own_server):
    server = own_server()
    account = Account(server)
    bucket = account.bucket(policy=False)
    hints = {"SizeInMBs": 1, "IntervalInSeconds": 2}
    firehose = account.client("firehose")
    firehose.create_delivery_stream(DeliveryStreamName="d", ExtendedS3DestinationConfiguration=destination(
        account, bucket, CompressionFormat="GZIP", BufferingHints=hints))
    sent = []
    for round_ in range(3):
        for n in range(30):
            line = f"{round_}-{n}".encode()
            firehose.put_record(DeliveryStreamName="d", Record={"Data": line + b"\n"})
            sent.append(line)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        account = Account(server)
        firehose = account.client("firehose")
    found = wait_for("all lines", lambda: (got := lines(account, bucket)) and set(got) >= set(sent) and got)
    assert sorted(found) == sorted(sent), "each once"


def test_a_stream_of_kinesis_is_delivered(account, aws):
    kinesis, bucket = account.client("kinesis"), account.bucket(policy=False)
    kinesis.create_stream(StreamName="to-firehose", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    arn = kinesis.describe_stream_summary(StreamName="to-firehose")["StreamDescriptionSummary"]["StreamARN"]
    source = {"KinesisStreamARN": arn, "RoleARN": firehose_role(account)}
    account.client("firehose").create_delivery_stream(
        DeliveryStreamName="from-kinesis", DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration=source,
        ExtendedS3DestinationConfiguration=destination(account, bucket, CompressionFormat="GZIP"))
    records = [{"PartitionKey": str(n), "Data": f"{n}\n".encode()} for n in range(100)]
    kinesis.put_records(StreamName="to-firehose", Records=records)
    wait_for("all records", lambda: sorted(lines(account, bucket)) == sorted(str(n).encode() for n in range(100)))
    code, _, error = aws("firehose", "delete-delivery-stream", "--delivery-stream-name", "from-kinesis")
    assert code == 0, error
