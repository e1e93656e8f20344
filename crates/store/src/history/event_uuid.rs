//! Event ids are random, so nothing compresses them; a segment keeps each once. One that is a UUID, as AWS's are, is
//! kept as its 16 bytes, and its text is cut out of the event's JSON: what is left is JSON with an empty text there.

/// The length of a UUID's text.
pub(super) const TEXT_BYTES: usize = 36;
/// Where the hyphens are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The UUID that `text` is; none where it is not in the one form that [`text`] gives back.
pub(super) fn parse(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; TEXT_BYTES] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let mut at = 0;
    for byte in &mut bytes {
        if HYPHENS.contains(&at) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = digit(text[at])? << 4 | digit(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

/// The text of a UUID.
pub(super) fn text(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(TEXT_BYTES);
    for byte in bytes {
        if HYPHENS.contains(&text.len()) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// How many bytes of `json` follow on the last place where `id` stands between quotation marks, from the second mark
/// on; none where it does not.
pub(super) fn bytes_after(json: &[u8], id: &str) -> Option<usize> {
    let mut end = json.len();
    while let Some(at) = memchr::memrchr(b'"', &json[..end]) {
        let start = at.checked_sub(id.len() + 1)?;
        if json[start] == b'"' && json[start + 1..at] == *id.as_bytes() {
            return Some(json.len() - at);
        }
        end = at;
    }
    None
}

/// `json` without the `id` that `bytes_after` bytes follow on.
pub(super) fn cut(json: &[u8], bytes_after: usize, to: &mut Vec<u8>) {
    let end = json.len() - bytes_after;
    to.extend_from_slice(&json[..end - TEXT_BYTES]);
    to.extend_from_slice(&json[end..]);
}

/// The JSON that [`cut`] was given; none where there is no such place in `json`.
pub(super) fn joined(json: &[u8], bytes_after: usize, id: &str) -> Option<Vec<u8>> {
    let at = json.len().checked_sub(bytes_after)?;
    Some([&json[..at], id.as_bytes(), &json[at..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "68c99c97-c191-4329-b210-82ca8631066d";

    #[test]
    fn only_the_form_that_is_given_back_is_a_uuid() {
        assert_eq!(parse(ID).map(text).as_deref(), Some(ID));
        for other in
            ["", "event-1", "68C99C97-c191-4329-b210-82ca8631066d", "68c99c97cc191-4329-b210-82ca8631066d"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse(&ID.replace('-', "0")), None);
    }

    #[test]
    fn what_was_cut_out_is_put_back_where_it_stood() {
        for json in [
            format!(r#"{{"eventID":"{ID}"}}"#),
            format!(r#"{{"shared":"{ID}","eventID" : "{ID}","readOnly":true,"é":"x"}}"#),
        ] {
            let after = bytes_after(json.as_bytes(), ID).unwrap();
            let mut rest = Vec::new();
            cut(json.as_bytes(), after, &mut rest);
            assert_eq!(rest.len() + TEXT_BYTES, json.len());
            assert!(std::str::from_utf8(&rest).unwrap().contains("\"\""));
            assert_eq!(joined(&rest, after, ID).as_deref(), Some(json.as_bytes()));
        }
        assert_eq!(bytes_after(format!("{{\"eventID\":\"x{ID}\"}}").as_bytes(), ID), None);
        assert_eq!(bytes_after(format!("{ID}\"").as_bytes(), ID), None);
        assert_eq!(joined(b"{}", 3, ID), None);
    }
}
