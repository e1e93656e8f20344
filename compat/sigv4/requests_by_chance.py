"""Random requests from a seed, as botocore would come to sign them."""

import datetime
import random
from urllib.parse import quote, urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7)
NOW_TEXT = NOW.strftime("%Y%m%dT%H%M%SZ")
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEPT//////////wEXAMPLE/token+with=odd&characters=="
TEXTS = [
    "", "a", "b", "key", "A", "~", "-", "_", ".", "..", "a b", "a  b", "a+b", "a/b", "a%b", "%41", "100%", "ü",
    "日本語", "ሴ", "🦀", "e\u0301", "a&b", "a=b", "a;b", "a:b", "a,b", "a@b", "a$b", "a!b'(c)*d", "[x]", "{y}", "\"q\"",
    "<t>", "#h", "?q", "\\", "^`|", "2026-03-04T05:06:07Z", "arn:aws:iam::111122223333:role/x",
]
HEADER_VALUES = [
    "", "x", "two words", "  padded  ", "many    spaces   inside", "tab\tinside", "a, b,c", '"quoted  text"', "ü ü",
    "日本語", "k=v; q=0.5", "Mixed CASE",
]

botocore.auth.get_current_datetime = lambda: NOW


def credentials(token):
    return Credentials("AKIDEXAMPLE", SECRET, TOKEN if token else None)


class ByChance:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        return "".join(self.random.choice(TEXTS) for _ in range(self.random.choice([1, 1, 1, 2, 3])))

    def path(self):
        """A percent-encoded path with empty and dot segments."""
        segments = [self.random.choice([self.text(), "", ".", "..", "plain"]) for _ in range(self.random.randint(0, 5))]
        return "/" + "/".join(quote(segment, safe="/~") for segment in segments)

    def pairs(self):
        names = [self.text() for _ in range(self.random.randint(0, 5))]
        # Repeated names, with values in any order.
        names += [self.random.choice(names) for _ in range(self.random.randint(0, 2)) if names]
        return [(name, self.text()) for name in names]

    def raw_query(self):
        """A query as somebody writes it by hand: bare names, lower-case hex, characters that need no encoding."""
        def loosely(text):
            safe = self.random.choice(["", "/:,@!$'()*;?", "~"])
            quoted = quote(text, safe=safe)
            return quoted.lower() if self.random.random() < 0.3 else quoted
        pairs = [(loosely(name), loosely(value)) for name, value in self.pairs()]
        return "&".join(name if value == "" and self.random.random() < 0.5 else f"{name}={value}" for name, value in pairs)

    def headers(self, request):
        for at in range(self.random.randint(0, 4)):
            name = self.random.choice(["X-Amz-Meta-A", "x-amz-meta-b", "My-Header", "Content-Type", f"X-Other-{at}", "Range"])
            for _ in range(self.random.choice([1, 1, 1, 2])):
                request.headers[name] = self.random.choice(HEADER_VALUES)
        if self.random.random() < 0.3:
            request.headers["User-Agent"] = "a proxy may change this"
        if self.random.random() < 0.2:
            request.headers["X-Amzn-Trace-Id"] = "Root=1-67891233-abcdef012345678912345678"

    def request(self, scheme="http", body=True):
        host = self.random.choice(["localhost:4566", "bucket.s3.us-east-1.amazonaws.com", "example.com", "127.0.0.1:80"])
        url = f"{scheme}://{host}{self.path()}"
        params = {}
        style = self.random.random()
        if style < 0.4:
            params = self.pairs()
        elif style < 0.8:
            query = self.raw_query()
            url += f"?{query}" if query else ""
        data = self.random.choice([b"", b"{}", b"body \xff\x00", b"x" * 5000]) if body else b""
        method = self.random.choice(["POST", "PUT"] if data else ["GET", "HEAD", "DELETE", "POST", "PUT"])
        request = AWSRequest(method=method, url=url, params=params, data=data)
        self.headers(request)
        return request


def on_the_wire(request):
    """The method, the target, the headers and the body that botocore would send."""
    url = urlsplit(request.prepare().url)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = [[name, value] for name, value in request.headers.items()]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.append(["Host", botocore.auth._host_from_url(request.url)])
    return request.method, target, headers, request.data or b""
