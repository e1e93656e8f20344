"""boto3 with default settings against every operation there is, and every operation that there is not.

docs/operations.md says what there is. Each operation on it is called with success, and its answers are held against
botocore's model; each other operation of the same services is called with the smallest input that the model allows,
and must answer the protocol's unsupported error and be recorded with it.
"""

import json
import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cloudwatch_drivers import drive_cloudwatch
from events_drivers import drive_events
from functions import drive_lambda
from identity_drivers import drive_credentials, drive_kms, drive_organizations, drive_policies, drive_sessions
from logs_drivers import drive_logs
from messaging_drivers import drive_sqs
from models import Answers, listed_operations, method_name, minimal_input
from sns_drivers import drive_sns
from stream_drivers import drive_firehose, drive_kinesis
from trails import wait_for

LISTED = listed_operations()
ALL = [(service, operation) for service, operations in LISTED.items() for operation in operations]
# Settings that S3 has no value of here: AWS's error for an unset one is the right answer.
UNSET = {
    "GetBucketCors": "NoSuchCORSConfiguration", "GetBucketWebsite": "NoSuchWebsiteConfiguration",
    "GetBucketReplication": "ReplicationConfigurationNotFoundError",
}
# Older names of calls: what is sent is the same, and so is the reply, which says more than the older model knows.
OLDER = {
    operation: [f"{operation}: the header x-amz-transition-default-minimum-object-size is not in the model"]
    for operation in ("GetBucketLifecycle", "PutBucketLifecycle")
}
MODELS = botocore.session.Session()


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def default_client(account, service, config=None):
    """A client with boto3's default settings but for the endpoint."""
    client = account.session.client(
        service, region_name="us-east-1", endpoint_url=account.server.endpoint, config=config
    )
    client.meta.events.register("before-sign.s3-control.*", without_account)
    return client


def without_account(request, **_):
    """S3 Control's clients put the account before the host: an address has no names under it."""
    request.url = re.sub(r"//\d{12}\.", "//", request.url)


def refused(code, call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == code


# ---- what there is --------------------------------------------------------------------------------------------------


def drive_sts(sts, account):
    answer = sts.get_caller_identity()
    assert answer["Arn"] == f"arn:aws:iam::{account.id}:root" and answer["Account"] == account.id
    drive_sessions(sts, account)


def drive_iam(iam, account):
    user, tag = name("user"), {"Key": "team", "Value": "säfe & <sound>"}
    made = iam.create_user(UserName=user, Path="/ops/", Tags=[tag])["User"]
    assert made["Arn"] == f"arn:aws:iam::{account.id}:user/ops/{user}" and made["Tags"] == [tag]
    assert iam.get_user(UserName=user)["User"]["UserId"] == made["UserId"]
    # Of root AWS shows no name and no path, though its model requires them.
    root = default_client(account, "iam").get_user()["User"]
    assert root["Arn"].endswith(":root") and "UserName" not in root
    iam.tag_user(UserName=user, Tags=[{"Key": "more", "Value": ""}])
    assert len(iam.list_user_tags(UserName=user)["Tags"]) == 2
    iam.untag_user(UserName=user, TagKeys=["more"])
    assert iam.list_user_tags(UserName=user)["Tags"] == [tag]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    assert key["Status"] == "Active" and key["SecretAccessKey"]
    theirs = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=account.server.endpoint,
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
    )
    assert theirs.get_caller_identity()["UserId"] == made["UserId"]
    used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert used["UserName"] == user and used["AccessKeyLastUsed"]["ServiceName"] == "sts"
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused("InvalidClientTokenId", theirs.get_caller_identity)
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.update_user(UserName=user, NewUserName=user + "-2")
    names = [u["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1})
             for u in page["Users"]]
    assert user + "-2" in names and user not in names and names == sorted(set(names))
    assert iam.get_account_summary()["SummaryMap"]["Users"] >= 1
    for alias in iam.list_account_aliases()["AccountAliases"]:
        iam.delete_account_alias(AccountAlias=alias)
    alias = name("alias")
    iam.create_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == [alias]
    iam.delete_account_alias(AccountAlias=alias)
    iam.delete_user(UserName=user + "-2")
    refused("NoSuchEntity", iam.get_user, UserName=user)
    drive_policies(iam, account)
    drive_credentials(iam, account)


def drive_cloudtrail(trails, account):
    drive_channels(trails, account)
    drive_delegation(trails, account)
    bucket, trail = account.bucket(), name("operations")
    arn = trails.create_trail(
        Name=trail, S3BucketName=bucket, IsMultiRegionTrail=True, EnableLogFileValidation=True,
        TagsList=[{"Key": "a", "Value": "1"}],
    )["TrailARN"]
    try:
        assert trails.get_trail(Name=trail)["Trail"]["TrailARN"] == arn
        assert [t["TrailARN"] for t in trails.describe_trails(trailNameList=[arn])["trailList"]] == [arn]
        pages = trails.get_paginator("list_trails").paginate()
        assert arn in [t["TrailARN"] for page in pages for t in page["Trails"]]
        trails.start_logging(Name=arn)
        assert trails.get_trail_status(Name=arn)["IsLogging"] is True
        trails.stop_logging(Name=trail)
        assert trails.get_trail_status(Name=arn)["IsLogging"] is False
        basic = [{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True,
                  "DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{bucket}/a/"]}],
                  "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]
        trails.put_event_selectors(TrailName=arn, EventSelectors=basic)
        assert trails.get_event_selectors(TrailName=trail)["EventSelectors"] == basic
        advanced = [{"Name": "all of it", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]
        trails.put_event_selectors(TrailName=arn, AdvancedEventSelectors=advanced)
        assert trails.get_event_selectors(TrailName=trail)["AdvancedEventSelectors"] == advanced
        insights = [{"InsightType": "ApiCallRateInsight"}]
        assert trails.put_insight_selectors(TrailName=arn, InsightSelectors=insights)["InsightSelectors"]
        assert trails.get_insight_selectors(TrailName=arn)["InsightSelectors"][0]["InsightType"] == "ApiCallRateInsight"
        trails.put_insight_selectors(TrailName=arn, InsightSelectors=[])
        refused("InsightNotEnabledException", trails.get_insight_selectors, TrailName=arn)
        trails.add_tags(ResourceId=arn, TagsList=[{"Key": "b", "Value": "2"}, {"Key": "c"}])
        trails.remove_tags(ResourceId=arn, TagsList=[{"Key": "a"}])
        tags = trails.list_tags(ResourceIdList=[arn])["ResourceTagList"][0]["TagsList"]
        assert {tag["Key"] for tag in tags} == {"b", "c"}
        assert trails.update_trail(Name=arn, IsMultiRegionTrail=False)["IsMultiRegionTrail"] is False
        assert trails.list_public_keys()["PublicKeyList"][0]["Value"].startswith(b"0\x82")

        def created():
            attributes = [{"AttributeKey": "ResourceName", "AttributeValue": trail}]
            return [event for event in trails.lookup_events(LookupAttributes=attributes)["Events"]
                    if event["EventName"] == "CreateTrail"]
        event = wait_for("the event of CreateTrail", created)[0]
        assert json.loads(event["CloudTrailEvent"])["requestParameters"]["name"] == trail
    finally:
        trails.delete_trail(Name=arn)


def drive_s3(s3, account):
    bucket = name("operations")
    s3.create_bucket(Bucket=bucket)
    drive_bucket_settings(s3, bucket)
    drive_objects(s3, bucket)
    drive_multipart(s3, bucket)
    drive_object_lock(s3, name("locked"))
    versions = s3.list_object_versions(Bucket=bucket)
    gone = [{"Key": v["Key"], "VersionId": v["VersionId"]}
            for v in versions.get("Versions", []) + versions.get("DeleteMarkers", [])]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})
    assert len(answer["Deleted"]) == len(gone) and "Errors" not in answer
    s3.delete_bucket(Bucket=bucket)
    refused("404", s3.head_bucket, Bucket=bucket)


def drive_bucket_settings(s3, bucket):
    s3.head_bucket(Bucket=bucket)
    assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    tags = [{"Key": "k", "Value": "v w"}]
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.get_bucket_ownership_controls(Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    refused("OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket=bucket)
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False,
             "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/public/*"},
    ]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == policy
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    for operation, code in UNSET.items():
        refused(code, getattr(s3, method_name(operation)), Bucket=bucket)
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "p/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [rule]
    for kind in ("cors", "website", "lifecycle", "replication"):
        getattr(s3, f"delete_bucket_{kind}")(Bucket=bucket)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    # boto3 still has the older names of two calls.
    older = {"ID": "x", "Status": "Enabled", "Prefix": "p/", "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle(Bucket=bucket, LifecycleConfiguration={"Rules": [older]})
    assert s3.get_bucket_lifecycle(Bucket=bucket)["Rules"] == [older]
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.get_bucket_notification(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_bucket_notification(Bucket=bucket, NotificationConfiguration={})


def drive_objects(s3, bucket):
    key, body = "a/ключ with+space&?#.txt", b"first\n"
    put = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"origin": "here"}, Tagging="x=1&y=2",
                        ContentType="text/plain", CacheControl="no-store")
    assert put["ChecksumCRC32"] and put["VersionId"] and put["ServerSideEncryption"] == "AES256"
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head["ETag"] == put["ETag"] and head["ChecksumCRC32"] == put["ChecksumCRC32"]
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == body and got["Metadata"] == {"origin": "here"} and got["TagCount"] == 2
    attributes = s3.get_object_attributes(
        Bucket=bucket, Key=key, ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"]
    )
    assert attributes["ObjectSize"] == len(body)
    assert len(s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]) == 2
    s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "z", "Value": "3"}]})
    s3.delete_object_tagging(Bucket=bucket, Key=key)
    assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == []
    s3.put_object_acl(Bucket=bucket, Key=key, ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket=bucket, Key=key)["Grants"]
    copied = s3.copy_object(Bucket=bucket, Key="a/copy", CopySource={"Bucket": bucket, "Key": key})
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    page = s3.list_objects_v2(Bucket=bucket, Prefix="a/", MaxKeys=1, FetchOwner=True)
    assert page["IsTruncated"] and page["Contents"][0]["Key"] == "a/copy"
    rest = s3.list_objects_v2(Bucket=bucket, Prefix="a/", ContinuationToken=page["NextContinuationToken"])
    assert [item["Key"] for item in rest["Contents"]] == [key]
    assert [p["Prefix"] for p in s3.list_objects(Bucket=bucket, Delimiter="/")["CommonPrefixes"]] == ["a/"]
    deleted = s3.delete_object(Bucket=bucket, Key=key)
    assert deleted["DeleteMarker"] is True
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key=key)
    assert s3.get_object(Bucket=bucket, Key=key, VersionId=put["VersionId"])["Body"].read() == body
    versions = s3.list_object_versions(Bucket=bucket, Prefix="a/")
    assert len(versions["Versions"]) == 2 and len(versions["DeleteMarkers"]) == 1


def drive_object_lock(s3, bucket):
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == lock
    version = s3.put_object(Bucket=bucket, Key="held", Body=b"x")["VersionId"]
    held = {"Bucket": bucket, "Key": "held", "VersionId": version}
    until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    s3.put_object_retention(**held, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})
    assert s3.get_object_retention(**held)["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    assert s3.head_object(**held)["ObjectLockRetainUntilDate"] == until
    refused("AccessDenied", s3.delete_object, **held)
    s3.put_object_legal_hold(**held, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**held)["LegalHold"] == {"Status": "ON"}
    refused("AccessDenied", s3.delete_object, **held, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(**held, LegalHold={"Status": "OFF"})
    s3.delete_object(**held, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=bucket)


def drive_multipart(s3, bucket):
    part = b"p" * (5 * 1024 * 1024)
    s3.put_object(Bucket=bucket, Key="source", Body=part)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large", Metadata={"m": "1"})["UploadId"]
    first = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=1, Body=part)
    second = s3.upload_part_copy(
        Bucket=bucket, Key="large", UploadId=upload, PartNumber=2, CopySource={"Bucket": bucket, "Key": "source"}
    )["CopyPartResult"]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    assert [p["PartNumber"] for p in s3.list_parts(Bucket=bucket, Key="large", UploadId=upload)["Parts"]] == [1, 2]
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert done["ETag"].endswith('-2"')
    assert s3.head_object(Bucket=bucket, Key="large")["ContentLength"] == 2 * len(part)
    summed = s3.create_multipart_upload(Bucket=bucket, Key="summed", ChecksumAlgorithm="CRC32")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="summed", UploadId=summed, PartNumber=1, Body=b"only")
    only = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="summed", UploadId=summed, MultipartUpload={"Parts": [only]}
    )
    assert done["ChecksumType"] == "COMPOSITE" and done["ChecksumCRC32"].endswith("-1")
    left = s3.create_multipart_upload(Bucket=bucket, Key="left")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="left", UploadId=left)
    refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="left", UploadId=left)


def audit_event(account):
    data = {
        "version": "1.0", "userIdentity": {"type": "CustomUser", "principalId": "alice"}, "UID": str(uuid.uuid4()),
        "eventSource": "billing.example.com", "eventName": "PayInvoice", "recipientAccountId": account.id,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return {"id": str(uuid.uuid4()), "eventData": json.dumps(data)}


def destination(account):
    store = f"arn:aws:cloudtrail:us-east-1:{account.id}:eventdatastore/event-history"
    return [{"Type": "EVENT_DATA_STORE", "Location": store}]


def drive_channels(trails, account):
    arn = trails.create_channel(Name=name("channel"), Source="Custom", Destinations=destination(account))["ChannelArn"]
    renamed = trails.update_channel(Channel=arn, Name=name("renamed"))["Name"]
    assert trails.get_channel(Channel=arn)["Name"] == renamed
    assert {"ChannelArn": arn, "Name": renamed} in trails.list_channels()["Channels"]
    trails.delete_channel(Channel=arn)
    refused("ChannelNotFoundException", trails.get_channel, Channel=arn)


def drive_delegation(trails, account):
    """An organization of its own, which is gone afterwards."""
    organizations = account.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    organizations.enable_aws_service_access(ServicePrincipal="cloudtrail.amazonaws.com")
    made = organizations.create_account(AccountName="trails", Email=f"{name('trails')}@example.com")
    member = made["CreateAccountStatus"]["AccountId"]
    trails.register_organization_delegated_admin(MemberAccountId=member)
    trails.deregister_organization_delegated_admin(DelegatedAdminAccountId=member)
    organizations.remove_account_from_organization(AccountId=member)
    organizations.delete_organization()


def drive_cloudtrail_data(data, account):
    trails = default_client(account, "cloudtrail")
    arn = trails.create_channel(Name=name("channel"), Source="Custom", Destinations=destination(account))["ChannelArn"]
    event = audit_event(account)
    done = data.put_audit_events(channelArn=arn, auditEvents=[event])
    assert [taken["id"] for taken in done["successful"]] == [event["id"]] and done["failed"] == []
    trails.delete_channel(Channel=arn)


def drive_s3control(control, account):
    bucket = account.bucket(policy=False)
    of = {"AccountId": account.id, "ResourceArn": f"arn:aws:s3:::{bucket}"}
    control.tag_resource(**of, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    control.tag_resource(**of, Tags=[{"Key": "a", "Value": "3"}])
    control.untag_resource(**of, TagKeys=["b"])
    assert control.list_tags_for_resource(**of)["Tags"] == [{"Key": "a", "Value": "3"}]
    assert account.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "3"}]
    missing = {**of, "ResourceArn": "arn:aws:s3:::not-there-at-all"}
    refused("NoSuchResource", control.list_tags_for_resource, **missing)


DRIVERS = {
    "cloudtrail-data": drive_cloudtrail_data, "sts": drive_sts, "iam": drive_iam, "cloudtrail": drive_cloudtrail,
    "s3": drive_s3, "s3control": drive_s3control, "kms": drive_kms, "organizations": drive_organizations,
    "sqs": drive_sqs, "sns": drive_sns, "cloudwatch": drive_cloudwatch, "events": drive_events,
    "logs": drive_logs, "kinesis": drive_kinesis, "lambda": drive_lambda, "firehose": drive_firehose,
}
# What succeeds only with something that this suite has not: a provider of identities, a service that seals messages.
PROVEN_ELSEWHERE = {
    ("sts", "AssumeRoleWithWebIdentity"), ("sts", "DecodeAuthorizationMessage"), ("logs", "CancelExportTask"),
    ("logs", "StopQuery"),
}


@pytest.fixture(scope="module")
def answers(account):
    """All answers of a service's scenario, which runs once; a scenario that breaks off fails its own test."""
    seen, broken = {}, {}

    def of(service):
        if service not in seen:
            client = default_client(account, service)
            seen[service] = Answers(client)
            try:
                DRIVERS[service](client, account)
            except Exception as error:
                broken[service] = error
        return seen[service], broken.get(service)
    return of


@pytest.mark.parametrize("service", LISTED)
def test_the_scenario_of_a_service_goes_through(service, answers):
    _, broken = answers(service)
    if broken:
        raise broken


@pytest.mark.parametrize("service,operation", [pair for pair in ALL if pair not in PROVEN_ELSEWHERE])
def test_every_operation_answers_as_its_model_says(service, operation, answers):
    seen, _ = answers(service)
    if service == "s3" and operation in UNSET:
        assert seen.failed.get(operation) == {UNSET[operation]}
        return
    assert seen.seen.get(operation), f"{operation} was not called with success; its errors: {seen.failed.get(operation)}"
    assert seen.faults(operation) == OLDER.get(operation, [])


# ---- what there is not ----------------------------------------------------------------------------------------------

# One operation of services that Cairn does not have, in each protocol.
FOREIGN = [
    ("ec2", "DescribeInstances"), ("ec2", "RunInstances"),
    ("dynamodb", "ListTables"), ("route53", "ListHostedZones"), ("secretsmanager", "ListSecrets"),
    ("rds", "DescribeDBInstances"), ("eks", "ListClusters"), ("cloudfront", "ListDistributions"),
]
UNSUPPORTED = {
    "json": (400, "UnsupportedOperationException"), "rest-json": (400, "UnsupportedOperationException"),
    "smithy-rpc-v2-cbor": (400, "UnsupportedOperationException"), "query": (400, "InvalidAction"),
    "ec2": (400, "InvalidAction"), "rest-xml": (400, "UnsupportedOperationException"), "s3": (501, "NotImplemented"),
}
# Names of operations in records, where they differ.
RECORDED_AS = {
    ("s3", "PutBucketLifecycleConfiguration"): "PutBucketLifecycle",
    ("s3", "PutBucketAccelerateConfiguration"): "PutAccelerateConfiguration",
}
# Operations that do not travel by themselves: presigned by clients, sent to other endpoints, or over event streams.
NOT_SENT = {("s3", "WriteGetObjectResponse"), ("s3control", "CreateBucket")}


def missing_operations():
    for service, operations in LISTED.items():
        for operation in MODELS.get_service_model(service).operation_names:
            if operation not in operations and (service, operation) not in NOT_SENT:
                yield service, operation
    yield from FOREIGN


@pytest.fixture(scope="module")
def unsupported(account):
    """Every operation that is not there, called once: {(service, operation): (status, code)}, and since when."""
    since, outcomes, clients = time.time(), {}, {}
    # Only that retries are off and no host is prefixed differs from the default.
    config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False)
    for service, operation in missing_operations():
        client = clients.setdefault(service, default_client(account, service, config))
        shape = client.meta.service_model.operation_model(operation).input_shape
        try:
            getattr(client, method_name(operation))(**minimal_input(shape))
            outcomes[service, operation] = (200, "")
        except ClientError as error:
            answer = error.response
            outcomes[service, operation] = (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"])
        except Exception as error:
            outcomes[service, operation] = (0, f"{type(error).__name__}: {error}")
    return since, outcomes


@pytest.mark.parametrize("service", [*LISTED, "others"])
def test_what_is_not_there_answers_the_unsupported_error(service, unsupported):
    wrong = {}
    for (of, operation), outcome in unsupported[1].items():
        if of == service or (service == "others" and of not in LISTED):
            protocol = "s3" if of == "s3" else MODELS.get_service_model(of).resolved_protocol
            if outcome != UNSUPPORTED[protocol]:
                wrong[f"{of}.{operation}"] = outcome
    assert wrong == {}


def test_what_is_not_there_is_recorded_with_its_error(account, unsupported):
    since, outcomes = unsupported
    trails = default_client(account, "cloudtrail")

    def recorded():
        """The codes of all failed events, by name: services that share an event source share names too."""
        codes = {}
        pages = trails.get_paginator("lookup_events").paginate(StartTime=since - 1)
        for page in pages:
            for event in page["Events"]:
                record = json.loads(event["CloudTrailEvent"])
                if record.get("errorCode"):
                    codes.setdefault(record["eventName"], set()).add(record["errorCode"])
        return codes
    wait_for("the last event", lambda: "ListDistributions" in recorded())
    codes = recorded()
    missing = [
        key for key, (_, code) in outcomes.items() if code not in codes.get(RECORDED_AS.get(key, key[1]), set())
    ]
    assert missing == []
