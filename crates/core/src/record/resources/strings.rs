//! The strings in a JSON text, each with the names of the members that it is in.

use std::borrow::Cow;

use super::super::scan::{ScanError, Scanner, Text};

/// How deep members are looked for: what is nested deeper is content, such as a policy.
const MEMBER_DEPTH_MAX: usize = 8;
/// How deep objects and arrays are looked into.
const NESTING_MAX: usize = 127;

/// Shows each string of `json` with the names of the members around it, the outermost first. A text that is not JSON
/// shows those before its fault.
pub(super) fn each_string(json: &str, show: &mut dyn FnMut(&[Cow<'_, str>], &str)) {
    let mut walk = Walk { json, scanner: Scanner::new(json.as_bytes()), path: Vec::new(), nesting: 0 };
    // What was found stays; a record's JSON is sound, so that there is nobody to tell.
    let _ended: Result<(), ScanError> = walk.value(show);
}

struct Walk<'a> {
    json: &'a str,
    scanner: Scanner<'a>,
    path: Vec<Cow<'a, str>>,
    nesting: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self, show: &mut dyn FnMut(&[Cow<'_, str>], &str)) -> Result<(), ScanError> {
        let is_deep = self.nesting == NESTING_MAX;
        match self.scanner.peek() {
            Some(b'{') if !is_deep && self.path.len() < MEMBER_DEPTH_MAX => {
                self.scanner.enter(true);
                self.nesting += 1;
                let mut is_first = true;
                while let Some(name) = self.scanner.next_member(is_first)? {
                    is_first = false;
                    self.path.push(self.text(name).unwrap_or_default());
                    self.value(show)?;
                    self.path.pop();
                }
                self.nesting -= 1;
            }
            Some(b'[') if !is_deep => {
                self.scanner.enter(false);
                self.nesting += 1;
                let mut is_first = true;
                while self.scanner.next_element(is_first)? {
                    is_first = false;
                    self.value(show)?;
                }
                self.nesting -= 1;
            }
            Some(b'"') => {
                let found = self.scanner.string()?;
                if let Some(text) = self.text(found) {
                    show(&self.path, &text);
                }
            }
            _ => self.scanner.skip()?,
        }
        Ok(())
    }

    /// The text of a string; none where its escapes are no Unicode.
    fn text(&self, Text { start, end, escaped }: Text) -> Option<Cow<'a, str>> {
        let raw = &self.json[start..end];
        if escaped { super::super::members::unescaped(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The strings of a text, one in a line.
    fn check(json: &str, expected: &[&str]) {
        let mut found = Vec::new();
        each_string(json, &mut |path, text| found.push(format!("{}={text}", path.join("."))));
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn strings_are_shown_with_the_members_around_them() {
        check(r#"{"a":"1","b":{"c":["2",{"d":"3"},4]},"e":null}"#, &["a=1", "b.c=2", "b.c.d=3"]);
        check(r#"{"a\u0062":"\n\"","x":"\ud800","y":"z"}"#, &["ab=\n\"", "y=z"]);
        check(r#""alone""#, &["=alone"]);
        check(r#"{"a":"1","b":}"#, &["a=1"]);
    }

    #[test]
    fn what_is_too_deep_is_passed_over() {
        let members = |depth: usize| format!("{}\"x\"{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        check(&format!("[{},\"y\"]", members(8)), &["a.a.a.a.a.a.a.a=x", "=y"]);
        check(&format!("[{},\"y\"]", members(9)), &["=y"]);
        let arrays = |depth: usize| format!("{}\"x\"{}", "[".repeat(depth), "]".repeat(depth));
        check(&arrays(127), &["=x"]);
        check(&arrays(100_000), &[]);
    }
}
