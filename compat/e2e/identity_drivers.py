"""Every operation of IAM, STS, KMS and Organizations, called with boto3: what test_operations judges the answers of."""

import base64
import hashlib
import hmac
import json
import struct
import time
import uuid
from contextlib import contextmanager

from botocore.credentials import Credentials

TAG = {"Key": "team", "Value": "red"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]})
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def trust(account):
    statement = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def totp(seed, at):
    digest = hmac.new(base64.b32decode(seed), struct.pack(">Q", int(at) // 30), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


@contextmanager
def acting_as(client, access_key, secret_key, token=None):
    """The same client, and those who watch it, with another's keys."""
    before = client._request_signer._credentials
    client._request_signer._credentials = Credentials(access_key, secret_key, token)
    try:
        yield
    finally:
        client._request_signer._credentials = before


@contextmanager
def user_with_key(account):
    iam, user = account.client("iam"), name("driver")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=ANYTHING)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    try:
        yield user, (key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=user, PolicyName="all")
        iam.delete_user(UserName=user)


def drive_policies(iam, account):
    user, group, role, policy = name("user"), name("group"), name("role"), name("policy")
    arn = iam.create_policy(PolicyName=policy, PolicyDocument=POLICY, Tags=[TAG])["Policy"]["Arn"]
    iam.create_user(UserName=user)
    iam.create_group(GroupName=group)
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust(account.id), Tags=[TAG])
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert [u["UserName"] for u in iam.get_group(GroupName=group)["Users"]] == [user]
    assert iam.list_groups_for_user(UserName=user)["Groups"][0]["GroupName"] == group
    assert group in [g["GroupName"] for g in iam.list_groups()["Groups"]]
    assert role in [r["RoleName"] for r in iam.list_roles()["Roles"]]
    for kind, who in (("User", user), ("Group", group), ("Role", role)):
        def of(verb, what, **more):
            method = getattr(iam, f"{verb}_{what}" if "{}" not in what else f"{verb}_{what.format(kind.lower())}")
            return method(**{f"{kind}Name": who}, **more)
        of("put", "{}_policy", PolicyName="inline", PolicyDocument=POLICY)
        assert of("get", "{}_policy", PolicyName="inline")["PolicyDocument"]["Statement"]
        assert of("list", "{}_policies")["PolicyNames"] == ["inline"]
        of("attach", "{}_policy", PolicyArn=arn)
        assert of("list_attached", "{}_policies")["AttachedPolicies"][0]["PolicyArn"] == arn
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert all(entities[f"Policy{kind}s"] for kind in ("User", "Group", "Role"))
    for kind, who in (("user", user), ("role", role)):
        named = {f"{kind.title()}Name": who}
        getattr(iam, f"put_{kind}_permissions_boundary")(**named, PermissionsBoundary=arn)
        getattr(iam, f"delete_{kind}_permissions_boundary")(**named)
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY)["PolicyVersion"]["VersionId"]
    iam.set_default_policy_version(PolicyArn=arn, VersionId=second)
    assert iam.get_policy_version(PolicyArn=arn, VersionId=second)["PolicyVersion"]["IsDefaultVersion"]
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 2
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 3
    assert policy in [p["PolicyName"] for p in iam.list_policies(Scope="Local")["Policies"]]
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "more", "Value": ""}])
    assert len(iam.list_policy_tags(PolicyArn=arn)["Tags"]) == 2
    iam.untag_policy(PolicyArn=arn, TagKeys=["more"])
    question = {"ActionNames": ["s3:ListBucket"], "ResourceArns": ["*"]}
    source = f"arn:aws:iam::{account.id}:user/{user}"
    assert iam.simulate_principal_policy(PolicySourceArn=source, **question)["EvaluationResults"][0]["EvalDecision"] == "allowed"
    assert iam.simulate_custom_policy(PolicyInputList=[POLICY], **question)["EvaluationResults"][0]["EvalDecision"] == "allowed"
    iam.get_context_keys_for_custom_policy(PolicyInputList=[POLICY])
    iam.get_context_keys_for_principal_policy(PolicySourceArn=source)
    assert iam.get_account_authorization_details()["UserDetailList"]
    drive_role(iam, account, role)
    for kind, who in (("user", user), ("group", group), ("role", role)):
        named = {f"{kind.title()}Name": who}
        getattr(iam, f"detach_{kind}_policy")(**named, PolicyArn=arn)
        getattr(iam, f"delete_{kind}_policy")(**named, PolicyName="inline")
    for empty in (iam.list_ssh_public_keys, iam.list_service_specific_credentials, iam.list_signing_certificates):
        empty(UserName=user)
    iam.remove_user_from_group(GroupName=group, UserName=user)
    iam.update_group(GroupName=group, NewGroupName=group + "-2")
    iam.delete_group(GroupName=group + "-2")
    iam.delete_user(UserName=user)
    iam.delete_role(RoleName=role)
    iam.delete_policy(PolicyArn=arn)


def drive_role(iam, account, role):
    assert iam.get_role(RoleName=role)["Role"]["MaxSessionDuration"] == 3600
    iam.update_role(RoleName=role, MaxSessionDuration=7200)
    iam.update_role_description(RoleName=role, Description="of tests")
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust(account.id))
    iam.tag_role(RoleName=role, Tags=[{"Key": "more", "Value": ""}])
    assert len(iam.list_role_tags(RoleName=role)["Tags"]) == 2
    iam.untag_role(RoleName=role, TagKeys=["more"])
    assert iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"] == []
    linked = iam.create_service_linked_role(AWSServiceName="cloudtrail.amazonaws.com")["Role"]["RoleName"]
    task = iam.delete_service_linked_role(RoleName=linked)["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"


def drive_credentials(iam, account):
    with user_with_key(account) as (user, keys):
        iam.update_account_password_policy(MinimumPasswordLength=12, AllowUsersToChangePassword=True)
        assert iam.get_account_password_policy()["PasswordPolicy"]["MinimumPasswordLength"] == 12
        iam.create_login_profile(UserName=user, Password="Correct-horse-1")
        iam.get_login_profile(UserName=user)
        iam.update_login_profile(UserName=user, Password="Correct-horse-2")
        with acting_as(iam, *keys):
            iam.change_password(OldPassword="Correct-horse-2", NewPassword="Correct-horse-3")
        iam.delete_login_profile(UserName=user)
        iam.delete_account_password_policy()
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName=name("device"))["VirtualMFADevice"]
        serial, seed, now = device["SerialNumber"], device["Base32StringSeed"].decode(), time.time()
        iam.enable_mfa_device(UserName=user, SerialNumber=serial, AuthenticationCode1=totp(seed, now - 30),
                              AuthenticationCode2=totp(seed, now))
        iam.get_mfa_device(SerialNumber=serial, UserName=user)
        assert iam.list_mfa_devices(UserName=user)["MFADevices"][0]["SerialNumber"] == serial
        assert serial in [d["SerialNumber"] for d in iam.list_virtual_mfa_devices()["VirtualMFADevices"]]
        iam.tag_mfa_device(SerialNumber=serial, Tags=[TAG])
        assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [TAG]
        iam.untag_mfa_device(SerialNumber=serial, TagKeys=["team"])
        iam.resync_mfa_device(UserName=user, SerialNumber=serial, AuthenticationCode1=totp(seed, now + 30),
                              AuthenticationCode2=totp(seed, now + 60))
        iam.deactivate_mfa_device(UserName=user, SerialNumber=serial)
        iam.delete_virtual_mfa_device(SerialNumber=serial)
    provider = iam.create_open_id_connect_provider(
        Url=f"https://{name('issuer')}.example.com", ClientIDList=["app"], ThumbprintList=["a" * 40], Tags=[TAG]
    )["OpenIDConnectProviderArn"]
    of = {"OpenIDConnectProviderArn": provider}
    iam.add_client_id_to_open_id_connect_provider(**of, ClientID="other")
    iam.remove_client_id_from_open_id_connect_provider(**of, ClientID="app")
    iam.update_open_id_connect_provider_thumbprint(**of, ThumbprintList=["b" * 40])
    assert iam.get_open_id_connect_provider(**of)["ClientIDList"] == ["other"]
    assert provider in [p["Arn"] for p in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    iam.tag_open_id_connect_provider(**of, Tags=[{"Key": "more", "Value": ""}])
    assert len(iam.list_open_id_connect_provider_tags(**of)["Tags"]) == 2
    iam.untag_open_id_connect_provider(**of, TagKeys=["more"])
    iam.delete_open_id_connect_provider(**of)
    while iam.generate_credential_report()["State"] != "COMPLETE":
        time.sleep(0.2)
    assert iam.get_credential_report()["Content"].startswith(b"user,arn")


def drive_sessions(sts, account):
    iam, role = account.client("iam"), name("role")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust(account.id))["Role"]["Arn"]
    with user_with_key(account) as (_, keys), acting_as(sts, *keys):
        taken = sts.assume_role(RoleArn=arn, RoleSessionName="driver")
        assert taken["AssumedRoleUser"]["Arn"].endswith(f"{role}/driver")
        sts.get_session_token()
        sts.get_federation_token(Name="driver", Policy=POLICY)
        found = sts.get_access_key_info(AccessKeyId=taken["Credentials"]["AccessKeyId"])
        assert found["Account"] == account.id
    iam.delete_role(RoleName=role)


def drive_kms(kms, account):
    made = kms.create_key(Description="of tests", Tags=[{"TagKey": "team", "TagValue": "red"}])["KeyMetadata"]
    key, alias, other = {"KeyId": made["KeyId"]}, f"alias/{name('key')}", kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
    kms.update_alias(AliasName=alias, TargetKeyId=other)
    assert alias in [a["AliasName"] for page in kms.get_paginator("list_aliases").paginate() for a in page["Aliases"]]
    kms.delete_alias(AliasName=alias)
    assert kms.describe_key(**key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert made["KeyId"] in [k["KeyId"] for page in kms.get_paginator("list_keys").paginate() for k in page["Keys"]]
    context = {"purpose": "tests"}
    sealed = kms.encrypt(**key, Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext=context)["Plaintext"] == b"secret"
    moved = kms.re_encrypt(CiphertextBlob=sealed, SourceEncryptionContext=context, DestinationKeyId=other)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["KeyId"].endswith(other)
    data = kms.generate_data_key(**key, KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    kms.generate_data_key_without_plaintext(**key, KeySpec="AES_256")
    assert len(kms.generate_random(NumberOfBytes=16)["Plaintext"]) == 16
    policy = kms.get_key_policy(**key, PolicyName="default")["Policy"]
    kms.put_key_policy(**key, PolicyName="default", Policy=policy)
    assert kms.list_key_policies(**key)["PolicyNames"] == ["default"]
    root = f"arn:aws:iam::{account.id}:root"
    grants = [kms.create_grant(**key, GranteePrincipal=root, RetiringPrincipal=root, Operations=["Decrypt"], Name=str(n))
              for n in range(2)]
    assert len(kms.list_grants(**key)["Grants"]) == 2
    assert kms.list_retirable_grants(RetiringPrincipal=root)["Grants"]
    kms.retire_grant(**{"KeyId": made["Arn"], "GrantId": grants[0]["GrantId"]})
    kms.revoke_grant(**key, GrantId=grants[1]["GrantId"])
    kms.enable_key_rotation(**key)
    assert kms.get_key_rotation_status(**key)["KeyRotationEnabled"] is True
    kms.disable_key_rotation(**key)
    kms.rotate_key_on_demand(**key)
    kms.list_key_rotations(**key)
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext=context)["Plaintext"] == b"secret"
    kms.update_key_description(**key, Description="still of tests")
    kms.tag_resource(**key, Tags=[{"TagKey": "more", "TagValue": ""}])
    kms.untag_resource(**key, TagKeys=["more"])
    assert kms.list_resource_tags(**key)["Tags"] == [{"TagKey": "team", "TagValue": "red"}]
    kms.disable_key(**key)
    kms.enable_key(**key)
    for gone in (made["KeyId"], other):
        kms.schedule_key_deletion(KeyId=gone, PendingWindowInDays=7)
    kms.cancel_key_deletion(**key)
    kms.schedule_key_deletion(**key, PendingWindowInDays=7)


def drive_organizations(org, account):
    made = org.create_organization(FeatureSet="ALL")["Organization"]
    assert org.describe_organization()["Organization"]["Id"] == made["Id"]
    root = org.list_roots()["Roots"][0]["Id"]
    unit = org.create_organizational_unit(ParentId=root, Name="sandbox", Tags=[TAG])["OrganizationalUnit"]["Id"]
    org.update_organizational_unit(OrganizationalUnitId=unit, Name="trial")
    assert org.describe_organizational_unit(OrganizationalUnitId=unit)["OrganizationalUnit"]["Name"] == "trial"
    status = org.create_account(AccountName="dev", Email=f"{name('dev')}@example.com")["CreateAccountStatus"]
    assert org.describe_create_account_status(CreateAccountRequestId=status["Id"])["CreateAccountStatus"]["State"] == "SUCCEEDED"
    assert org.list_create_account_status()["CreateAccountStatuses"]
    member = status["AccountId"]
    org.move_account(AccountId=member, SourceParentId=root, DestinationParentId=unit)
    assert org.describe_account(AccountId=member)["Account"]["Name"] == "dev"
    assert {a["Id"] for a in org.list_accounts()["Accounts"]} == {account.id, member}
    assert [a["Id"] for a in org.list_accounts_for_parent(ParentId=unit)["Accounts"]] == [member]
    assert [p["Id"] for p in org.list_parents(ChildId=member)["Parents"]] == [unit]
    assert [c["Id"] for c in org.list_children(ParentId=unit, ChildType="ACCOUNT")["Children"]] == [member]
    assert org.list_organizational_units_for_parent(ParentId=root)["OrganizationalUnits"][0]["Id"] == unit
    org.tag_resource(ResourceId=unit, Tags=[{"Key": "more", "Value": ""}])
    assert len(org.list_tags_for_resource(ResourceId=unit)["Tags"]) == 2
    org.untag_resource(ResourceId=unit, TagKeys=["more"])
    drive_control_policies(org, root, unit)
    drive_delegation(org, member)
    drive_handshakes(org, account, member)
    org.delete_organizational_unit(OrganizationalUnitId=unit)
    org.delete_organization()


def drive_control_policies(org, root, unit):
    kind = "SERVICE_CONTROL_POLICY"
    org.enable_policy_type(RootId=root, PolicyType=kind)
    denial = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]})
    policy = org.create_policy(Name=name("no-sqs"), Description="", Type=kind, Content=denial)["Policy"]["PolicySummary"]["Id"]
    org.update_policy(PolicyId=policy, Description="no queues")
    assert org.describe_policy(PolicyId=policy)["Policy"]["Content"] == denial
    assert {p["Id"] for p in org.list_policies(Filter=kind)["Policies"]} == {policy, "p-FullAWSAccess"}
    org.attach_policy(PolicyId=policy, TargetId=unit)
    assert len(org.list_policies_for_target(TargetId=unit, Filter=kind)["Policies"]) == 2
    assert [t["TargetId"] for t in org.list_targets_for_policy(PolicyId=policy)["Targets"]] == [unit]
    org.detach_policy(PolicyId=policy, TargetId=unit)
    org.delete_policy(PolicyId=policy)
    org.disable_policy_type(RootId=root, PolicyType=kind)


def drive_delegation(org, member):
    service = {"ServicePrincipal": "cloudtrail.amazonaws.com"}
    org.enable_aws_service_access(**service)
    assert org.list_aws_service_access_for_organization()["EnabledServicePrincipals"]
    org.register_delegated_administrator(AccountId=member, **service)
    assert org.list_delegated_administrators()["DelegatedAdministrators"][0]["Id"] == member
    assert org.list_delegated_services_for_account(AccountId=member)["DelegatedServices"]
    org.deregister_delegated_administrator(AccountId=member, **service)
    org.disable_aws_service_access(**service)


def drive_handshakes(org, account, member):
    sts = account.client("sts")
    with user_with_key(account) as (_, keys):
        with acting_as(sts, *keys):
            role = f"arn:aws:iam::{member}:role/OrganizationAccountAccessRole"
            session = sts.assume_role(RoleArn=role, RoleSessionName="driver")["Credentials"]
        as_member = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        org.remove_account_from_organization(AccountId=member)

        def invite():
            return org.invite_account_to_organization(Target={"Id": member, "Type": "ACCOUNT"})["Handshake"]["Id"]
        org.cancel_handshake(HandshakeId=invite())
        declined = invite()
        with acting_as(org, *as_member):
            org.decline_handshake(HandshakeId=declined)
        accepted = invite()
        assert org.describe_handshake(HandshakeId=accepted)["Handshake"]["State"] == "OPEN"
        assert len(org.list_handshakes_for_organization()["Handshakes"]) == 3
        with acting_as(org, *as_member):
            assert org.list_handshakes_for_account()["Handshakes"]
            org.accept_handshake(HandshakeId=accepted)
            org.leave_organization()
