"""The checked-in archive of models is what the generator makes of the pinned botocore, and holds no prose."""

import json
import struct
import subprocess
import sys

from oracle import ROOT

MODELS = ROOT / "models"


def test_the_archive_is_up_to_date():
    done = subprocess.run([sys.executable, MODELS / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_archive_has_no_prose():
    archive = (MODELS / "aws.models").read_bytes()
    index_length, _ = struct.unpack("<II", archive[8:16])
    sys.path.insert(0, str(MODELS))
    from generate import decompressed

    services = json.loads(decompressed(archive[16 : 16 + index_length]))["services"]
    assert len(services) > 400
    at = 16 + index_length
    for name, frame_length, *_ in services:
        content = decompressed(archive[at : at + frame_length])
        at += frame_length
        assert b'"documentation"' not in content or name in NAMED_DOCUMENTATION, name
        assert b"<p>" not in content, name


# Services with a member of their own that has this name.
NAMED_DOCUMENTATION = {"apigateway", "transfer"}
