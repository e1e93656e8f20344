//! What a policy's text tells beyond its meaning: the condition keys that it names, and where its statements stand.

use serde_json::Value;

/// A line and a column, counted from 1.
pub(super) type Position = (usize, usize);

/// The condition keys and policy variables of a document that parses.
pub(super) fn keys_in(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        let statements = match &document["Statement"] {
            Value::Array(list) => list.iter().collect(),
            single => vec![single],
        };
        for statement in statements {
            let operators = statement.get("Condition").and_then(Value::as_object);
            for tests in operators.into_iter().flat_map(|operators| operators.values()) {
                keys.extend(tests.as_object().into_iter().flat_map(|tests| tests.keys().cloned()));
            }
        }
    }
    for after in text.split("${").skip(1) {
        let name = after.split(['}', ',']).next().unwrap_or_default().trim();
        if name.contains(':') {
            keys.push(name.to_owned());
        }
    }
    keys
}

/// Where each statement begins and ends.
pub(super) fn spans(text: &str) -> Vec<(Position, Position)> {
    let mut spans = Vec::new();
    let mut start = (0, 0);
    let (mut line, mut column) = (1, 0);
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    // A list of statements lies one deeper than a single one.
    let mut statement_depth = 2;
    for c in text.chars() {
        if c == '\n' {
            (line, column) = (line + 1, 0);
            continue;
        }
        column += 1;
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '{' | '[' => {
                depth += 1;
                if c == '[' && depth == 2 {
                    statement_depth = 3;
                }
                if c == '{' && depth == statement_depth {
                    start = (line, column);
                }
            }
            '}' | ']' => {
                if c == '}' && depth == statement_depth {
                    spans.push((start, (line, column)));
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_conditions_and_variables_are_found() {
        let text = r#"{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":"true"},"StringLike":{"s3:prefix":"${aws:username}/*"}}},{"Resource":"arn:aws:s3:::b/${aws:userid, 'x'}/${*}"}]}"#;
        assert_eq!(keys_in(text), ["aws:SecureTransport", "s3:prefix", "aws:username", "aws:userid"]);
    }

    #[test]
    fn statements_are_found_by_line_and_column() {
        let list = "{\"Version\":\"2012-10-17\",\n \"Statement\": [\n  {\"Sid\":\"a}\",\"Condition\":{}},\n  {\"Sid\":\"b\"}]}";
        assert_eq!(spans(list), [((3, 3), (3, 29)), ((4, 3), (4, 13))]);
        assert_eq!(spans(r#"{"Statement":{"Sid":"a"}}"#), [((1, 14), (1, 24))]);
    }
}
