"""Who may do what, as stock clients see it: denied by default, allowed by policies, and each refusal recorded."""

import json
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError
from trails import Account, wait_for


def unique(prefix):
    return f"{prefix}-{time.time_ns() % 10**10}"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions, resource="*", **more):
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions, resource="*", **more):
    return {**allow(*actions, resource=resource, **more), "Effect": "Deny"}


@pytest.fixture
def alice(server, account):
    """A user without any policy: her name and a client maker."""
    iam, name = account.client("iam"), unique("alice")
    iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "red"}])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, Account(server, key["AccessKeyId"], key["SecretAccessKey"])


def refusal(call, **parameters):
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def test_a_user_may_do_nothing_until_a_policy_allows_it_and_the_refusal_is_recorded(account, alice):
    name, user = alice
    iam, trails, arn = account.client("iam"), user.client("cloudtrail"), f"arn:aws:iam::{account.id}:user/{alice[0]}"
    assert user.client("sts").get_caller_identity()["Arn"] == arn
    assert refusal(trails.describe_trails) == (
        "AccessDeniedException",
        f"User: {arn} is not authorized to perform: cloudtrail:DescribeTrails on resource: * "
        "because no identity-based policy allows the cloudtrail:DescribeTrails action",
    )
    code, message = refusal(user.client("iam").create_user, UserName="eve")
    assert code == "AccessDenied" and f"iam:CreateUser on resource: arn:aws:iam::{account.id}:user/eve because" in message

    iam.put_user_policy(UserName=name, PolicyName="trails", PolicyDocument=document(allow("cloudtrail:Describe*")))
    trails.describe_trails()
    assert refusal(trails.list_trails)[0] == "AccessDeniedException"
    iam.put_user_policy(UserName=name, PolicyName="shut", PolicyDocument=document(deny("cloudtrail:*")))
    assert refusal(trails.describe_trails)[1].endswith("with an explicit deny in an identity-based policy")

    def recorded():
        found = account.client("cloudtrail").lookup_events(
            LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": name}])["Events"]
        return [json.loads(event["CloudTrailEvent"]) for event in found if event["EventName"] == "DescribeTrails"]
    wait_for("three calls", lambda: len(recorded()) == 3)
    codes = sorted(str(record.get("errorCode")) for record in recorded())
    assert codes == ["AccessDenied", "AccessDenied", "None"]


def test_groups_boundaries_and_tags_decide_with_the_users_own_policies(account, alice):
    name, user = alice
    iam, s3, mine = account.client("iam"), user.client("s3"), unique("red")
    account.client("s3").create_bucket(Bucket=mine)
    account.client("s3").put_object(Bucket=mine, Key="red/k", Body=b"x")
    account.client("s3").put_object(Bucket=mine, Key="blue/k", Body=b"x")
    group = unique("readers")
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="own-team", PolicyDocument=document(
        allow("s3:GetObject", resource=f"arn:aws:s3:::{mine}/${{aws:PrincipalTag/team}}/*")))
    assert refusal(s3.get_object, Bucket=mine, Key="red/k")[0] == "AccessDenied"
    iam.add_user_to_group(GroupName=group, UserName=name)
    assert s3.get_object(Bucket=mine, Key="red/k")["Body"].read() == b"x"
    assert refusal(s3.get_object, Bucket=mine, Key="blue/k")[0] == "AccessDenied"

    fence = iam.create_policy(PolicyName=unique("fence"), PolicyDocument=document(allow("cloudtrail:*")))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=fence)
    assert refusal(s3.get_object, Bucket=mine, Key="red/k")[1].endswith(
        "because no permissions boundary allows the s3:GetObject action")
    # What a bucket's policy grants to the user itself, the boundary does not limit.
    account.client("s3").put_bucket_policy(Bucket=mine, Policy=document({
        **allow("s3:GetObject", resource=f"arn:aws:s3:::{mine}/*"),
        "Principal": {"AWS": f"arn:aws:iam::{account.id}:user/{name}"}}))
    assert s3.get_object(Bucket=mine, Key="blue/k")["Body"].read() == b"x"


def test_a_managed_policy_gives_what_its_name_says(account, alice):
    name, user = alice
    account.client("iam").attach_user_policy(
        UserName=name, PolicyArn="arn:aws:iam::aws:policy/AWSCloudTrail_ReadOnlyAccess")
    user.client("cloudtrail").lookup_events(MaxResults=1)
    assert refusal(user.client("cloudtrail").stop_logging, Name="any")[0] == "AccessDeniedException"


def fetch(url, method="GET", body=None):
    """Calls a presigned URL as a browser does: (status, body)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_a_presigned_url_may_what_its_signer_may_when_it_is_used(account, alice):
    name, user = alice
    iam, mine = account.client("iam"), unique("signed")
    account.client("s3").create_bucket(Bucket=mine)
    account.client("s3").put_object(Bucket=mine, Key="k", Body=b"x")
    s3 = user.client("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": mine, "Key": "k"})
    status, body = fetch(url)
    assert status == 403 and b"<Code>AccessDenied</Code>" in body, "signing needs no right, using does"

    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=document(
        allow("s3:GetObject", resource=f"arn:aws:s3:::{mine}/k")))
    assert fetch(url) == (200, b"x")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": mine, "Key": "k"})
    status, body = fetch(put, "PUT", b"y")
    assert status == 403 and b"is not authorized to perform: s3:PutObject" in body
    other = s3.generate_presigned_url("get_object", Params={"Bucket": mine, "Key": "k2"})
    assert fetch(other)[0] == 403

    iam.delete_user_policy(UserName=name, PolicyName="read")
    status, body = fetch(url)
    assert status == 403 and b"<Code>AccessDenied</Code>" in body, "the policy is gone, the URL has not expired"
    assert fetch(account.client("s3").generate_presigned_url("get_object", Params={"Bucket": mine, "Key": "k"})) == (
        200, b"x"), "nothing was written"


def session_client(server, service, made):
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"], aws_session_token=made["SessionToken"])


def test_a_service_control_policy_refuses_a_member_and_its_record_says_so(own_server):
    server = own_server(delivery_interval="2s")
    management = Account(server)
    organizations, iam = management.client("organizations"), management.client("iam")
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    types = organizations.list_roots()["Roots"][0]["PolicyTypes"]
    if {"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"} not in types:
        organizations.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    asked = organizations.create_account(AccountName="dev", Email="dev@example.com")["CreateAccountStatus"]["Id"]

    def made():
        status = organizations.describe_create_account_status(CreateAccountRequestId=asked)["CreateAccountStatus"]
        return status.get("AccountId")
    member = wait_for("the account", made)
    iam.create_user(UserName="admin")
    iam.put_user_policy(UserName="admin", PolicyName="assume", PolicyDocument=document(allow("sts:AssumeRole")))
    key = iam.create_access_key(UserName="admin")["AccessKey"]
    session = Account(server, key["AccessKeyId"], key["SecretAccessKey"]).client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{member}:role/OrganizationAccountAccessRole", RoleSessionName="admin")["Credentials"]
    trails = session_client(server, "cloudtrail", session)
    trails.describe_trails()

    guard = organizations.create_policy(
        Name="guard", Description="", Type="SERVICE_CONTROL_POLICY",
        Content=document(deny("cloudtrail:DescribeTrails")))["Policy"]["PolicySummary"]["Id"]
    organizations.attach_policy(PolicyId=guard, TargetId=member)
    code, message = refusal(trails.describe_trails)
    arn = f"arn:aws:sts::{member}:assumed-role/OrganizationAccountAccessRole/admin"
    assert (code, message) == (
        "AccessDeniedException",
        f"User: {arn} is not authorized to perform: cloudtrail:DescribeTrails on resource: * "
        "with an explicit deny in a service control policy")
    management.client("cloudtrail").describe_trails()  # The management account itself no such policy binds.

    def recorded():
        found = trails.lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "DescribeTrails"}])["Events"]
        records = [json.loads(event["CloudTrailEvent"]) for event in found]
        return [record for record in records if record.get("errorCode") == "AccessDenied"]
    [record] = wait_for("the refusal", recorded)
    assert record["errorMessage"] == message and record["recipientAccountId"] == member
    assert record["userIdentity"]["arn"] == arn

    organizations.detach_policy(PolicyId=guard, TargetId=member)
    trails.describe_trails()
