"""Functions for the suites: roles that Lambda may assume, packages, and every operation of Lambda called with boto3."""

import io
import json
import uuid
import zipfile
from contextlib import contextmanager

from botocore.exceptions import ClientError

ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ECHO = """
def handler(event, context):
    return {"event": event, "version": context.function_version}
"""


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def package(**files):
    """A zip file; `app_py` becomes app.py. All files may be executed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file.replace("_py", ".py"))
            entry.external_attr, entry.compress_type = 0o100755 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return packed.getvalue()


def role(iam, policy=ANYTHING, service="lambda.amazonaws.com"):
    """A role that the service may assume."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = iam.create_role(RoleName=name("function"), AssumeRolePolicyDocument=trust)["Role"]
    if policy:
        iam.put_role_policy(RoleName=made["RoleName"], PolicyName="rights", PolicyDocument=policy)
    return made["Arn"]


def refused(code, operation, **arguments):
    try:
        operation(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response
    raise AssertionError(f"{code} was expected")


@contextmanager
def function(functions, role_arn, code=ECHO, **more):
    """A function in Python, for as long as it is needed."""
    named = more.pop("FunctionName", None) or name("function")
    settings = {"Runtime": "python3.13", "Handler": "app.handler", "Timeout": 10, **more}
    made = functions.create_function(FunctionName=named, Role=role_arn, Code={"ZipFile": package(app_py=code)}, **settings)
    try:
        yield made
    finally:
        functions.delete_function(FunctionName=named)


def answer(functions, named, event=None, **more):
    """What a function answers to an event, which must be no error."""
    reply = functions.invoke(FunctionName=named, Payload=json.dumps(event or {}), **more)
    text = reply["Payload"].read()
    assert "FunctionError" not in reply, text
    return json.loads(text)


def drive_lambda(functions, account):
    role_arn, named = role(account.client("iam")), name("operations")
    refused("InvalidParameterValueException", functions.create_function, FunctionName=named, Runtime="nodejs22.x",
            Role=role_arn, Handler="a.b", Code={"ZipFile": package(app_py=ECHO)})
    with function(functions, role_arn, FunctionName=named, Tags={"a": "1"},
                  Environment={"Variables": {"KEY": "value"}}) as made:
        arn = made["FunctionArn"]
        refused("ResourceConflictException", functions.create_function, FunctionName=named, Runtime="python3.13",
                Role=role_arn, Handler="a.b", Code={"ZipFile": package(app_py=ECHO)})
        assert functions.get_function(FunctionName=named)["Tags"] == {"a": "1"}
        assert functions.get_function_configuration(FunctionName=arn)["Environment"] == {"Variables": {"KEY": "value"}}
        assert named in [f["FunctionName"] for page in functions.get_paginator("list_functions").paginate()
                         for f in page["Functions"]]
        assert functions.get_function_code_signing_config(FunctionName=named)["CodeSigningConfigArn"] == ""
        assert functions.get_account_settings()["AccountUsage"]["FunctionCount"] >= 1
        functions.tag_resource(Resource=arn, Tags={"b": "2"})
        functions.untag_resource(Resource=arn, TagKeys=["a"])
        assert functions.list_tags(Resource=arn)["Tags"] == {"b": "2"}
        drive_versions(functions, named, made)
        drive_rights(functions, named)
        assert answer(functions, named, {"a": 1}) == {"event": {"a": 1}, "version": "$LATEST"}
    refused("ResourceNotFoundException", functions.get_function, FunctionName=named)


def drive_versions(functions, named, made):
    first = functions.publish_version(FunctionName=named, Description="first")
    assert first["Version"] == "1" and functions.publish_version(FunctionName=named)["Version"] == "1"
    changed = functions.update_function_configuration(FunctionName=named, MemorySize=256, Description="changed")
    assert (changed["MemorySize"], changed["Handler"]) == (256, "app.handler")
    refused("PreconditionFailedException", functions.update_function_configuration, FunctionName=named,
            RevisionId=made["RevisionId"], Timeout=5)
    other = package(app_py=ECHO + "\n# another\n")
    assert functions.update_function_code(FunctionName=named, ZipFile=other, Publish=True)["Version"] == "2"
    assert [v["Version"] for v in functions.list_versions_by_function(FunctionName=named)["Versions"]] == \
        ["$LATEST", "1", "2"]
    live = functions.create_alias(FunctionName=named, Name="live", FunctionVersion="1")
    assert live["AliasArn"].endswith(f":{named}:live")
    refused("ResourceNotFoundException", functions.create_alias, FunctionName=named, Name="none", FunctionVersion="9")
    assert answer(functions, named, Qualifier="live")["version"] == "1"
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    assert functions.update_alias(FunctionName=named, Name="live", RoutingConfig=routing)["RoutingConfig"] == routing
    assert functions.get_alias(FunctionName=named, Name="live")["FunctionVersion"] == "1"
    assert [a["Name"] for a in functions.list_aliases(FunctionName=named)["Aliases"]] == ["live"]
    refused("ResourceConflictException", functions.delete_function, FunctionName=named, Qualifier="2")
    functions.delete_alias(FunctionName=named, Name="live")
    functions.delete_function(FunctionName=named, Qualifier="2")


def drive_rights(functions, named):
    functions.add_permission(FunctionName=named, StatementId="events", Action="lambda:InvokeFunction",
                             Principal="events.amazonaws.com", SourceArn="arn:aws:events:us-east-1:111122223333:rule/r")
    policy = json.loads(functions.get_policy(FunctionName=named)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}
    refused("ResourceConflictException", functions.add_permission, FunctionName=named, StatementId="events",
            Action="lambda:InvokeFunction", Principal="*")
    functions.remove_permission(FunctionName=named, StatementId="events")
    refused("ResourceNotFoundException", functions.get_policy, FunctionName=named)
    put = functions.put_function_event_invoke_config(FunctionName=named, MaximumRetryAttempts=1)
    assert (put["MaximumRetryAttempts"], put["FunctionArn"].rsplit(":", 1)[1]) == (1, "$LATEST")
    updated = functions.update_function_event_invoke_config(FunctionName=named, MaximumEventAgeInSeconds=60)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (1, 60)
    assert functions.get_function_event_invoke_config(FunctionName=named)["MaximumEventAgeInSeconds"] == 60
    assert len(functions.list_function_event_invoke_configs(FunctionName=named)["FunctionEventInvokeConfigs"]) == 1
    functions.delete_function_event_invoke_config(FunctionName=named)
    functions.put_function_concurrency(FunctionName=named, ReservedConcurrentExecutions=0)
    refused("TooManyRequestsException", functions.invoke, FunctionName=named)
    assert functions.get_function_concurrency(FunctionName=named)["ReservedConcurrentExecutions"] == 0
    functions.delete_function_concurrency(FunctionName=named)
