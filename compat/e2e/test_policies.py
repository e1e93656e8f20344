"""Who may do what, as stock clients see it: denied by default, allowed by policies, and each refusal recorded."""

import json
import time

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
