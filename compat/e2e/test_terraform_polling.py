"""What Terraform's provider asks again and again of queues, topics and buckets while it waits and plans: the exact codes of
what is unset or gone, and answers that stay the same."""

import json
import time
import zlib
from base64 import b64encode

import pytest
from botocore.exceptions import ClientError
from test_operations import default_client

# Sub-resources of a bucket that a plan reads, with the code of an unset one.
UNSET = {
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    "get_bucket_tagging": "NoSuchTagSet",
}
# Those that answer also where nothing was set, and what they answer.
EMPTY = {
    "get_bucket_versioning": {},
    "get_bucket_accelerate_configuration": {},
    "get_bucket_logging": {},
    "get_bucket_notification_configuration": {},
    "get_bucket_request_payment": {"Payer": "BucketOwner"},
    "get_bucket_encryption": {"ServerSideEncryptionConfiguration": {"Rules": [
        {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False},
    ]}},
    "get_bucket_ownership_controls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    "get_public_access_block": {"PublicAccessBlockConfiguration": dict.fromkeys(
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], True
    )},
}


def name(prefix):
    return f"{prefix}-{time.time_ns() % 10**12}"


def code(call, **params):
    """The status and code of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def stable(call, **params):
    """The answer, which is the same several times, as the provider waits for."""
    answers = []
    for _ in range(3):
        answer = call(**params)
        answer.pop("ResponseMetadata")
        answers.append(answer)
    assert answers[0] == answers[1] == answers[2]
    return answers[0]


@pytest.fixture
def bucket(account):
    """A bucket as Terraform makes one."""
    s3, bucket = account.client("s3"), name("terraform")
    assert code(s3.head_bucket, Bucket=bucket)[0] == 404
    s3.create_bucket(Bucket=bucket, ACL="private", CreateBucketConfiguration={"Tags": [{"Key": "k", "Value": "v"}]})
    s3.delete_bucket_tagging(Bucket=bucket)
    return bucket


@pytest.mark.parametrize("operation,expected", UNSET.items())
def test_an_unset_sub_resource_of_a_bucket_answers_its_code(account, bucket, operation, expected):
    call = getattr(account.client("s3"), operation)
    assert code(call, Bucket=bucket) == (404, expected)
    assert code(call, Bucket=bucket) == (404, expected)
    assert code(call, Bucket=name("gone")) == (404, "NoSuchBucket")


@pytest.mark.parametrize("operation,expected", EMPTY.items())
def test_a_sub_resource_of_a_bucket_that_needs_no_setting_answers(account, bucket, operation, expected):
    call = getattr(account.client("s3"), operation)
    assert stable(call, Bucket=bucket) == expected
    assert code(call, Bucket=name("gone")) == (404, "NoSuchBucket")


def test_what_was_taken_away_answers_its_code(account, bucket):
    s3 = account.client("s3")
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert code(s3.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    assert code(s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")


def test_a_notification_is_read_as_it_was_written_and_is_empty_once_it_is_destroyed(account, bucket):
    s3 = account.client("s3")
    arn = f"arn:aws:sqs:us-east-1:{account.id}:terraform"
    # In the order in which the provider writes lists, with the ids that it makes.
    rules = [{"Name": "Prefix", "Value": "a/"}, {"Name": "Suffix", "Value": ".gz"}]
    queue = {"Id": "tf-s3-queue-20261121", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"],
             "Filter": {"Key": {"FilterRules": rules}}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}, SkipDestinationValidation=True
    )
    assert stable(s3.get_bucket_notification_configuration, Bucket=bucket) == {"QueueConfigurations": [queue]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    assert stable(s3.get_bucket_notification_configuration, Bucket=bucket) == {}
    assert code(s3.put_bucket_notification_configuration, Bucket=name("gone"), NotificationConfiguration={}) == (
        404, "NoSuchBucket"
    )


def test_a_configuration_with_a_checksum_of_its_own_is_taken_and_a_wrong_one_refused(account, bucket):
    """The provider sends X-Amz-Checksum-Crc32 with every configuration, as boto3 does."""
    s3, sent = account.client("s3"), []

    def spoil(request, **_):
        sent.append(request.headers.get("x-amz-checksum-crc32"))
        del request.headers["x-amz-checksum-crc32"]
        request.headers["x-amz-checksum-crc32"] = b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    status = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status)
    assert stable(s3.get_bucket_versioning, Bucket=bucket) == status
    s3.meta.events.register("before-sign.s3.PutBucketVersioning", spoil)
    wrong = code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert wrong in [(400, "BadDigest"), (400, "InvalidRequest")] and sent[0]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_tags_are_read_and_written_through_s3_control(account, bucket):
    """Provider 6.23 and later; the account stands before the host's name, which an address cannot have."""
    control = default_client(account, "s3control")
    of = {"AccountId": account.id, "ResourceArn": f"arn:aws:s3:::{bucket}"}
    assert stable(control.list_tags_for_resource, **of) == {"Tags": []}
    control.tag_resource(**of, Tags=[{"Key": "team", "Value": "säfe"}])
    assert stable(control.list_tags_for_resource, **of) == {"Tags": [{"Key": "team", "Value": "säfe"}]}
    control.untag_resource(**of, TagKeys=["team"])
    assert stable(control.list_tags_for_resource, **of) == {"Tags": []}
    gone = {**of, "ResourceArn": f"arn:aws:s3:::{name('gone')}"}
    assert code(control.list_tags_for_resource, **gone) == (404, "NoSuchResource")
    assert code(control.list_tags_for_resource, **{**of, "AccountId": "999999999999"})[0] == 403


def test_a_destroyed_bucket_is_gone_everywhere(account, bucket):
    s3 = account.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="a")
    assert code(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    # force_destroy lists the versions and deletes them.
    listed = s3.list_object_versions(Bucket=bucket)
    doomed = [{"Key": item["Key"], "VersionId": item["VersionId"]}
              for item in listed["Versions"] + listed["DeleteMarkers"]]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
    s3.delete_bucket(Bucket=bucket)
    assert code(s3.head_bucket, Bucket=bucket)[0] == 404
    assert code(s3.delete_bucket, Bucket=bucket) == (404, "NoSuchBucket")


def test_a_queue_answers_the_same_until_it_is_deleted_and_then_that_it_is_not_there(account):
    sqs, queue = account.client("sqs"), name("terraform")
    attributes = {"VisibilityTimeout": "45", "MessageRetentionPeriod": "86400", "SqsManagedSseEnabled": "true"}
    url = sqs.create_queue(QueueName=queue, Attributes=attributes, tags={"k": "v"})["QueueUrl"]
    found = stable(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes.items() <= found.items() and "Policy" not in found and "RedrivePolicy" not in found
    assert stable(sqs.list_queue_tags, QueueUrl=url) == {"Tags": {"k": "v"}}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    found = stable(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["DelaySeconds"] == "5"
    sqs.delete_queue(QueueUrl=url)
    gone = (400, "AWS.SimpleQueueService.NonExistentQueue")
    for _ in range(3):
        assert code(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"]) == gone
    assert code(sqs.list_queue_tags, QueueUrl=url) == gone
    assert code(sqs.get_queue_url, QueueName=queue) == gone


def test_a_topic_and_its_subscription_answer_the_same_and_then_not_found(account):
    sns, sqs = account.client("sns"), account.client("sqs")
    arn = sns.create_topic(Name=name("terraform"), Tags=[{"Key": "k", "Value": "v"}])["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SNS:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    for attribute, value in [
        ("Policy", policy), ("DisplayName", "t"), ("HTTPSuccessFeedbackSampleRate", "0"),
        ("SQSSuccessFeedbackSampleRate", "0"), ("LambdaSuccessFeedbackSampleRate", "0"), ("SignatureVersion", "2"),
    ]:
        sns.set_topic_attributes(TopicArn=arn, AttributeName=attribute, AttributeValue=value)
    found = stable(sns.get_topic_attributes, TopicArn=arn)["Attributes"]
    assert found["TopicArn"] == arn and found["Owner"] == account.id and found["DisplayName"] == "t"
    assert json.loads(found["Policy"]) == json.loads(policy) and json.loads(found["EffectiveDeliveryPolicy"])
    assert stable(sns.list_tags_for_resource, ResourceArn=arn) == {"Tags": [{"Key": "k", "Value": "v"}]}
    queue = sqs.create_queue(QueueName=name("terraform"))["QueueUrl"]
    endpoint = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=endpoint, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    found = stable(sns.get_subscription_attributes, SubscriptionArn=subscription)["Attributes"]
    assert (found["PendingConfirmation"], found["RawMessageDelivery"]) == ("false", "false")
    assert found["Endpoint"] == endpoint and found["Protocol"] == "sqs" and "FilterPolicy" not in found
    [listed] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    assert listed["SubscriptionArn"] == subscription
    sns.unsubscribe(SubscriptionArn=subscription)
    for _ in range(3):
        assert code(sns.get_subscription_attributes, SubscriptionArn=subscription) == (404, "NotFound")
    sns.delete_topic(TopicArn=arn)
    for _ in range(3):
        assert code(sns.get_topic_attributes, TopicArn=arn) == (404, "NotFound")
    assert code(sns.list_tags_for_resource, ResourceArn=arn) == (404, "ResourceNotFound")
