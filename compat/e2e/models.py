"""botocore's models as the judge of answers, and as the maker of inputs."""

import base64
import datetime
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from botocore.parsers import RpcV2CBORParser

OPERATIONS_PAGE = Path(__file__).resolve().parents[2] / "docs/operations.md"
# Headers that every answer may have, beside those that the output's shape binds.
COMMON_HEADERS = {
    "x-amz-request-id", "x-amz-id-2", "x-amzn-requestid", "x-amz-bucket-region", "x-amz-bucket-arn",
}


def listed_operations():
    """What docs/operations.md lists: {service: {operation: (name in records, access, kind)}}."""
    listed, service = {}, None
    for line in OPERATIONS_PAGE.read_text().splitlines():
        if line.startswith("## "):
            service = listed.setdefault(line[3:].strip(), {})
        elif service is not None and line.startswith("| ") and not line.startswith("| operation"):
            name, *rest = [cell.strip() for cell in line.strip("|").split("|")]
            service[name] = tuple(rest)
    return listed


def method_name(operation):
    """boto3's name of the method: list_objects_v2."""
    from botocore import xform_name
    return xform_name(operation)


# ---- inputs ---------------------------------------------------------------------------------------------------------

# Values for members whose form clients check before they send.
KNOWN = {
    "Bucket": "a-bucket-for-nothing", "AccountId": "111122223333", "CopySource": "a-bucket/key",
    "RequestRoute": "route", "RequestToken": "token", "ExpectedBucketOwner": "111122223333",
}
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)


def minimal_input(shape):
    """The required members of an input, with the smallest values that botocore lets through."""
    if shape is None:
        return {}
    return {name: _value(name, shape.members[name], 0) for name in shape.required_members}


def _value(name, shape, depth):
    kind = shape.type_name
    if kind == "structure":
        if depth > 8:
            return {}
        if getattr(shape, "is_tagged_union", False):
            first = next(iter(shape.members))
            return {first: _value(first, shape.members[first], depth + 1)}
        return {member: _value(member, shape.members[member], depth + 1) for member in shape.required_members}
    if kind == "list":
        return [_value(name, shape.member, depth + 1)] * max(1, shape.metadata.get("min", 1))
    if kind == "map":
        return {"key": _value(name, shape.value, depth + 1)}
    if kind == "string":
        if name in KNOWN:
            return KNOWN[name]
        if shape.enum:
            return shape.enum[0]
        return "a" * max(shape.metadata.get("min", 1), 1)
    return {
        "integer": lambda: max(shape.metadata.get("min", 1), 1), "long": lambda: max(shape.metadata.get("min", 1), 1),
        "float": lambda: 1.0, "double": lambda: 1.0, "boolean": lambda: True, "timestamp": lambda: START,
        "blob": lambda: b"a" * max(shape.metadata.get("min", 1), 1),
    }[kind]()


# ---- outputs --------------------------------------------------------------------------------------------------------


class Answers:
    """A client's successful answers, raw and parsed, by operation."""

    def __init__(self, client):
        self.client, self.seen, self._raw = client, {}, {}
        client.meta.events.register("before-parse.*.*", self._before_parse)
        client.meta.events.register("after-call.*.*", self._after_call)
        self.failed = {}

    def _before_parse(self, operation_model, response_dict, **_):
        self._raw[operation_model.name] = response_dict

    def _after_call(self, http_response, parsed, model, **_):
        raw = self._raw.pop(model.name)
        if http_response.status_code < 300:
            self.seen.setdefault(model.name, []).append((model, raw, dict(parsed)))
        else:
            code = parsed["Error"]["Code"]
            self.failed.setdefault(model.name, set()).add(code)

    def faults(self, operation):
        """What in the answers does not fit the model, as sentences."""
        found = []
        for model, raw, parsed in self.seen.get(operation, []):
            parsed = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
            shape = model.output_shape
            if shape is not None:
                _parsed_faults(shape, parsed, operation, found, model)
            elif parsed:
                found.append(f"{operation}: an answer without a shape has {parsed}")
            _raw_faults(model, raw, found)
        return sorted(set(found))


# What AWS, too, leaves out of its answers where it is empty, though the model requires it.
LEFT_OUT_WHERE_EMPTY = {
    (f"{operation}Batch", member)
    for operation in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility") for member in ("Successful", "Failed")
}
TYPES = {
    "string": str, "integer": int, "long": int, "float": (float, int), "double": (float, int), "boolean": bool,
    "timestamp": datetime.datetime, "list": list, "map": dict, "structure": dict,
}


def _parsed_faults(shape, value, at, found, model=None):
    kind = shape.type_name
    if kind == "blob":
        is_stream = model is None and hasattr(value, "read")
        if not isinstance(value, bytes) and not is_stream and not hasattr(value, "read"):
            found.append(f"{at} is {type(value).__name__}, not bytes")
        return
    if getattr(shape, "is_eventstream", False) or shape.serialization.get("eventstream"):
        # Its events are the scenario's to judge.
        return
    if shape.name == "policyDocumentType" and isinstance(value, dict):
        return
    if not isinstance(value, TYPES[kind]) or (kind in ("integer", "long") and isinstance(value, bool)):
        found.append(f"{at} is {type(value).__name__}, not a {kind}")
        return
    if kind == "structure":
        for name, item in value.items():
            if name not in shape.members:
                found.append(f"{at}.{name} is not in the model")
            else:
                _parsed_faults(shape.members[name], item, f"{at}.{name}", found)
        for name in shape.required_members:
            if name not in value and (at, name) not in LEFT_OUT_WHERE_EMPTY:
                found.append(f"{at} lacks {name}")
    elif kind == "list":
        for item in value:
            _parsed_faults(shape.member, item, f"{at}[]", found)
    elif kind == "map":
        for item in value.values():
            _parsed_faults(shape.value, item, f"{at}{{}}", found)
    elif kind == "string" and shape.enum and value not in shape.enum and value != "":
        found.append(f"{at} is {value!r}, which the enum does not have")


def _raw_faults(model, raw, found):
    protocol, headers, body = model.service_model.resolved_protocol, raw["headers"], raw["body"]
    shape, at = model.output_shape, model.name
    bound = {"x-amz-meta-"} if protocol == "rest-xml" else set()
    members = shape.members if shape is not None else {}
    for member in members.values():
        if member.serialization.get("location") == "header":
            bound.add(member.serialization["name"].lower())
    for name in headers:
        name = name.lower()
        if name.startswith("x-amz") and name not in COMMON_HEADERS and name not in bound:
            if not name.startswith("x-amz-meta-"):
                found.append(f"{at}: the header {name} is not in the model")
    if shape is None:
        return
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name in ("blob", "string"):
        return
    if not isinstance(body, bytes) or not body:
        return
    if protocol in ("json", "rest-json"):
        _json_faults(shape, json.loads(body), at, found)
        return
    if protocol == "smithy-rpc-v2-cbor":
        parser = RpcV2CBORParser()
        _json_faults(shape, parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)), at, found)
        return
    root = ElementTree.fromstring(body)
    if protocol == "query":
        wrapper = shape.serialization.get("resultWrapper")
        expected = {wrapper, "ResponseMetadata"}
        found.extend(f"{at}: <{_tag(e)}> is not expected" for e in root if _tag(e) not in expected)
        result = next((element for element in root if _tag(element) == wrapper), None)
        if result is not None:
            _xml_faults(shape, result, at, found)
    elif at != "GetBucketLocation":
        body_shape = shape.members[payload] if payload else shape
        _xml_faults(body_shape, root, at, found)


def _json_faults(shape, value, at, found):
    if value is None:
        found.append(f"{at} is null on the wire")
    elif shape.type_name == "structure":
        for name, item in value.items():
            if name not in shape.members:
                found.append(f"{at}.{name} is not in the model")
            else:
                _json_faults(shape.members[name], item, f"{at}.{name}", found)
    elif shape.type_name == "list":
        for item in value:
            _json_faults(shape.member, item, f"{at}[]", found)
    elif shape.type_name == "timestamp" and not isinstance(value, (int, float, datetime.datetime)):
        found.append(f"{at} is not an epoch number")
    elif shape.type_name == "blob" and not isinstance(value, bytes):
        base64.b64decode(value, validate=True)


def _tag(element):
    return element.tag.rsplit("}", 1)[-1]


def _xml_faults(shape, element, at, found):
    """Elements that the shape does not have."""
    if shape.type_name == "structure":
        wire, attributes = {}, set()
        for name, member in shape.members.items():
            if member.serialization.get("location"):
                continue
            own = member.serialization.get("name", name)
            if member.serialization.get("xmlAttribute"):
                attributes.add(own)
            elif member.type_name == "list" and member.serialization.get("flattened"):
                wire[member.member.serialization.get("name", own)] = member.member
            else:
                wire[own] = member
        for child in element:
            name = _tag(child)
            if name not in wire:
                found.append(f"{at}: <{name}> is not in the model")
            else:
                _xml_faults(wire[name], child, f"{at}.{name}", found)
    elif shape.type_name == "list":
        item = shape.member.serialization.get("name", "member")
        for child in element:
            if _tag(child) != item:
                found.append(f"{at}: <{_tag(child)}> instead of <{item}>")
            else:
                _xml_faults(shape.member, child, f"{at}[]", found)
    elif shape.type_name == "timestamp" and not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", element.text or ""):
        found.append(f"{at}: {element.text!r} is not an ISO time")
