"""Signed chunks and trailers, framed here from the documentation with hashlib and hmac."""

import base64
import hashlib
import hmac
import random
import zlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from requests_by_chance import NOW_TEXT, SECRET, credentials, on_the_wire

EMPTY = hashlib.sha256(b"").hexdigest()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256)


def framed(chunks, seed, trailer):
    key = f"AWS4{SECRET}".encode()
    for part in [NOW_TEXT[:8], "us-east-1", "s3", "aws4_request"]:
        key = sign(key, part).digest()
    start = f"{NOW_TEXT}\n{NOW_TEXT[:8]}/us-east-1/s3/aws4_request"
    frames = []
    for chunk in chunks + [b""]:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{start}\n{seed}\n{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}"
        seed = sign(key, text).hexdigest()
        frames.append(f"{len(chunk):x};chunk-signature={seed}\r\n".encode() + chunk + (b"\r\n" if chunk else b""))
    if trailer:
        digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        seed = sign(key, f"AWS4-HMAC-SHA256-TRAILER\n{start}\n{seed}\n{digest}").hexdigest()
        frames.append(f"{trailer}\r\nx-amz-trailer-signature:{seed}\r\n".encode())
    return frames + [b"\r\n"]


@pytest.mark.parametrize("with_trailer", [False, True])
def test_signed_chunks_are_read_and_tampered_ones_are_not(oracle, with_trailer):
    chance = random.Random(7)
    for case in range(40):
        chunks = [chance.randbytes(chance.choice([1, 5, 8192, 65536])) for _ in range(chance.randint(0, 4))]
        payload = b"".join(chunks)
        mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if with_trailer else "")
        headers = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": str(len(payload))}
        trailer = None
        if with_trailer:
            headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"
            trailer = "x-amz-checksum-crc32:" + base64.b64encode(zlib.crc32(payload).to_bytes(4, "big")).decode()
        request = AWSRequest(method="PUT", url="http://localhost/b/k", headers=headers)

        class Streaming(S3SigV4Auth):
            def payload(self, request):
                return mode

        Streaming(credentials(False), "s3", "us-east-1").add_auth(request)
        seed = request.headers["Authorization"].rpartition("Signature=")[2]
        method, target, headers, _ = on_the_wire(request)
        frames = framed(chunks, seed, trailer)

        def ask(frames):
            return oracle.ask(
                "verify", method, target, headers, b"".join(frames), secret=SECRET, now=NOW_TEXT,
                piece_bytes=chance.choice([1000, 1001, 65536, 10**6]),
            )

        answer = ask(frames)
        assert answer["ok"] and answer["payload"] == payload, answer
        assert bool(answer["trailers"]) == with_trailer
        raw = b"".join(frames)
        at = chance.randrange(len(raw))
        assert not ask([raw[:at], bytes([raw[at] ^ 4]), raw[at + 1:]])["ok"], at
        assert not ask([raw[:at]])["ok"], at
        missing = chance.randrange(len(frames))
        assert not ask(frames[:missing] + frames[missing + 1:])["ok"], missing
        if len(chunks) > 1 and chunks[0] != chunks[1]:
            assert not ask([frames[1], frames[0]] + frames[2:])["ok"]
