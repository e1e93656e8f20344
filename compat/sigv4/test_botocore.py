"""botocore signs, we verify; we sign, and botocore agrees to the letter."""

import os
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from requests_by_chance import NOW_TEXT, SECRET, TOKEN, ByChance, credentials, on_the_wire

CASES = int(os.environ.get("SIGV4_CASES", "400"))
SEED = int(os.environ.get("SIGV4_SEED", "1"))


def verify(oracle, method, target, headers, body, secret=SECRET, now=NOW_TEXT):
    s3 = "s3%2Faws4_request" in target or any("/s3/aws4_request" in value for _, value in headers)
    return oracle.ask("verify", method, target, headers, body, whole=not s3, secret=secret, now=now, piece_bytes=700)


def tampered(chance, method, target, headers, body):
    """The same request with one thing changed that its signature covers."""
    def header(change):
        names = [name for name, _ in headers]
        at = names.index(change)
        changed = [list(pair) for pair in headers]
        changed[at][1] = changed[at][1] + "x"
        return method, target, changed, body

    yield "PATCH", target, headers, body
    path, _, query = target.partition("?")
    yield method, f"{path}x?{query}", headers, body
    if "X-Amz-Signature=" in query:
        yield method, f"{path}?{query.replace('X-Amz-Expires=', 'X-Amz-Expires=1')}", headers, body
        yield method, f"{path}?added=1&{query}", headers, body
    else:
        yield method, f"{path}?{query}&added=1", headers, body
        yield header("X-Amz-Date")
    yield header("Host")
    for name in {name for name, _ in headers if name.startswith(("X-Amz-Meta", "My-", "X-Other"))}:
        yield header(name)
    yield method, target, headers + [["x-amz-acl", "public-read"]], body


def check(oracle, chance, request, token):
    method, target, headers, body = on_the_wire(request)
    answer = verify(oracle, method, target, headers, body)
    assert answer["ok"], (answer, method, target, headers)
    assert answer["payload"] == body
    assert answer["token"] == (TOKEN if token else None)
    for changed in tampered(chance, method, target, headers, body):
        assert not verify(oracle, *changed)["ok"], changed
    assert not verify(oracle, method, target, headers, body, secret=SECRET + "x")["ok"]
    if not answer["presigned"]:
        assert not verify(oracle, method, target, headers, body + b"x")["ok"]
        late = verify(oracle, method, target, headers, body, now="20260304T060607Z")
        assert not late["ok"]


@pytest.mark.parametrize("signer,service", [(S3SigV4Auth, "s3"), (SigV4Auth, "cloudtrail"), (SigV4Auth, "iam")])
def test_signed_headers_verify_and_tampered_ones_do_not(oracle, signer, service):
    chance = ByChance(f"{SEED}-{service}")
    for case in range(CASES):
        token = case % 3 == 0
        request = chance.request()
        signer(credentials(token), service, "eu-central-1").add_auth(request)
        check(oracle, chance, request, token)


@pytest.mark.parametrize("signer,service", [(S3SigV4QueryAuth, "s3"), (SigV4QueryAuth, "sts")])
def test_presigned_urls_verify_and_tampered_ones_do_not(oracle, signer, service):
    chance = ByChance(f"{SEED}-query-{service}")
    for case in range(CASES):
        token = case % 3 == 0
        request = chance.request(scheme="https", body=False)
        request.params = dict(request.params)
        life = chance.random.choice([1, 60, 3600, 604_800])
        signer(credentials(token), service, "us-east-1", expires=life).add_auth(request)
        check(oracle, chance, request, token)
        expired = verify(oracle, *on_the_wire(request), now="20260315T000000Z")
        assert not expired["ok"]
        if service == "s3":
            assert (expired["code"], expired["message"]) == ("AccessDenied", "Request has expired")


def test_the_date_header_stands_in_for_x_amz_date(oracle):
    for service, signer in [("s3", S3SigV4Auth), ("cloudtrail", SigV4Auth)]:
        request = AWSRequest(method="GET", url="http://localhost/b", headers={"Date": "to be replaced"})
        signer(credentials(False), service, "us-east-1").add_auth(request)
        assert "X-Amz-Date" not in request.headers
        assert verify(oracle, *on_the_wire(request))["ok"]


@pytest.mark.parametrize("signer,service", [(S3SigV4Auth, "s3"), (SigV4Auth, "cloudtrail")])
def test_our_signature_is_botocores(oracle, signer, service):
    chance = ByChance(f"{SEED}-sign-{service}")
    for case in range(CASES):
        token = case % 2 == 0
        request = chance.request()
        # Strictly encoded, as every SDK writes its queries.
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in chance.pairs() if name)
        request.url = request.url.partition("?")[0] + (f"?{query}" if query else "")
        request.params = {}
        method, target, headers, body = on_the_wire(request)
        signer(credentials(token), service, "ap-south-1").add_auth(request)
        expected = {name.lower(): value for name, value in request.headers.items()}
        ours = oracle.ask(
            "sign", method, target, headers, body, access_key_id="AKIDEXAMPLE", secret=SECRET,
            token=TOKEN if token else None, region="ap-south-1", service=service, now=NOW_TEXT,
        )
        ours = dict(ours["headers"])
        for name in ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"]:
            assert ours.get(name) == expected.get(name), (name, method, target, headers)


@pytest.mark.parametrize("signer,service", [(S3SigV4QueryAuth, "s3"), (SigV4QueryAuth, "sts")])
def test_our_presigned_url_is_botocores(oracle, signer, service):
    chance = ByChance(f"{SEED}-presign-{service}")
    for case in range(CASES):
        token = case % 2 == 0
        # botocore keeps one value of a repeated name when it presigns.
        pairs = {name: value for name, value in chance.pairs() if name}
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs.items())
        url = f"https://bucket.example.com{chance.path()}" + (f"?{query}" if query else "")
        request = AWSRequest(method="GET", url=url)
        signer(credentials(token), service, "ap-south-1", expires=4000).add_auth(request)
        ours = oracle.ask(
            "presign", "GET", url, [], access_key_id="AKIDEXAMPLE", secret=SECRET, life_seconds=4000,
            token=TOKEN if token else None, region="ap-south-1", service=service, now=NOW_TEXT,
        )
        assert ours["uri"] == request.url
