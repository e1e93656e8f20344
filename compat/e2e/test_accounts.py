"""Several accounts: one bucket that gathers the trails of all, and readers who see their own account's files only."""

import gzip
import json
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError
from cairn_server import Server
from conftest import BINARY, run_aws
from trails import Account, wait_for

LOGS, TEAM_B, TEAM_C = "111111111111", "222222222222", "333333333333"


class Member(Account):
    """The root user of one of a server's accounts."""

    def __init__(self, server, account):
        self.environment = server.environment_of(account)
        super().__init__(server, self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"])
        self.id = account

    def user(self, name, *statements):
        """A new user of the account that may do what the statements allow."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        user = Account(self.server, key["AccessKeyId"], key["SecretAccessKey"])
        user.environment = {**self.environment, "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return user


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trail_arn(account):
    return f"arn:aws:cloudtrail:us-east-1:{account}:trail/audit"


def delivery(bucket, *accounts):
    """The documented policy of a bucket that takes the trails of these accounts, and no others."""
    service = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    source = {"aws:SourceArn": [trail_arn(account) for account in accounts], "aws:SourceAccount": list(accounts)}
    return [
        {**service, "Sid": "AclCheck", "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{bucket}",
         "Condition": {"StringEquals": source}},
        {**service, "Sid": "Write", "Action": "s3:PutObject",
         "Resource": [f"arn:aws:s3:::{bucket}/central/AWSLogs/{account}/*" for account in accounts],
         "Condition": {"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}}},
    ]


def reading(bucket, account):
    """What a reader of one account's files needs."""
    own = f"central/AWSLogs/{account}/"
    return [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/{own}*"},
        {"Effect": "Allow", "Action": "s3:GetBucketLocation", "Resource": f"arn:aws:s3:::{bucket}"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}",
         "Condition": {"StringLike": {"s3:prefix": [f"{own}*"]}}},
    ]


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def keys_of(logs, bucket, account, folder="CloudTrail"):
    return [key for key in logs.keys(bucket, folder) if f"/AWSLogs/{account}/" in key]


def validate(server, environment, account, bucket, *more):
    start = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    code, out, err = run_aws(
        server, "cloudtrail", "validate-logs", "--trail-arn", trail_arn(account), "--start-time", start, "--verbose",
        "--s3-bucket", bucket, "--s3-prefix", "central", *more, environment=environment)
    return code, out + err


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server with three accounts; the trails of two deliver into a bucket of the third."""
    folder = tmp_path_factory.mktemp("accounts") / "data"
    folder.mkdir()
    with Server(BINARY, data=folder, account=f"{LOGS},{TEAM_B},{TEAM_C}", delivery_interval="1s",
                digest_interval="3s") as server:
        logs, team_b, team_c = (Member(server, account) for account in (LOGS, TEAM_B, TEAM_C))
        bucket = "central-trail-logs"
        logs.client("s3").create_bucket(Bucket=bucket)
        yield server, logs, team_b, team_c, bucket


def allow_delivery(logs, bucket, *accounts, more=()):
    logs.client("s3").put_bucket_policy(Bucket=bucket, Policy=document(*delivery(bucket, *accounts), *more))


def begin(team, bucket):
    trails = team.client("cloudtrail")
    try:
        trails.create_trail(Name="audit", S3BucketName=bucket, S3KeyPrefix="central", EnableLogFileValidation=True)
    except trails.exceptions.TrailAlreadyExistsException:
        pass
    trails.start_logging(Name="audit")
    return trails


def marked(logs, bucket, team, name):
    """Whether the event of a call on a trail of that name is delivered."""
    return any(name in json.dumps(record.get("requestParameters")) for key in keys_of(logs, bucket, team.id)
               for record in logs.read(bucket, key)["Records"])


def mark(team, name):
    refused(team.client("cloudtrail").get_trail, Name=name)


def test_a_policy_decides_whose_trails_a_bucket_takes_and_nothing_is_lost_while_it_refuses(world):
    server, logs, team_b, team_c, bucket = world
    create = team_b.client("cloudtrail").create_trail
    assert refused(create, Name="audit", S3BucketName=bucket, S3KeyPrefix="central") == "InsufficientS3BucketPolicyException"
    allow_delivery(logs, bucket, TEAM_B, TEAM_C)
    # The policy names one trail of each account, under one prefix: nothing else is taken.
    assert refused(create, Name="other", S3BucketName=bucket, S3KeyPrefix="central") == "InsufficientS3BucketPolicyException"
    assert refused(create, Name="audit", S3BucketName=bucket) == "InsufficientS3BucketPolicyException"
    in_b, in_c = begin(team_b, bucket), begin(team_c, bucket)
    mark(team_b, "first-of-b"), mark(team_c, "first-of-c")
    wait_for("files of both", lambda: marked(logs, bucket, team_b, "first-of-b") and marked(logs, bucket, team_c, "first-of-c"))
    for team in (team_b, team_c):
        for key in keys_of(logs, bucket, team.id):
            assert key.startswith(f"central/AWSLogs/{team.id}/CloudTrail/us-east-1/")
            records = logs.read(bucket, key)["Records"]
            assert {record["recipientAccountId"] for record in records} == {team.id}

    allow_delivery(logs, bucket, TEAM_B)
    mark(team_c, "while-refused")
    wait_for("the error of C", lambda: in_c.get_trail_status(Name="audit").get("LatestDeliveryError") == "AccessDenied")
    mark(team_b, "goes-on")
    wait_for("B's event", lambda: marked(logs, bucket, team_b, "goes-on"))
    assert "LatestDeliveryError" not in in_b.get_trail_status(Name="audit")
    assert not marked(logs, bucket, team_c, "while-refused")

    allow_delivery(logs, bucket, TEAM_B, TEAM_C)
    wait_for("C's event", lambda: marked(logs, bucket, team_c, "while-refused"), 90)
    wait_for("no error", lambda: "LatestDeliveryError" not in in_c.get_trail_status(Name="audit"), 90)
    ids = [r["eventID"] for key in keys_of(logs, bucket, TEAM_C) for r in logs.read(bucket, key)["Records"]]
    assert len(ids) == len(set(ids))


def test_readers_of_an_account_see_and_validate_their_own_files_until_that_is_revoked(world):
    server, logs, team_b, team_c, bucket = world
    allow_delivery(logs, bucket, TEAM_B, TEAM_C)
    begin(team_b, bucket), begin(team_c, bucket)
    mark(team_b, "seen-by-b"), mark(team_c, "seen-by-c")
    digested = logs.digested
    wait_for("digested files", lambda: all(
        keys_of(logs, bucket, team.id) and set(keys_of(logs, bucket, team.id)) <= digested(bucket)
        for team in (team_b, team_c)), 60)
    of_b, of_c = keys_of(logs, bucket, TEAM_B)[0], keys_of(logs, bucket, TEAM_C)[0]

    # Through a role of the account that owns the bucket.
    iam, role = logs.client("iam"), f"reader-of-{TEAM_B}"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TEAM_B}:root"}, "Action": "sts:AssumeRole"}
    role_arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="own-files", PolicyDocument=document(
        *reading(bucket, TEAM_B), {"Effect": "Allow", "Action": "cloudtrail:ListPublicKeys", "Resource": "*"}))
    reader = team_b.user("auditor", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn},
                         {"Effect": "Allow", "Action": "cloudtrail:*", "Resource": "*"})
    stranger = team_c.user("curious", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn})
    assert refused(stranger.client("sts").assume_role, RoleArn=role_arn, RoleSessionName="curious") == "AccessDenied"
    given = reader.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="audit")["Credentials"]
    session = {**team_b.environment, "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
               "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"], "AWS_SESSION_TOKEN": given["SessionToken"]}
    s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=given["AccessKeyId"],
                      aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])
    reads_only_b(s3, bucket, of_b, of_c)
    code, output = validate(server, session, TEAM_B, bucket, "--account-id", TEAM_B)
    assert code == 0 and "INVALID" not in output and "log files valid" in output, output
    code, output = validate(server, session, TEAM_C, bucket, "--account-id", TEAM_C)
    assert code != 0 and "AccessDenied" in output, output

    # Through the bucket's policy, which has to be met by one of the reader's own account.
    direct = reader.client("s3")
    assert refused(direct.get_object, Bucket=bucket, Key=of_b) == "AccessDenied"
    account_b = {"Principal": {"AWS": f"arn:aws:iam::{TEAM_B}:root"}}
    allow_delivery(logs, bucket, TEAM_B, TEAM_C, more=[{**s, **account_b} for s in reading(bucket, TEAM_B)])
    assert refused(direct.get_object, Bucket=bucket, Key=of_b) == "AccessDenied"
    team_b.client("iam").put_user_policy(UserName="auditor", PolicyName="files", PolicyDocument=document(
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
    reads_only_b(direct, bucket, of_b, of_c)
    assert refused(direct.put_object, Bucket=bucket, Key=of_b, Body=b"") == "AccessDenied"
    assert refused(direct.delete_object, Bucket=bucket, Key=of_b) == "AccessDenied"
    code, output = validate(server, reader.environment, TEAM_B, bucket)
    assert code == 0 and "INVALID" not in output and "log files valid" in output, output

    # Revoked: the statement goes, and the role's policy.
    allow_delivery(logs, bucket, TEAM_B, TEAM_C)
    iam.delete_role_policy(RoleName=role, PolicyName="own-files")
    for client in (direct, s3):
        assert refused(client.get_object, Bucket=bucket, Key=of_b) == "AccessDenied"
    code, output = validate(server, reader.environment, TEAM_B, bucket)
    assert code != 0 and "AccessDenied" in output, output


def reads_only_b(s3, bucket, of_b, of_c):
    """Reads B's files, and neither sees nor reads anything else."""
    assert json.loads(gzip.decompress(s3.get_object(Bucket=bucket, Key=of_b)["Body"].read()))["Records"]
    own = s3.list_objects_v2(Bucket=bucket, Prefix=f"central/AWSLogs/{TEAM_B}/")
    assert of_b in [item["Key"] for item in own["Contents"]]
    assert refused(s3.get_object, Bucket=bucket, Key=of_c) == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket=bucket, Prefix=f"central/AWSLogs/{TEAM_C}/") == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"
    assert refused(s3.get_bucket_policy, Bucket=bucket) in ("AccessDenied", "MethodNotAllowed")


# ---- an organization's trail ------------------------------------------------------------------------------------------

MANAGEMENT, MEMBER, LATER, OUTSIDER = "444444444444", "555555555555", "666666666666", "777777777777"


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """A server with an organization of two accounts; two further accounts are not in it."""
    folder = tmp_path_factory.mktemp("company") / "data"
    folder.mkdir()
    with Server(BINARY, data=folder, account=f"{MANAGEMENT},{MEMBER},{LATER},{OUTSIDER}", delivery_interval="1s",
                digest_interval="3s") as server:
        management, member, later, outsider = (
            Member(server, account) for account in (MANAGEMENT, MEMBER, LATER, OUTSIDER))
        create = management.client("cloudtrail").create_trail
        wanted = {"Name": "company", "S3BucketName": "company-logs", "IsOrganizationTrail": True}
        assert refused(create, **wanted) == "OrganizationsNotInUseException"
        organizations = management.client("organizations")
        id = organizations.create_organization(FeatureSet="ALL")["Organization"]["Id"]
        join(management, member)
        assert refused(create, **wanted) == "CloudTrailAccessNotEnabledException"
        organizations.enable_aws_service_access(ServicePrincipal="cloudtrail.amazonaws.com")
        assert refused(member.client("cloudtrail").create_trail, **wanted) == "NotOrganizationMasterAccountException"
        s3, arn = management.client("s3"), f"arn:aws:cloudtrail:us-east-1:{MANAGEMENT}:trail/company"
        second = arn.replace("company", "second")
        s3.create_bucket(Bucket="company-logs")
        service = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
        s3.put_bucket_policy(Bucket="company-logs", Policy=document(
            {**service, "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::company-logs",
             "Condition": {"StringEquals": {"aws:SourceArn": [arn, second]}}},
            {**service, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::company-logs/AWSLogs/{id}/*",
             "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control", "aws:SourceArn": [arn, second]}}}))
        made = create(**wanted, IsMultiRegionTrail=True, EnableLogFileValidation=True)
        assert made["TrailARN"] == arn and made["IsOrganizationTrail"] is True
        management.client("cloudtrail").start_logging(Name="company")
        yield server, id, arn, management, member, later, outsider


def join(management, account):
    invited = management.client("organizations").invite_account_to_organization(
        Target={"Id": account.id, "Type": "ACCOUNT"})["Handshake"]["Id"]
    account.client("organizations").accept_handshake(HandshakeId=invited)


def taken(management, id, account):
    """The delivered records of an account, each from under the account's own prefix."""
    keys = [key for key in management.keys("company-logs") if key.startswith(f"AWSLogs/{id}/{account}/CloudTrail/")]
    return [record for key in keys for record in management.read("company-logs", key)["Records"]]


def names_of(records):
    return json.dumps([record.get("requestParameters") for record in records])


def test_an_organizations_trail_takes_the_events_of_every_member_and_of_nobody_else(company):
    server, id, arn, management, member, later, outsider = company
    for account in (management, member, later, outsider):
        mark(account, f"before-{account.id}")
    refused(member.client("cloudtrail", "eu-west-1").get_trail, Name="in-europe")
    wait_for("both accounts' files", lambda: all(
        f"before-{account.id}" in names_of(taken(management, id, account.id)) for account in (management, member)))
    wait_for("the other region", lambda: "in-europe" in names_of(taken(management, id, MEMBER)))

    # Joined: taken from then on, not from before. The call that lets it in is the first that the trail takes.
    join(management, later)
    mark(later, "after-joining")
    wait_for("the joined", lambda: "after-joining" in names_of(taken(management, id, LATER)))
    found = taken(management, id, LATER)
    assert f"before-{LATER}" not in names_of(found)
    assert sorted(found, key=lambda record: record["eventTime"])[0]["eventName"] == "AcceptHandshake"
    # Gone: no more, but what it did before.
    mark(later, "before-leaving")
    later.client("organizations").leave_organization()
    mark(later, "after-leaving")
    mark(member, "end")
    wait_for("the end", lambda: "end" in names_of(taken(management, id, MEMBER)))
    wait_for("the last", lambda: "LeaveOrganization" in [r["eventName"] for r in taken(management, id, LATER)])
    found = names_of(taken(management, id, LATER))
    assert "before-leaving" in found and "after-leaving" not in found
    assert not taken(management, id, OUTSIDER)
    for account in (MANAGEMENT, MEMBER, LATER):
        records = taken(management, id, account)
        assert {record["recipientAccountId"] for record in records} == {account}
        assert len({record["eventID"] for record in records}) == len(records)
    assert not later.client("cloudtrail").describe_trails()["trailList"]


def test_members_see_the_trail_and_only_administrators_change_it(company):
    server, id, arn, management, member, later, outsider = company
    theirs = member.client("cloudtrail")
    for shown in (theirs.get_trail(Name=arn)["Trail"], *theirs.describe_trails()["trailList"]):
        assert shown["TrailARN"] == arn and shown["IsOrganizationTrail"] is True
    assert theirs.list_trails()["Trails"] == [{"TrailARN": arn, "Name": "company", "HomeRegion": "us-east-1"}]
    assert theirs.describe_trails(includeShadowTrails=False)["trailList"] == []
    assert theirs.get_trail_status(Name=arn)["IsLogging"] is True
    for call, more in ((theirs.stop_logging, {}), (theirs.delete_trail, {}), (theirs.update_trail, {"IsMultiRegionTrail": False})):
        assert refused(call, Name=arn, **more) == "NotOrganizationMasterAccountException"
    assert refused(outsider.client("cloudtrail").get_trail_status, Name=arn) == "TrailNotFoundException"

    delegate = management.client("cloudtrail")
    assert refused(theirs.register_organization_delegated_admin, MemberAccountId=MEMBER) == "NotOrganizationManagementAccountException"
    assert refused(delegate.register_organization_delegated_admin, MemberAccountId=MANAGEMENT) == "CannotDelegateManagementAccountException"
    delegate.register_organization_delegated_admin(MemberAccountId=MEMBER)
    assert refused(delegate.register_organization_delegated_admin, MemberAccountId=MEMBER) == "AccountRegisteredException"
    theirs.stop_logging(Name=arn)
    assert delegate.get_trail_status(Name="company")["IsLogging"] is False
    assert theirs.get_trail_status(Name=arn)["IsLogging"] is False
    theirs.start_logging(Name=arn)
    made = theirs.create_trail(Name="second", S3BucketName="company-logs", IsOrganizationTrail=True)
    assert refused(theirs.create_trail, Name="second", S3BucketName="company-logs", IsOrganizationTrail=True) == "TrailAlreadyExistsException"
    assert made["TrailARN"] == arn.replace("company", "second")
    theirs.delete_trail(Name=made["TrailARN"])
    assert [trail["TrailARN"] for trail in theirs.list_trails()["Trails"]] == [arn]
    delegate.deregister_organization_delegated_admin(DelegatedAdminAccountId=MEMBER)
    assert refused(theirs.stop_logging, Name=arn) == "NotOrganizationMasterAccountException"


def test_each_members_files_validate_under_the_organizations_prefix(company):
    server, id, arn, management, member, later, outsider = company
    mark(member, "to-be-validated"), mark(management, "to-be-validated")
    wait_for("the events", lambda: all(
        "to-be-validated" in names_of(taken(management, id, account)) for account in (MEMBER, MANAGEMENT)))

    def digested():
        listed = management.digested("company-logs")
        return all(key in listed for key in management.keys("company-logs") if f"/{LATER}/" not in key)
    wait_for("digests", digested, 60)
    start = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ["cloudtrail", "validate-logs", "--trail-arn", arn, "--start-time", start, "--verbose"]
    for account in (MANAGEMENT, MEMBER):
        code, out, err = run_aws(server, *words, "--account-id", account, environment=management.environment)
        assert code == 0 and "INVALID" not in out and "log files valid" in out, out + err
        assert f"AWSLogs/{id}/{account}/CloudTrail-Digest/us-east-1/" in out
    code, out, err = run_aws(server, *words, environment=management.environment)
    assert code != 0 and "--account-id" in err
    key = [key for key in management.keys("company-logs") if f"/{MEMBER}/CloudTrail/us-east-1/" in key][0]
    management.client("s3").put_object(Bucket="company-logs", Key=key, Body=gzip.compress(b'{"Records":[]}'))
    code, out, err = run_aws(server, *words, "--account-id", MEMBER, environment=management.environment)
    assert "INVALID: hash value doesn't match" in out + err
