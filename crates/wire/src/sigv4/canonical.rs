//! The canonical request: the one text of a request that both sides sign.
//!
//! Clients differ in corners: botocore signs a query as it is written, AWS decodes and encodes it again; Go does not
//! normalise paths. So there are several spellings of the path, the query and the headers, the standard one first,
//! and a request is genuine where any of them bears its signature. No spelling may let two requests of different
//! meaning share a text: each is either the request's own bytes, or a re-encoding of what the server reads from
//! them (a `+` in a query is a space, an encoded slash is not a slash).

use http::header::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;

/// Headers that botocore never signs, because proxies change them.
const UNSIGNED_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// The spellings of a request's canonical parts.
#[derive(Debug)]
pub(super) struct Canonical {
    method: String,
    paths: Vec<String>,
    queries: Vec<String>,
    header_blocks: Vec<Vec<u8>>,
    signed_headers: String,
}

impl Canonical {
    /// The canonical parts of a request whose signature covers `signed_headers`.
    pub(super) fn of(parts: &Parts, signed_headers: &[String], s3: bool) -> Self {
        Self {
            method: parts.method.as_str().to_owned(),
            paths: if s3 { s3_paths(parts.uri.path()) } else { paths(parts.uri.path()) },
            queries: queries(parts.uri.query().unwrap_or("")),
            header_blocks: header_blocks(parts, signed_headers),
            signed_headers: signed_headers.join(";"),
        }
    }

    /// Every spelling of the canonical request, the standard one first.
    pub(super) fn requests(&self, payload_hash: &str) -> impl Iterator<Item = Vec<u8>> {
        self.header_blocks.iter().flat_map(move |headers| {
            self.queries.iter().flat_map(move |query| {
                self.paths.iter().map(move |path| self.request(path, query, headers, payload_hash))
            })
        })
    }

    /// The standard spelling of the canonical request: the one that we sign ourselves.
    pub(super) fn standard(&self, payload_hash: &str) -> Vec<u8> {
        self.request(&self.paths[0], &self.queries[0], &self.header_blocks[0], payload_hash)
    }

    fn request(&self, path: &str, query: &str, headers: &[u8], payload_hash: &str) -> Vec<u8> {
        let mut text = format!("{}\n{path}\n{query}\n", self.method).into_bytes();
        text.extend_from_slice(headers);
        text.extend_from_slice(format!("\n{}\n{payload_hash}", self.signed_headers).as_bytes());
        text
    }
}

/// The names of the headers that a signature of ours covers, sorted: all but those that proxies change.
pub(super) fn headers_to_sign(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .filter(|name| !UNSIGNED_HEADERS.contains(&name.as_str()))
        .collect();
    if !headers.contains_key("host") {
        names.push("host".into());
    }
    names.sort_unstable();
    names
}

/// The host that a request names: its `Host` header, or the authority of an HTTP/2 request.
pub(super) fn host(parts: &Parts) -> &[u8] {
    match parts.headers.get("host") {
        Some(value) => value.as_bytes(),
        None => parts.uri.authority().map_or(b"", |authority| authority.as_str().as_bytes()),
    }
}

/// `bytes` with all but the unreserved characters percent-encoded, in upper case.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            text.extend(['%', HEX[usize::from(byte >> 4)].into(), HEX[usize::from(byte & 15)].into()]);
        }
    }
    text
}

/// A query's name or value as the server reads it.
pub(super) fn decode_query(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// S3's path: neither normalised nor encoded twice. Each part is encoded in the standard way; or as it stands.
fn s3_paths(raw: &str) -> Vec<String> {
    let standard: Vec<String> =
        raw.split('/').map(|part| encode(&percent_decode_str(part).collect::<Vec<u8>>())).collect();
    let standard = standard.join("/");
    spellings([if standard.is_empty() { "/".into() } else { standard }, raw.to_owned()])
}

/// Another service's path: dot segments and doubled slashes removed, and what was encoded on the wire encoded once
/// more; or only the latter, as Go's SDK has it.
pub(super) fn paths(raw: &str) -> Vec<String> {
    let encode_parts = |path: &str| -> String {
        let parts: Vec<String> = path.split('/').map(|part| encode(part.as_bytes())).collect();
        parts.join("/")
    };
    spellings([encode_parts(&normalised(raw)), encode_parts(raw)])
}

/// botocore's `normalize_url_path`, which AWS's services agree with: RFC 3986's dot segments, and empty segments too.
fn normalised(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let last = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{last}", segments.join("/"))
}

/// The query sorted by name, then value: decoded and encoded again, as AWS does; or as it stands, as botocore does.
fn queries(raw: &str) -> Vec<String> {
    let pairs = |raw: &str, keep_empty: bool| -> Vec<(String, String)> {
        raw.split('&')
            .filter(|pair| keep_empty || !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(name, _)| *name != "X-Amz-Signature")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let standard = pairs(raw, false)
        .iter()
        .map(|(name, value)| (encode(&decode_query(name)), encode(&decode_query(value))))
        .collect();
    let verbatim = pairs(raw, !raw.is_empty());
    spellings([joined(standard), joined(verbatim)])
}

fn joined(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// `name:value` lines of the signed headers: with every run of white space folded to one space; or with spaces
/// folded only, as Go and Rust do, which keep a tab. And a scheme's own port may be missing from the host that was
/// signed: SDKs leave it out, while some HTTP clients then send it.
fn header_blocks(parts: &Parts, names: &[String]) -> Vec<Vec<u8>> {
    let host = host(parts);
    let bare_host = host.strip_suffix(b":80").or(host.strip_suffix(b":443")).unwrap_or(host);
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for host in [host, bare_host] {
        for is_space in [|byte| byte == b' ' || byte == b'\t', |byte| byte == b' '] {
            let block = header_block(parts, host, names, is_space);
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
    }
    blocks
}

fn header_block(parts: &Parts, host: &[u8], names: &[String], is_space: fn(u8) -> bool) -> Vec<u8> {
    let mut block = Vec::new();
    for name in names {
        block.extend_from_slice(name.as_bytes());
        block.push(b':');
        if name == "host" {
            fold(host, is_space, &mut block);
        } else {
            for (at, value) in parts.headers.get_all(name).iter().enumerate() {
                if at > 0 {
                    block.push(b',');
                }
                fold(value.as_bytes(), is_space, &mut block);
            }
        }
        block.push(b'\n');
    }
    block
}

fn fold(value: &[u8], is_space: fn(u8) -> bool, into: &mut Vec<u8>) {
    let words = value.trim_ascii().split(|&byte| is_space(byte)).filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            into.push(b' ');
        }
        into.extend_from_slice(word);
    }
}

fn spellings([standard, other]: [String; 2]) -> Vec<String> {
    if standard == other { vec![standard] } else { vec![standard, other] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_paths_are_neither_normalised_nor_encoded_twice() {
        for (raw, expected) in [
            ("/", vec!["/"]),
            ("/bucket/a//b/../c/./d", vec!["/bucket/a//b/../c/./d"]),
            ("/bucket/a%20b", vec!["/bucket/a%20b"]),
            ("/bucket/a+b", vec!["/bucket/a%2Bb", "/bucket/a+b"]),
            ("/bucket/a%2fb", vec!["/bucket/a%2Fb", "/bucket/a%2fb"]),
            ("/bucket/%7e(1)", vec!["/bucket/~%281%29", "/bucket/%7e(1)"]),
            ("/bucket/ü", vec!["/bucket/%C3%BC", "/bucket/ü"]),
        ] {
            assert_eq!(s3_paths(raw), expected, "{raw}");
        }
    }

    #[test]
    fn other_paths_are_normalised_and_encoded_twice() {
        for (raw, expected) in [
            ("/", vec!["/"]),
            ("//", vec!["/", "//"]),
            ("/a/../..", vec!["/", "/a/../.."]),
            ("/./example", vec!["/example", "/./example"]),
            ("/a//b/", vec!["/a/b/", "/a//b/"]),
            ("/a%20b", vec!["/a%2520b"]),
            ("/example space/", vec!["/example%20space/"]),
            ("/ሴ", vec!["/%E1%88%B4"]),
        ] {
            assert_eq!(paths(raw), expected, "{raw}");
        }
    }

    #[test]
    fn queries_are_sorted_by_encoded_name_and_then_value() {
        for (raw, expected) in [
            ("", vec![""]),
            ("b=2&a=1&a=0", vec!["a=0&a=1&b=2"]),
            ("Param-3=Value3&Param=Value2&%E1%88%B4=V", vec!["%E1%88%B4=V&Param=Value2&Param-3=Value3"]),
            ("acl", vec!["acl="]),
            ("acl=&b", vec!["acl=&b="]),
            ("a=b=c", vec!["a=b%3Dc", "a=b=c"]),
            ("a=x+y", vec!["a=x%20y", "a=x+y"]),
            ("a=%2f", vec!["a=%2F", "a=%2f"]),
            ("a=1&&b=2", vec!["a=1&b=2", "=&a=1&b=2"]),
            ("b=+&=", vec!["=&b=%20", "=&b=+"]),
            ("ሴ=bar", vec!["%E1%88%B4=bar", "ሴ=bar"]),
            ("X-Amz-Signature=00&z=1", vec!["z=1"]),
        ] {
            assert_eq!(queries(raw), expected, "{raw}");
        }
    }

    #[test]
    fn header_values_are_trimmed_folded_and_joined() {
        let (parts, ()) = http::Request::get("http://example.com:8080/")
            .header("my-header", "  a   b\t c ")
            .header("my-header", "d")
            .body(())
            .unwrap()
            .into_parts();
        let names = ["host".to_owned(), "missing".into(), "my-header".into()];
        let blocks = header_blocks(&parts, &names);
        assert_eq!(blocks[0], b"host:example.com:8080\nmissing:\nmy-header:a b c,d\n");
        assert_eq!(blocks[1], b"host:example.com:8080\nmissing:\nmy-header:a b\t c,d\n");
        let (parts, ()) = http::Request::get("https://example.com:443/").body(()).unwrap().into_parts();
        let expected = [b"host:example.com:443\n".to_vec(), b"host:example.com\n".to_vec()];
        assert_eq!(header_blocks(&parts, &names[..1]), expected);
    }
}
