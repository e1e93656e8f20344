"""Makes session tokens as a server does, from the keys in its data folder: for what no client can be given, such as a
token that has expired. A second implementation of the sealed form, so it also holds the form."""

import base64
import hashlib
import hmac
import json
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN_CONTEXT = "sts.session_token"


def value_key(key, salt):
    return hmac.new(key, b"value\0" + salt, hashlib.sha256).digest()


def open_sealed(key, context, sealed):
    assert sealed[0] == 1
    salt, ciphertext = sealed[1:17], sealed[17:]
    return AESGCM(value_key(key, salt)).decrypt(bytes(12), ciphertext, context.encode())


def seal(key, context, plaintext):
    salt = os.urandom(16)
    return b"\x01" + salt + AESGCM(value_key(key, salt)).encrypt(bytes(12), plaintext, context.encode())


class Keys:
    """The sealing key of a data folder."""

    def __init__(self, data):
        root = bytes.fromhex((data / "root.key").read_text().strip())
        file = json.loads((data / "seal.json").read_text())
        self.key = open_sealed(root, "sealing key", base64.b64decode(file["sealing_key_base64"]))

    def read(self, token):
        return json.loads(open_sealed(self.key, TOKEN_CONTEXT, base64.b64decode(token)))

    def token(self, content):
        return base64.b64encode(seal(self.key, TOKEN_CONTEXT, json.dumps(content).encode())).decode()
