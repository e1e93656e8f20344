"""Temporary credentials with stock clients: roles, sessions, federated users, and what records show of them."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import struct
import subprocess
import threading
import time

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from conftest import AWS
from trails import numbers, wait_for


@pytest.fixture(scope="module")
def iam(account):
    return account.client("iam")


def client(server, service, made):
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=server.endpoint, aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"], aws_session_token=made.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(scope="module")
def alice(account, iam):
    """A user who may assume roles: (name, keys)."""
    name = f"alice-{next(numbers)}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Resource": "*", "Action": ["sts:AssumeRole", "sts:TagSession",
                      "sts:SetSourceIdentity", "sts:GetFederationToken", "s3:ListAllMyBuckets"]}}))
    return name, iam.create_access_key(UserName=name)["AccessKey"]


@pytest.fixture
def role(account, iam):
    """Makes roles that trust the account: role(condition) gives a description."""
    def make(condition=None, **more):
        name = f"role-{next(numbers)}"
        statement = {"Effect": "Allow", "Principal": {"AWS": account.id},
                     "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}
        if condition:
            statement["Condition"] = condition
        made = iam.create_role(RoleName=name, Path="/ops/", AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": statement}), **more)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=json.dumps({
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Resource": "*", "Action": ["s3:ListAllMyBuckets", "sts:AssumeRole"]}}))
        return made
    return make


def events(account, name, find):
    def look():
        found = account.client("cloudtrail").lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}], MaxResults=50)
        return [record for event in found["Events"] if find(record := json.loads(event["CloudTrailEvent"]))]
    return wait_for(f"the event of {name}", look)


def code_of(call, **params):
    with pytest.raises(ClientError) as refused:
        call(**params)
    return refused.value.response["Error"]["Code"]


def test_a_role_is_assumed_and_its_calls_show_the_session(server, account, iam, alice, role):
    made = role()
    session = f"session-{next(numbers)}"
    sts = client(server, "sts", alice[1])
    reply = sts.assume_role(RoleArn=made["Arn"], RoleSessionName=session, SourceIdentity="alice@example.com")
    assumed = reply["AssumedRoleUser"]
    assert assumed["AssumedRoleId"] == f"{made['RoleId']}:{session}"
    assert assumed["Arn"] == f"arn:aws:sts::{account.id}:assumed-role/{made['RoleName']}/{session}"
    credentials = reply["Credentials"]
    assert client(server, "sts", credentials).get_caller_identity()["Arn"] == assumed["Arn"]

    [event] = events(account, "AssumeRole",
                     lambda record: (record["requestParameters"] or {}).get("roleSessionName") == session)
    assert event["readOnly"] is True and event["userIdentity"]["userName"] == alice[0]
    assert event["resources"] == [{"accountId": account.id, "type": "AWS::IAM::Role", "ARN": made["Arn"]}]
    shown = event["responseElements"]
    assert shown["credentials"]["accessKeyId"] == credentials["AccessKeyId"]
    assert shown["credentials"]["sessionToken"] == credentials["SessionToken"]
    assert list(shown["credentials"]) == ["accessKeyId", "sessionToken", "expiration"]
    assert credentials["SecretAccessKey"] not in json.dumps(event)
    assert "sharedEventID" not in event, "the caller and the role are of one account"

    [event] = events(account, "GetCallerIdentity",
                     lambda record: record["userIdentity"].get("accessKeyId") == credentials["AccessKeyId"])
    identity = event["userIdentity"]
    assert (identity["type"], identity["arn"]) == ("AssumedRole", assumed["Arn"])
    context = identity["sessionContext"]
    assert context["sessionIssuer"] == {
        "type": "Role", "principalId": made["RoleId"], "arn": made["Arn"], "accountId": account.id,
        "userName": made["RoleName"]}
    assert context["attributes"]["mfaAuthenticated"] == "false"
    assert context["sourceIdentity"] == "alice@example.com"


def test_a_trust_policy_that_wants_an_external_id(server, alice, role, account):
    made = role({"StringEquals": {"sts:ExternalId": "unique-to-me"}})
    sts = client(server, "sts", alice[1])
    session = f"session-{next(numbers)}"
    words = {"RoleArn": made["Arn"], "RoleSessionName": session}
    assert code_of(sts.assume_role, **words) == "AccessDenied"
    assert code_of(sts.assume_role, ExternalId="a-guess", **words) == "AccessDenied"
    sts.assume_role(ExternalId="unique-to-me", **words)
    refused = events(account, "AssumeRole",
                     lambda record: (record["requestParameters"] or {}).get("roleSessionName") == session
                     and record.get("errorCode") == "AccessDenied")
    assert made["Arn"] in refused[0]["errorMessage"]


def test_the_aws_cli_assumes_a_role_through_a_profile(server, alice, role, tmp_path):
    made = role({"StringEquals": {"sts:ExternalId": "unique-to-me"}})
    (tmp_path / "config").write_text(f"""
[profile source]
region = us-east-1
[profile auditor]
region = us-east-1
role_arn = {made["Arn"]}
source_profile = source
external_id = unique-to-me
role_session_name = from-a-profile
""")
    (tmp_path / "credentials").write_text(f"""
[source]
aws_access_key_id = {alice[1]["AccessKeyId"]}
aws_secret_access_key = {alice[1]["SecretAccessKey"]}
""")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_ENDPOINT_URL": server.endpoint,
                    "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "HOME": str(tmp_path)}
    done = subprocess.run([AWS, "--profile", "auditor", "sts", "get-caller-identity"], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"].endswith(f"assumed-role/{made['RoleName']}/from-a-profile")


def test_a_role_that_is_deleted_ends_its_sessions(server, iam, alice, role):
    made = role()
    reply = client(server, "sts", alice[1]).assume_role(RoleArn=made["Arn"], RoleSessionName="doomed")
    sts = client(server, "sts", reply["Credentials"])
    sts.get_caller_identity()
    iam.delete_role_policy(RoleName=made["RoleName"], PolicyName="read")
    iam.delete_role(RoleName=made["RoleName"])
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"


def test_sessions_of_a_role_are_revoked_by_when_they_were_issued(server, iam, alice, role):
    made = role()
    assume = client(server, "sts", alice[1]).assume_role
    old = assume(RoleArn=made["Arn"], RoleSessionName="old")["Credentials"]
    client(server, "s3", old).list_buckets()
    used = iam.get_role(RoleName=made["RoleName"])["Role"]["RoleLastUsed"]
    assert used["Region"] == "us-east-1" and abs(used["LastUsedDate"].timestamp() - time.time()) < 60
    time.sleep(1.1)
    # What the console's "Revoke active sessions" puts into a role.
    iam.put_role_policy(RoleName=made["RoleName"], PolicyName="AWSRevokeOlderSessions", PolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": {"DateLessThan": {
            "aws:TokenIssueTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())}}}]}))
    with pytest.raises(ClientError) as refused:
        client(server, "s3", old).list_buckets()
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDenied" and error["Message"].endswith(
        "with an explicit deny in an identity-based policy")
    new = assume(RoleArn=made["Arn"], RoleSessionName="new")["Credentials"]
    client(server, "s3", new).list_buckets()


def test_sessions_of_a_user_and_their_limits(server, account, alice):
    made = client(server, "sts", alice[1]).get_session_token(DurationSeconds=900)["Credentials"]
    assert made["AccessKeyId"].startswith("ASIA")
    sts = client(server, "sts", made)
    assert sts.get_caller_identity()["Arn"].endswith(alice[0])
    assert code_of(sts.get_session_token) == "AccessDenied"
    assert code_of(sts.get_federation_token, Name="bob") == "AccessDenied"
    assert code_of(client(server, "iam", made).list_users) == "InvalidClientTokenId"
    [event] = events(account, "GetSessionToken",
                     lambda record: ((record["responseElements"] or {}).get("credentials") or {}).get("accessKeyId")
                     == made["AccessKeyId"])
    assert event["userIdentity"]["userName"] == alice[0]
    assert event["requestParameters"] == {"durationSeconds": 900}


def test_a_federated_user(server, account, alice):
    policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}}
    name = f"bob-{next(numbers)}"
    reply = client(server, "sts", alice[1]).get_federation_token(Name=name, Policy=json.dumps(policy))
    assert reply["FederatedUser"]["FederatedUserId"] == f"{account.id}:{name}"
    assert reply["PackedPolicySize"] > 0
    made = reply["Credentials"]
    client(server, "s3", made).list_buckets()
    assert code_of(client(server, "sts", made).get_session_token) == "AccessDenied"
    [event] = events(account, "ListBuckets",
                     lambda record: record["userIdentity"].get("accessKeyId") == made["AccessKeyId"])
    identity = event["userIdentity"]
    assert (identity["type"], identity["principalId"]) == ("FederatedUser", f"{account.id}:{name}")
    assert identity["sessionContext"]["sessionIssuer"]["userName"] == alice[0]


def test_chained_roles_last_an_hour_at_most(server, alice, role):
    first, second = role(), role(MaxSessionDuration=7200)
    reply = client(server, "sts", alice[1]).assume_role(RoleArn=first["Arn"], RoleSessionName="first")
    sts = client(server, "sts", reply["Credentials"])
    words = {"RoleArn": second["Arn"], "RoleSessionName": "second"}
    assert code_of(sts.assume_role, DurationSeconds=7200, **words) == "ValidationError"
    chained = sts.assume_role(**words)["Credentials"]
    assert chained["Expiration"].timestamp() - time.time() < 3601


def test_keys_say_their_account_and_foreign_messages_are_not_decoded(account):
    sts = account.client("sts")
    made = sts.get_session_token()["Credentials"]
    assert sts.get_access_key_info(AccessKeyId=made["AccessKeyId"])["Account"] == account.id
    assert code_of(sts.decode_authorization_message, EncodedMessage="junk") == "InvalidAuthorizationMessageException"


def totp(seed):
    """The code that a device with this seed shows now (RFC 6238)."""
    padded = seed + "=" * (-len(seed) % 8)
    digest = hmac.new(base64.b32decode(padded), struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def test_a_trust_policy_that_wants_mfa(server, iam, alice, role):
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName=f"device-{next(numbers)}")["VirtualMFADevice"]
    seed, serial = device["Base32StringSeed"].decode(), device["SerialNumber"]
    now = time.time

    def code(steps):
        at = now() + 30 * steps
        time.time = lambda: at
        try:
            return totp(seed)
        finally:
            time.time = now
    iam.enable_mfa_device(UserName=alice[0], SerialNumber=serial, AuthenticationCode1=code(-1),
                          AuthenticationCode2=code(0))
    made = role({"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    sts = client(server, "sts", alice[1])
    words = {"RoleArn": made["Arn"], "RoleSessionName": "with-mfa"}
    assert code_of(sts.assume_role, **words) == "AccessDenied"
    assert code_of(sts.assume_role, SerialNumber=serial, TokenCode="000000", **words) == "AccessDenied"
    reply = sts.assume_role(SerialNumber=serial, TokenCode=code(1), **words)
    assert reply["Credentials"]["AccessKeyId"].startswith("ASIA")


class Issuer:
    """An OpenID Connect provider on the loopback."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(issuer.documents[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"
        numbers_of = self.key.public_key().public_numbers()
        self.documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": self.url + "/keys"},
            "/keys": {"keys": [{"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
                                "n": encoded(numbers_of.n.to_bytes(256, "big")), "e": "AQAB"}]},
        }
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key=None, **claims):
        claims = {"iss": self.url, "sub": "bob", "aud": "my-app", "iat": int(time.time()),
                  "exp": int(time.time()) + 300, **claims}
        parts = [{"alg": "RS256", "kid": "k1"}, claims]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        signature = (key or self.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_web_identity(server, account, iam):
    issuer = Issuer()
    provider = iam.create_open_id_connect_provider(
        Url=issuer.url.replace("http:", "https:"), ClientIDList=["my-app"])["OpenIDConnectProviderArn"]
    host = issuer.url.removeprefix("http://")
    name = f"web-{next(numbers)}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"Federated": provider},
                      "Action": "sts:AssumeRoleWithWebIdentity",
                      "Condition": {"StringEquals": {f"{host}:aud": "my-app", f"{host}:sub": "bob"}}}}))["Role"]
    sts = boto3.client("sts", region_name="us-east-1", endpoint_url=server.endpoint,
                       config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}))
    words = {"RoleArn": role["Arn"], "RoleSessionName": name}
    reply = sts.assume_role_with_web_identity(WebIdentityToken=issuer.token(), **words)
    assert (reply["SubjectFromWebIdentityToken"], reply["Audience"], reply["Provider"]) == ("bob", "my-app", provider)
    assert client(server, "sts", reply["Credentials"]).get_caller_identity()["Arn"].endswith(f"/{name}/{name}")

    def refused(token):
        return code_of(sts.assume_role_with_web_identity, WebIdentityToken=token, **words)
    assert refused(issuer.token(exp=int(time.time()) - 1)) == "ExpiredTokenException"
    assert refused(issuer.token(sub="mallory")) == "AccessDenied"
    assert refused(issuer.token(aud="another-app")) == "InvalidIdentityToken"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(issuer.token(key=other)) == "InvalidIdentityToken"
    assert refused(issuer.token(iss="https://evil.example.com")) == "InvalidIdentityToken"

    found = events(account, "AssumeRoleWithWebIdentity",
                   lambda record: record.get("requestParameters", {}).get("roleSessionName") == name
                   and "errorCode" not in record)
    assert found[0]["userIdentity"] == {"type": "WebIdentityUser", "principalId": f"{provider}:my-app:bob",
                                        "userName": "bob", "identityProvider": provider}
    assert "webIdentityToken" not in found[0]["requestParameters"]
    assert found[0]["recipientAccountId"] == account.id
