//! HTTP requests out of an input's bytes: what hyper would have made of them, or none.

use http::request::Parts;

/// An input's lines before its first empty one, and what follows; all of it follows where there is no empty line.
#[must_use]
pub fn lines_and_rest(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (&[], data),
    }
}

/// The head with `method`, `uri`, and headers as lines of `name: value`; none where HTTP has no such head.
#[must_use]
pub fn head(method: &[u8], uri: &[u8], headers: &[u8]) -> Option<Parts> {
    let mut request = http::Request::builder().method(method).uri(uri);
    for line in headers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..at], line[at + 1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// The head that begins with a line of `METHOD URI`.
#[must_use]
pub fn head_with_line(lines: &[u8]) -> Option<Parts> {
    let end = lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len());
    let space = lines[..end].iter().position(|byte| *byte == b' ')?;
    head(&lines[..space], &lines[space + 1..end], &lines[end..])
}
