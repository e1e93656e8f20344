"""A strict reader of digest chains: stricter than `validate-logs`, which stops at the first start it meets."""

import base64
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from datetime import datetime

import rsa

KEY = re.compile(r"/CloudTrail-Digest/(?P<region>[a-z0-9-]+)/.*_(?P<end>\d{8}T\d{6}Z)\.json\.gz$")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def public_keys(account, regions):
    """All public keys of the regions, by fingerprint."""
    found = {}
    for region in regions:
        listed = account.client("cloudtrail", region).list_public_keys(StartTime=0)["PublicKeyList"]
        for key in listed:
            found[region, key["Fingerprint"]] = rsa.PublicKey.load_pkcs1(key["Value"], "DER")
    return found


def check_chains(name, objects, digests, keys, starts_max, interval_s):
    """Everything that is wrong with a trail's digests: `digests` by key (bytes, metadata), `objects` the log files by key.

    A chain may begin `starts_max` times in a region; in the regions that have digests it begins at least once.
    """
    wrong = []
    by_region = defaultdict(list)
    for key, (body, metadata) in digests.items():
        by_region[KEY.search(key)["region"]].append((key, body, metadata))
    listed = Counter()
    for region, chain in by_region.items():
        chain.sort(key=lambda item: KEY.search(item[0])["end"])
        wrong += [f"{name} {region}: {what}" for what in check_chain(region, chain, keys, starts_max, interval_s)]
        for key, body, _ in chain:
            for file in json.loads(gzip.decompress(body))["logFiles"]:
                path = file["s3Object"]
                listed[path] += 1
                if path not in objects:
                    wrong.append(f"{name}: {key} lists {path}, which is not there")
                elif sha256(gzip.decompress(objects[path])) != file["hashValue"]:
                    wrong.append(f"{name}: {key} has another hash for {path}")
    wrong += [f"{name}: {path} is in {times} digests" for path, times in listed.items() if times > 1]
    wrong += [f"{name}: {path} is in no digest" for path in objects if path not in listed]
    return wrong


def instant(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def check_chain(region, chain, keys, starts_max, interval_s):
    previous = None
    starts = 0
    for key, body, metadata in chain:
        text = gzip.decompress(body)
        digest = json.loads(text)
        signature = metadata["signature"]
        if digest["digestS3Object"] != key:
            yield f"{key} calls itself {digest['digestS3Object']}"
        window_s = (instant(digest["digestEndTime"]) - instant(digest["digestStartTime"])).total_seconds()
        if window_s != interval_s:
            yield f"{key} covers {window_s} s"
        if digest["previousDigestS3Object"] is None:
            starts += 1
        elif previous is None:
            yield f"{key} continues a chain that never began"
        else:
            expected = (previous["key"], previous["hash"], previous["signature"], previous["end"])
            found = tuple(digest[f"previousDigest{part}"] for part in ("S3Object", "HashValue", "Signature"))
            if (*found, digest["digestStartTime"]) != expected:
                yield f"{key} does not follow on {previous['key']}"
        to_sign = "\n".join((
            digest["digestEndTime"], f"{digest['digestS3Bucket']}/{key}", sha256(text),
            digest["previousDigestSignature"] or "null",
        ))
        public = keys.get((region, digest["digestPublicKeyFingerprint"]))
        try:
            rsa.verify(to_sign.encode(), bytes.fromhex(signature), public)
        except (rsa.VerificationError, AttributeError):
            yield f"{key} has a wrong signature or an unknown key"
        previous = {"key": key, "hash": sha256(text), "signature": signature, "end": digest["digestEndTime"]}
    if not 1 <= starts <= starts_max:
        yield f"the chain began {starts} times"
