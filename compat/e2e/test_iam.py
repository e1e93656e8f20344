"""IAM with boto3 and the AWS CLI: what policies give is given, what they take is taken, and it is recorded."""

import json

import pytest
from botocore.exceptions import ClientError

TRUST_CLOUDTRAIL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LIST_BUCKETS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
}


def code(call, **params):
    with pytest.raises(ClientError) as refused:
        call(**params)
    return refused.value.response["Error"]["Code"]


@pytest.fixture
def iam(account):
    return account.client("iam")


def test_documents_come_back_as_they_were_given(iam):
    iam.create_user(UserName="doc")
    iam.put_user_policy(UserName="doc", PolicyName="p", PolicyDocument=json.dumps(LIST_BUCKETS))
    assert iam.get_user_policy(UserName="doc", PolicyName="p")["PolicyDocument"] == LIST_BUCKETS
    role = iam.create_role(RoleName="doc", AssumeRolePolicyDocument=json.dumps(TRUST_CLOUDTRAIL))["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST_CLOUDTRAIL
    arn = iam.create_policy(PolicyName="doc", PolicyDocument=json.dumps(LIST_BUCKETS))["Policy"]["Arn"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == LIST_BUCKETS and version["IsDefaultVersion"]
    assert code(iam.delete_user, UserName="doc") == "DeleteConflict"
    assert code(iam.put_user_policy, UserName="doc", PolicyName="q", PolicyDocument="{}") == "MalformedPolicyDocument"


def test_lists_go_over_pages(iam):
    names = [f"page-{number}" for number in range(7)]
    for name in names:
        iam.create_group(GroupName=name, Path="/paged/")
    pages = iam.get_paginator("list_groups").paginate(PathPrefix="/paged/", PaginationConfig={"PageSize": 3})
    found = [[group["GroupName"] for group in page["Groups"]] for page in pages]
    assert [len(page) for page in found] == [3, 3, 1] and sum(found, []) == names
    aws_policies = iam.get_paginator("list_policies").paginate(Scope="AWS")
    arns = {policy["Arn"] for page in aws_policies for policy in page["Policies"]}
    for name in ("AWSCloudTrail_FullAccess", "AWSCloudTrail_ReadOnlyAccess", "ReadOnlyAccess", "AdministratorAccess"):
        assert f"arn:aws:iam::aws:policy/{name}" in arns


def test_an_mfa_device_of_a_foreign_authenticator_is_enabled(iam):
    import base64
    import hashlib
    import hmac
    import struct
    import time

    iam.create_user(UserName="mfa")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="mfa")["VirtualMFADevice"]
    assert device["QRCodePNG"].startswith(b"\x89PNG")
    seed = base64.b32decode(device["Base32StringSeed"])

    def shown(step):
        digest = hmac.new(seed, struct.pack(">q", step), hashlib.sha1).digest()
        start = digest[19] & 15
        return f"{(struct.unpack('>I', digest[start:start + 4])[0] & 0x7fffffff) % 1000000:06}"

    now = int(time.time()) // 30
    one = {"UserName": "mfa", "SerialNumber": device["SerialNumber"]}
    assert code(iam.enable_mfa_device, **one, AuthenticationCode1="000000", AuthenticationCode2="000001") == \
        "InvalidAuthenticationCode"
    iam.enable_mfa_device(**one, AuthenticationCode1=shown(now - 1), AuthenticationCode2=shown(now))
    assert [d["SerialNumber"] for d in iam.list_mfa_devices(UserName="mfa")["MFADevices"]] == [device["SerialNumber"]]
    iam.deactivate_mfa_device(**one)
    iam.delete_virtual_mfa_device(SerialNumber=device["SerialNumber"])


def test_the_cli_simulates_and_reports(aws, iam):
    iam.create_user(UserName="sim")
    iam.put_user_policy(UserName="sim", PolicyName="p", PolicyDocument=json.dumps(LIST_BUCKETS))
    arn = iam.get_user(UserName="sim")["User"]["Arn"]
    exit_code, printed, errors = aws(
        "iam", "simulate-principal-policy", "--policy-source-arn", arn,
        "--action-names", "s3:ListAllMyBuckets", "s3:GetObject", "--output", "json",
    )
    assert exit_code == 0, errors
    results = json.loads(printed)["EvaluationResults"]
    assert [result["EvalDecision"] for result in results] == ["allowed", "implicitDeny"]
    assert results[0]["MatchedStatements"][0]["SourcePolicyId"] == "user_sim_p"
    assert aws("iam", "generate-credential-report")[0] == 0
    report = iam.get_credential_report()["Content"].decode()
    assert report.splitlines()[1].startswith("<root_account>,arn:aws:iam::")
    details = iam.get_account_authorization_details(Filter=["User"])["UserDetailList"]
    user = next(user for user in details if user["UserName"] == "sim")
    assert user["UserPolicyList"] == [{"PolicyName": "p", "PolicyDocument": LIST_BUCKETS}]


def test_passwords_are_in_no_record(account, iam):
    iam.create_user(UserName="login")
    iam.create_login_profile(UserName="login", Password="Correct-Horse-9", PasswordResetRequired=True)
    history = account.client("cloudtrail")
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "CreateLoginProfile"}]
    events = history.lookup_events(LookupAttributes=wanted)["Events"]
    records = [json.loads(event["CloudTrailEvent"]) for event in events]
    assert any(
        record["requestParameters"] == {"userName": "login", "passwordResetRequired": True} for record in records
    ), records
    assert not any("Correct-Horse-9" in event["CloudTrailEvent"] for event in events)
