"""Values for the shapes of AWS's models, from a seed, and their neutral form as the codec's calls have it."""

import base64
import datetime
import random
import string

UTC = datetime.timezone.utc
# Deeper structures than this are left out, unless they are required.
DEPTH_MAX = 4
TEXT = string.ascii_letters + string.digits + " -_./:+=@&<>\"'%,;{}[]()!*~#?é漢🙂\\"
HEADER = string.ascii_letters + string.digits + "-_./:+=@&%;()!*~#?"
NAME = string.ascii_lowercase + string.digits


class Generator:
    def __init__(self, seed, protocol, is_output, is_full):
        self.random = random.Random(seed)
        self.protocol = protocol
        self.is_output = is_output
        self.is_full = is_full

    def text(self, alphabet, low=1, high=12):
        count = self.random.randint(low, high)
        return "".join(self.random.choice(alphabet) for _ in range(count)).strip() or "x"

    def structure(self, shape, depth=0, above=()):
        members = shape.members
        if shape.is_tagged_union:
            names = [name for name in members if not self.is_recursive(members[name], above)]
            chosen = [self.random.choice(names or list(members))] if members else []
        elif self.is_full:
            chosen = [name for name in members if name in shape.required_members or depth < DEPTH_MAX]
        else:
            chosen = list(shape.required_members)
        result = {}
        for name in chosen:
            member = members[name]
            if member.serialization.get("eventstream") or member.serialization.get("name") == "Content-Length":
                continue
            if self.is_recursive(member, above) and name not in shape.required_members:
                continue
            if len(above) > 12:
                continue
            result[name] = self.value(member, depth + 1, (*above, shape.name))
        return result

    def is_recursive(self, shape, above):
        while shape.type_name in ("list", "map"):
            shape = shape.member if shape.type_name == "list" else shape.value
        return shape.name in above

    def value(self, shape, depth=0, above=()):
        location = shape.serialization.get("location")
        kind = shape.type_name
        if location == "statusCode":
            return 200
        if kind == "structure":
            if shape.is_document_type:
                return {"a": [1, {"b": None, "c": "é"}]}
            return self.structure(shape, depth, above)
        if kind == "list":
            if self.is_recursive(shape, above):
                return []
            count = self.random.randint(1, 2)
            return [self.item(shape.member, location, depth, above) for _ in range(count)]
        if kind == "map":
            if self.is_recursive(shape, above):
                return {}
            alphabet = NAME if location in ("headers", "querystring") else NAME + " .-é"
            keys = {self.text(alphabet, 3, 8) for _ in range(self.random.randint(1, 2))}
            if shape.key.enum:
                keys = {self.random.choice(shape.key.enum)}
            return {key: self.item(shape.value, location, depth, above) for key in sorted(keys)}
        return self.scalar(shape, location)

    def item(self, shape, location, depth, above):
        if shape.type_name in ("structure", "list", "map"):
            return self.value(shape, depth, above)
        return self.scalar(shape, location)

    def scalar(self, shape, location):
        kind = shape.type_name
        if kind in ("string", "character"):
            if shape.serialization.get("jsonvalue"):
                return {"a": [1, "b"]} if location or self.is_output else "text"
            if shape.enum and location != "uri":
                return self.random.choice(shape.enum)
            if shape.serialization.get("hostLabel"):
                return self.text(NAME)
            if location in ("header", "headers"):
                return self.text(HEADER)
            return self.text(TEXT)
        if kind == "blob":
            if self.is_output:
                return self.text(HEADER, 0, 20).encode()
            return bytes(self.random.randrange(256) for _ in range(self.random.randint(0, 20)))
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "integer":
            return self.random.randint(-(2**31), 2**31 - 1)
        if kind == "long":
            return self.random.randint(-(2**63), 2**63 - 1)
        if kind in ("float", "double"):
            return self.random.choice([0.5, -1.25, 1e10, 3.0])
        if kind == "timestamp":
            return datetime.datetime.fromtimestamp(self.random.randint(0, 4_000_000_000), UTC)
        raise AssertionError(kind)


def neutral(shape, value):
    """A value as the codec's calls and replies have it."""
    kind = shape.type_name
    if value is None:
        return None
    if kind == "structure":
        if shape.is_document_type:
            return value
        return {name: neutral(shape.members[name], item) for name, item in value.items()}
    if kind == "list":
        return [neutral(shape.member, item) for item in value]
    if kind == "map":
        return {key: neutral(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        value = value.encode() if isinstance(value, str) else value
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        seconds = value.timestamp()
        return int(seconds) if seconds == int(seconds) else seconds
    return value


def pruned(value):
    """Without empty lists, maps and structures, which XML, forms and headers cannot tell from absent ones."""
    if isinstance(value, dict):
        items = {key: pruned(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in ({}, [], None)}
    if isinstance(value, list):
        return [item for item in map(pruned, value) if item not in ({}, [])]
    return value
