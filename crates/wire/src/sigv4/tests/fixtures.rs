//! AWS's SigV4 test suite: each request is signed and verified, and its canonical request compared.

use std::path::{Path, PathBuf};

use http::request::Parts;

use super::super::canonical::{Canonical, paths};
use super::super::{Claim, Credentials, Limits, PayloadToSign, Secret, SignedPayload, SigningScope, sign};
use super::time;

fn requests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            requests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "req") {
            found.push(path);
        }
    }
}

/// The request of a `.req` file and its body; `None` where HTTP itself refuses its path.
fn read_request(text: &str) -> (String, Option<Parts>, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let uri = rest.rsplit_once(' ').unwrap().0;
    let mut request = http::Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value);
    }
    (uri.to_owned(), request.body(()).ok().map(|request| request.into_parts().0), body.to_owned())
}

#[test]
fn the_published_suite_is_signed_and_verified_to_the_letter() {
    let Some(suite) = cairn_testkit::fixtures("sigv4") else { return };
    let mut files = Vec::new();
    requests(&suite, &mut files);
    assert!(files.len() >= 20, "only {} requests in the suite", files.len());
    let mut sent = 0;
    for file in files {
        let text = |extension: &str| std::fs::read_to_string(file.with_extension(extension)).unwrap();
        let (uri, parts, body) = read_request(&text("req"));
        let (canonical, authorization) = (text("creq"), text("authz"));
        let path = uri.split('?').next().unwrap();
        assert_eq!(paths(path)[0], canonical.lines().nth(1).unwrap(), "{}", file.display());
        let Some(mut parts) = parts else { continue };
        sent += 1;
        let token = parts.headers.get("x-amz-security-token").map(|token| token.to_str().unwrap().to_owned());
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.clone(),
        };
        let at = time("20150830T123600Z");
        let scope = SigningScope { region: "us-east-1", service: "service", time: at };
        sign(&mut parts, &credentials, &scope, PayloadToSign::Bytes(body.as_bytes())).unwrap();
        assert_eq!(parts.headers["authorization"], authorization.trim(), "{}", file.display());
        let claim = Claim::parse(&parts).unwrap().unwrap();
        assert_eq!(claim.security_token, token);
        let hash = canonical.lines().last().unwrap();
        assert_eq!(
            String::from_utf8(Canonical::of(&parts, &claim.signed_headers, false).standard(hash)).unwrap(),
            canonical
        );
        let verified = claim.verify(
            &parts,
            &credentials.secret,
            SignedPayload::Whole(body.as_bytes()),
            at,
            &Limits::default(),
        );
        assert!(verified.is_ok(), "{}: {:?}", file.display(), verified.err());
        let tampered = claim.verify(
            &parts,
            &credentials.secret,
            SignedPayload::Whole(b"another"),
            at,
            &Limits::default(),
        );
        assert!(tampered.is_err(), "{}", file.display());
    }
    assert!(sent >= 19, "only {sent} requests of the suite could be sent");
}
