//! Paths and queries: percent decoding and the parts of a request target.

use percent_encoding::percent_decode_str;

/// The text of a percent-encoded path segment; `None` where it is not UTF-8.
pub(crate) fn decode_path(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// The text of a name or value in a query or form, where `+` is a space; `None` where it is not UTF-8.
pub(crate) fn decode_query(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

/// The names and values of a query or form, in order; `None` where one is not UTF-8.
pub(crate) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode_query(name)?, decode_query(value)?))
        })
        .collect()
}

/// The undecoded segments of a path, without the empty one before its first slash.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_split_and_decoded() {
        let pairs = pairs("a=1&b=x+y%2Bz&c&=&d=%C3%A9").unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x y+z"), ("c", ""), ("", ""), ("d", "é")]);
        assert_eq!(super::pairs("a=%ff"), None);
        assert_eq!(segments("/b//k/"), ["b", "", "k", ""]);
        assert_eq!(decode_path("a+b%20c").as_deref(), Some("a+b c"));
    }
}
