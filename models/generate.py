#!/usr/bin/env python3
"""Make `aws.models`, the archive of AWS's service models, from botocore's data folder.

    models/generate.py            write models/aws.models
    models/generate.py --check    say whether models/aws.models is what this script makes

The archive keeps what the wire codec reads (names, shapes, constraints, protocol traits) and drops all prose. Its
layout, all numbers little-endian:

    8 bytes   magic "CAIRNMD1"
    4 bytes   length of the index frame
    4 bytes   length of the index when decompressed
    ...       the index, a zstd frame of JSON: {"botocore": "1.43.11", "services": [ENTRY, ..]}
    ...       one zstd frame of JSON for each service, in the index's order

An ENTRY is [name, frame length, decompressed length, signing name, target prefix or null, endpoint prefix].
`extras/SERVICE.json`, in the form of botocore's own extras, is laid over a model: what botocore no longer knows, as the
names of SQS's older awsQuery.

Needs the botocore and zstandard that compat/requirements.txt pins; the same versions write the same bytes. `--check`
compares the decompressed content, so that another version of zstd does not matter.
"""

import argparse
import gzip
import json
import re
import struct
import sys
from pathlib import Path

import botocore
import zstandard

BOTOCORE_VERSION = "1.43.11"
MAGIC = b"CAIRNMD1"
ARCHIVE = Path(__file__).resolve().parent / "aws.models"
EXTRAS = Path(__file__).resolve().parent / "extras"
ZSTD_LEVEL = 19

METADATA = (
    "apiVersion", "endpointPrefix", "protocol", "protocols", "jsonVersion", "serviceId", "signingName",
    "signatureVersion", "targetPrefix", "globalEndpoint", "xmlNamespace", "awsQueryCompatible",
)
OPERATION = (
    "http", "errors", "httpChecksum", "httpChecksumRequired", "authtype", "auth", "unsignedPayload",
    "endpoint", "requestcompression",
)
SHAPE = (
    "type", "required", "enum", "min", "max", "pattern", "sensitive", "error", "exception", "fault",
    "timestampFormat", "payload", "document", "event", "eventstream", "streaming", "wrapper", "locationName",
    "flattened", "xmlNamespace", "union", "sparse", "requiresLength", "xmlOrder", "queryName",
)
MEMBER = (
    "shape", "location", "locationName", "jsonvalue", "xmlNamespace", "queryName", "eventpayload", "eventheader",
    "hostLabel", "flattened", "streaming", "xmlAttribute", "idempotencyToken", "timestampFormat",
)


def kept(source, names):
    return {name: source[name] for name in names if name in source}


def member_of(reference):
    return kept(reference, MEMBER)


def shape_of(shape):
    result = kept(shape, SHAPE)
    if "error" in result:
        result["error"] = kept(result["error"], ("code", "httpStatusCode", "senderFault"))
    if "members" in shape:
        result["members"] = {name: member_of(ref) for name, ref in shape["members"].items()}
    for part in ("member", "key", "value"):
        if part in shape:
            result[part] = member_of(shape[part])
    return result


def operation_of(operation):
    result = kept(operation, OPERATION)
    if "endpoint" in result:
        result["endpoint"] = kept(result["endpoint"], ("hostPrefix",))
    if "errors" in result:
        result["errors"] = [error["shape"] for error in result["errors"]]
    for side in ("input", "output"):
        if side in operation:
            result[side] = kept(operation[side], ("shape", "locationName", "xmlNamespace", "resultWrapper"))
    return result


def service_of(model):
    """The model without prose; maps in botocore's order, which is the order of AWS's own documents."""
    return {
        "metadata": kept(model["metadata"], METADATA),
        "operations": {name: operation_of(value) for name, value in model["operations"].items()},
        "shapes": {name: shape_of(value) for name, value in model["shapes"].items()},
    }


def merge_extras(model, folder):
    """botocore lays `service-2.sdk-extras.json` over the model, and we our own; only the `merge` part exists."""

    def merge(into, extra):
        for key, value in extra.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value

    own = EXTRAS / f"{folder.parent.name}.json"
    for path in [*sorted(folder.glob("service-2.*extras.json")), *([own] if own.exists() else [])]:
        merge(model, json.loads(path.read_text()).get("merge", {}))
    return model


def newest_models(data):
    for service in sorted(path for path in data.iterdir() if path.is_dir()):
        versions = [
            path.parent
            for path in service.glob("*/service-2.json.gz")
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", path.parent.name)
        ]
        if versions:
            folder = max(versions, key=lambda path: path.name)
            with gzip.open(folder / "service-2.json.gz") as file:
                yield service.name, merge_extras(json.load(file), folder)


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def compressed(content):
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compress(content)


def decompressed(frame):
    return zstandard.ZstdDecompressor().decompressobj().decompress(frame)


def contents():
    """(index entry without lengths, JSON) of every service."""
    for name, model in newest_models(Path(botocore.__file__).parent / "data"):
        service = service_of(model)
        metadata = service["metadata"]
        signing = metadata.get("signingName", metadata["endpointPrefix"])
        yield (name, signing, metadata.get("targetPrefix"), metadata["endpointPrefix"]), compact(service)


def write():
    entries, frames = [], []
    for (name, signing, target, endpoint), content in contents():
        frame = compressed(content)
        frames.append(frame)
        entries.append([name, len(frame), len(content), signing, target, endpoint])
    index = compact({"botocore": BOTOCORE_VERSION, "services": entries})
    index_frame = compressed(index)
    head = MAGIC + struct.pack("<II", len(index_frame), len(index))
    ARCHIVE.write_bytes(b"".join([head, index_frame, *frames]))
    print(f"{ARCHIVE.name}: {len(entries)} services, {ARCHIVE.stat().st_size} bytes")


def is_current():
    """Whether the archive's content is what `write` would write."""
    if not ARCHIVE.exists():
        return False
    archive = ARCHIVE.read_bytes()
    if archive[:8] != MAGIC:
        return False
    index_length, _ = struct.unpack("<II", archive[8:16])
    at = 16 + index_length
    index = json.loads(decompressed(archive[16:at]))
    if index["botocore"] != BOTOCORE_VERSION:
        return False
    found = {}
    for name, frame_length, length, signing, target, endpoint in index["services"]:
        content = decompressed(archive[at : at + frame_length])
        at += frame_length
        if len(content) != length:
            return False
        found[name] = ((name, signing, target, endpoint), content)
    return at == len(archive) and list(found.values()) == list(contents())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the archive is up to date")
    arguments = parser.parse_args()
    if botocore.__version__ != BOTOCORE_VERSION:
        sys.exit(f"needs botocore {BOTOCORE_VERSION}, found {botocore.__version__}")
    if not arguments.check:
        write()
    elif is_current():
        print(f"{ARCHIVE.name} is up to date")
    else:
        sys.exit(f"{ARCHIVE.name} is out of date: run models/generate.py")


if __name__ == "__main__":
    main()
