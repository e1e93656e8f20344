"""Every operation of every AWS service, judged by botocore: what botocore sends is decoded to what it was given, and
what is encoded here is parsed by botocore to what it was made of. Errors too.

The seed is fixed; CAIRN_WIRE_SEED sets another. CAIRN_WIRE_SERVICES=s3,sts takes only some services.
"""

import base64
import concurrent.futures
import json
import os

import botocore.awsrequest
import botocore.httpchecksum
import botocore.loaders
import botocore.parsers
import botocore.serialize
import pytest
from botocore.model import ServiceModel

from oracle import ROOT, Oracle, b64, build
from values import Generator, neutral, pruned

SEED = os.environ.get("CAIRN_WIRE_SEED", "cairn")
PROTOCOLS = ["json", "query", "ec2", "rest-json", "rest-xml", "smithy-rpc-v2-cbor"]
WORKERS = os.cpu_count() or 2
SHARES = 16
# No test may quietly lose its subject: fewer operations than these are an error.
OPERATIONS_MIN = {"json": 6000, "query": 1100, "ec2": 700, "rest-json": 9000, "rest-xml": 400, "smithy-rpc-v2-cbor": 300}

# Operations with event streams are left out too, on the side that streams: the codec refuses them. No more operations
# of a protocol than these may be left out for one reason or the other.
LEFT_OUT_MAX = 40
# Operations that no request can be made for that means them: reason by (service, name).
EXCLUDED = {
    ("s3", "GetBucketLifecycle"): "superseded, same request as GetBucketLifecycleConfiguration",
    ("s3", "GetBucketNotification"): "superseded, same request as GetBucketNotificationConfiguration",
    ("s3", "PutBucketLifecycle"): "superseded, same request as PutBucketLifecycleConfiguration",
    ("s3", "PutBucketNotification"): "superseded, same request as PutBucketNotificationConfiguration",
    ("s3", "ListDirectoryBuckets"): "same request as ListBuckets on another endpoint",
}
for _name in (
    "AssociateServiceRoleToAccount",
    "DisassociateServiceRoleFromAccount",
    "GetConnectivityInfo",
    "GetServiceRoleForAccount",
    "ListTagsForResource",
    "TagResource",
    "UntagResource",
    "UpdateConnectivityInfo",
):
    EXCLUDED["greengrassv2", _name] = "same request as greengrass, whose members have other names"
# Services whose requests are the same as another's, byte for byte: same signing name, version and operations.
TWINS = {
    "docdb": {"rds"},
    "neptune": {"rds"},
    "sms-voice": {"pinpoint-sms-voice"},
    "wisdom": {"qconnect"},
}
# HTTP clients and servers set these headers themselves; where they are members too, they are only compared when given.
TRANSFER_HEADERS = {"content-type", "content-length"}


def extras_of(name):
    """What models/extras lays over a service's model: what botocore no longer knows of it."""
    path = ROOT / "models" / "extras" / f"{name}.json"
    return json.loads(path.read_text())["merge"] if path.exists() else {}


def merged(base, extra):
    if not isinstance(base, dict) or not isinstance(extra, dict):
        return extra
    return {**base, **{key: merged(base.get(key), value) for key, value in extra.items()}}


def as_botocore_had_it(value):
    """The names of awsQuery where botocore looks for them, in a model of that protocol."""
    if isinstance(value, list):
        return [as_botocore_had_it(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {"locationName" if key == "queryName" else key: as_botocore_had_it(item) for key, item in value.items()}


def models_of(loader, name):
    """The service's model and, where extras say that it speaks awsQuery too, one of that protocol."""
    raw, extras = loader.load_service_model(name, "service-2"), extras_of(name)
    yield ServiceModel(raw, name)
    if "query" in extras.get("metadata", {}).get("protocols", []):
        older = as_botocore_had_it(merged(raw, extras))
        older["metadata"] |= {"protocol": "query", "protocols": ["query"]}
        yield ServiceModel(older, name)


def protocols_of(model):
    return [p for p in model.metadata.get("protocols") or [model.metadata["protocol"]] if p in PROTOCOLS]


def has_event_stream(shape):
    return shape is not None and any(m.serialization.get("eventstream") for m in shape.members.values())


def request_of(serializer, model, operation, params):
    """The HTTP request that botocore would send, less its signature."""
    request = serializer.serialize_to_request(params, operation)
    host = f"{model.endpoint_prefix}.us-east-1.amazonaws.com"
    botocore.awsrequest.prepare_request_dict(request, f"https://{host}")
    prepared = botocore.awsrequest.create_request_object(request).prepare()
    body = prepared.body or b""
    headers = [
        (name, value.decode("utf-8") if isinstance(value, bytes) else str(value))
        for name, value in prepared.headers.items()
    ]
    return {
        "do": "decode",
        "method": prepared.method,
        "url": prepared.url,
        "headers": [*headers, ("host", host)],
        "body": b64(body.encode() if isinstance(body, str) else body),
        "signing": model.signing_name,
    }


def streaming_member(shape):
    """The payload member that travels as a stream: (name, shape)."""
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload:
        member = shape.members[payload]
        if member.type_name == "blob" and member.serialization.get("streaming"):
            return payload
    return None


def without_transfer(shape, decoded, given):
    """`decoded` without members that only the HTTP client or server has set."""
    result = dict(decoded)
    for name, member in shape.members.items() if shape is not None else ():
        location = member.serialization.get("location")
        if location == "header" and member.serialization.get("name", name).lower() in TRANSFER_HEADERS:
            if name not in given:
                result.pop(name, None)
        is_payload = shape.serialization.get("payload") == name
        if is_payload and member.type_name in ("blob", "string") and not result.get(name):
            result.pop(name, None)
    return result


def check_inputs(protocol, name, model, oracle):
    serializer = botocore.serialize.create_serializer(protocol, include_validation=False)
    questions, cases, failures = [], [], []
    for operation_name in model.operation_names:
        operation = model.operation_model(operation_name)
        shape = operation.input_shape
        if (name, operation_name) in EXCLUDED or has_event_stream(shape):
            continue
        for is_full in (False, True):
            generator = Generator(f"{SEED}/{name}/{operation_name}/{is_full}", protocol, False, is_full)
            params = generator.structure(shape) if shape is not None else {}
            try:
                questions.append(request_of(serializer, model, operation, params))
            except Exception as error:
                failures.append(f"{name}.{operation_name}: botocore cannot send it: {error!r}")
                continue
            cases.append((operation_name, shape, params))
    for answer, (operation_name, shape, params) in zip(oracle.ask_all(questions), cases):
        stream = streaming_member(shape)
        expected = neutral(shape, {k: v for k, v in params.items() if k != stream}) if shape is not None else {}
        problem = None
        if answer.get("operation") != operation_name or "params" not in answer:
            problem = f"answered {json.dumps(answer)[:300]}"
        elif answer["service"] != name and answer["service"] not in TWINS.get(name, ()):
            problem = f"taken for {answer['service']}"
        elif (decoded := pruned(without_transfer(shape, answer["params"], params))) != (
            expected := pruned(without_transfer(shape, expected, params))
        ):
            problem = f"expected {expected}\n      decoded {decoded}"
        elif stream and answer["body"] != b64(params.get(stream, b"")):
            problem = "the stream differs"
        if problem:
            failures.append(f"{name}.{operation_name}: {problem}")
    return len(questions), failures


def parsed(parser, answer, shape, name, operation_name):
    response = {
        "status_code": answer["status"],
        "headers": botocore.awsrequest.HeadersDict(answer["headers"]),
        "body": base64.b64decode(answer["body"]),
        "context": {"operation_name": operation_name},
    }
    result = parser.parse(response, shape)
    if (name, operation_name) == ("s3", "GetBucketLocation"):
        # What botocore.handlers.parse_get_bucket_location does.
        root = botocore.parsers.ETree.fromstring(response["body"])
        result["LocationConstraint"] = root.text
    return result


def check_outputs(protocol, name, model, oracle):
    parser = botocore.parsers.create_parser(protocol)
    questions, cases, failures = [], [], []
    for operation_name in model.operation_names:
        shape = model.operation_model(operation_name).output_shape
        if has_event_stream(shape) or (name, operation_name) in EXCLUDED:
            continue
        for is_full in (False, True):
            generator = Generator(f"{SEED}/{name}/{operation_name}/{is_full}/out", protocol, True, is_full)
            result = generator.structure(shape) if shape is not None else {}
            stream = streaming_member(shape)
            question = {
                "do": "encode",
                "service": name,
                "operation": operation_name,
                "protocol": protocol,
                "result": neutral(shape, {k: v for k, v in result.items() if k != stream}) if shape else {},
                "body": b64(result[stream]) if stream in result else None,
            }
            questions.append(question)
            cases.append((operation_name, shape, result))
    for answer, (operation_name, shape, result) in zip(oracle.ask_all(questions), cases):
        where = f"{name}.{operation_name}"
        if "failed" in answer:
            failures.append(f"{where}: {answer['failed']}")
            continue
        try:
            found = parsed(parser, answer, shape, name, operation_name)
        except Exception as error:
            failures.append(f"{where}: botocore cannot read it: {error!r} {str(answer)[:300]}")
            continue
        metadata = found.pop("ResponseMetadata", {})
        if shape is None:
            continue
        if not metadata.get("RequestId"):
            failures.append(f"{where}: no request id")
        payload = shape.serialization.get("payload")
        for member, member_shape in shape.members.items():
            location = member_shape.serialization.get("location")
            if location == "statusCode":
                result[member] = answer["status"]
            elif location == "headers" and member in found:
                # A map of headers takes all of them where its prefix is empty.
                found[member] = {k: v for k, v in found[member].items() if k in result.get(member, {})}
            elif member == payload and member_shape.type_name == "blob" and member in found:
                found[member] = found[member].encode()
        expected = pruned(without_transfer(shape, neutral(shape, result), result))
        decoded = pruned(without_transfer(shape, neutral(shape, found), result))
        if decoded != expected:
            failures.append(f"{where}: encoded {expected}\n      parsed  {decoded}")
    return len(questions), failures


def check_errors(protocol, name, model, oracle):
    parser = botocore.parsers.create_parser(protocol)
    questions = []
    for operation_name in model.operation_names:
        errors = [shape.error_code for shape in model.operation_model(operation_name).error_shapes[:1]]
        for code in [*errors, "AccessDenied"]:
            questions.append(
                {
                    "do": "encode_error",
                    "service": name,
                    "operation": operation_name,
                    "protocol": protocol,
                    "code": code,
                    "message": "no <such> & \"thing\" é",
                    "status": 400,
                }
            )
    failures = []
    for question, answer in zip(questions, oracle.ask_all(questions)):
        where = f"{name}.{question['operation']}: {question['code']}"
        operation = model.operation_model(question["operation"])
        found = parsed(parser, answer, operation.output_shape, "", question["operation"])
        error = found.get("Error", {})
        # Of a service that once spoke awsQuery botocore gives the code that the error had there.
        older = extras_of(name).get("shapes", {}).get(question["code"], {}).get("error", {})
        code = older.get("code", question["code"])
        if (error.get("Code"), error.get("Message")) != (code, question["message"]):
            failures.append(f"{where}: parsed {found}")
        if not found["ResponseMetadata"].get("RequestId"):
            failures.append(f"{where}: no request id")
    return len(questions), failures


CHECKS = {"inputs": check_inputs, "outputs": check_outputs, "errors": check_errors}


def work(program, names):
    """One worker's share of the services: {(protocol, kind): [operations, cases, failures]}."""
    loader = botocore.loaders.Loader()
    oracle = Oracle(program)
    results = {}
    for name in names:
        for model, protocol in ((model, p) for model in models_of(loader, name) for p in protocols_of(model)):
            for kind, check in CHECKS.items():
                count, failures = check(protocol, name, model, oracle)
                result = results.setdefault((protocol, kind), [0, 0, []])
                result[0] += len(model.operation_names)
                result[1] += count
                result[2] += failures
    oracle.close()
    return results


@pytest.fixture(scope="session")
def verdicts():
    """All services through all checks once, in as many processes as there are workers."""
    program = build()
    names = botocore.loaders.Loader().list_available_services("service-2")
    if only := os.environ.get("CAIRN_WIRE_SERVICES"):
        names = only.split(",")
    # Small shares, so that the large services do not all wait for one worker.
    shares = [names[at::SHARES] for at in range(SHARES)]
    total = {}
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        for results in pool.map(work, [program] * SHARES, shares):
            for key, (operations, count, failures) in results.items():
                sums = total.setdefault(key, [0, 0, []])
                sums[0] += operations
                sums[1] += count
                sums[2] += failures
    return total


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_operation_agrees_with_botocore(verdicts, protocol, kind):
    operations, count, failures = verdicts.get((protocol, kind), [0, 0, []])
    print(f"{protocol} {kind}: {operations} operations, {count} cases, {len(failures)} failures")
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures[:200])
    if "CAIRN_WIRE_SERVICES" not in os.environ:
        assert operations >= OPERATIONS_MIN[protocol]
        assert kind == "errors" or operations - count // 2 <= LEFT_OUT_MAX
