"""Those whom topics send to: HTTP endpoints that do as they are told, a relay for e-mail, and the published way to
verify what they get."""

import base64
import email
import email.policy
import http.server
import json
import socketserver
import threading
import urllib.request

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from trails import wait_for


class Endpoint:
    """An HTTP endpoint on the loopback: it answers the next of `statuses`, then 200, and keeps what it gets."""

    def __init__(self, statuses=(), port=0):
        self.statuses, self.got, self.hanging = list(statuses), [], threading.Event()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                endpoint.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                if endpoint.hanging.is_set():
                    threading.Event().wait(60)
                self.send_response(endpoint.statuses.pop(0) if endpoint.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook?a=b"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def of_kind(self, kind):
        return [got for got in self.got if got[0]["x-amz-sns-message-type"] == kind]

    def first(self, kind):
        """The first message of a kind: (headers, body)."""
        wait_for(f"a {kind}", lambda: self.of_kind(kind))
        return self.of_kind(kind)[0]

    def confirm(self):
        """Does what the confirmation asks for, without credentials; gives the subscription's ARN."""
        message = json.loads(self.first("SubscriptionConfirmation")[1])
        reply = urllib.request.urlopen(message["SubscribeURL"]).read().decode()
        return reply.split("<SubscriptionArn>")[1].split("</SubscriptionArn>")[0]


def verify(message):
    """Verifies a message by the rules that AWS publishes; raises where its signature is none."""
    if message["Type"] == "Notification":
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    pem = urllib.request.urlopen(message["SigningCertURL"]).read()
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(certificate)
    algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}[message["SignatureVersion"]]
    signature = base64.b64decode(message["Signature"])
    certificate.public_key().verify(signature, text.encode(), padding.PKCS1v15(), algorithm)


def is_signed(message):
    try:
        verify(message)
    except InvalidSignature:
        return False
    return True


class Relay:
    """An SMTP relay that keeps what it gets. It refuses recipients named `nobody`."""

    def __init__(self):
        self.mails = mails = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.say("220 relay ready")
                while line := self.rfile.readline().decode().strip():
                    command = line.upper()
                    if command.startswith("EHLO"):
                        self.say("250-relay\r\n250 8BITMIME")
                    elif command.startswith("RCPT TO:<NOBODY"):
                        self.say("550 no such user")
                    elif command == "DATA":
                        self.say("354 go on")
                        lines = []
                        while (line := self.rfile.readline()) != b".\r\n":
                            lines.append(line)
                        mails.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
                        self.say("250 taken")
                    elif command == "QUIT":
                        return self.say("221 bye")
                    else:
                        self.say("250 ok")

            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def next(self):
        """The next e-mail."""
        wait_for("an e-mail", lambda: self.mails)
        return self.mails.pop(0)
