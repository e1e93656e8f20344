//! The rules of composite alarms: `ALARM(a) AND NOT (OK("b c") OR FALSE)`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>

use std::collections::BTreeSet;

use super::State;

/// How deep rules may be nested.
const DEPTH_MAX: usize = 64;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Constant(bool),
    /// An alarm, by name or ARN as it is written, is in a state.
    Is(State, String),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// Why a text is no rule, and at which character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {place}")]
pub struct RuleError {
    what: &'static str,
    place: usize,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut parser = Parser { text, at: 0 };
        let node = parser.any(0)?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.error("AND, OR or the end is expected"));
        }
        Ok(Self(node))
    }

    /// The alarms that it names, as they are written.
    #[must_use]
    pub fn alarms(&self) -> BTreeSet<&str> {
        let (mut found, mut left) = (BTreeSet::new(), vec![&self.0]);
        while let Some(node) = left.pop() {
            match node {
                Node::Constant(_) => {}
                Node::Is(_, name) => drop(found.insert(name.as_str())),
                Node::Not(inner) => left.push(inner),
                Node::And(all) | Node::Or(all) => left.extend(all),
            }
        }
        found
    }

    /// Whether it holds. `state` is asked for the state of each alarm; one that is not there is in none.
    pub fn holds(&self, state: &impl Fn(&str) -> Option<State>) -> bool {
        holds(&self.0, state)
    }
}

fn holds(node: &Node, state: &impl Fn(&str) -> Option<State>) -> bool {
    match node {
        Node::Constant(value) => *value,
        Node::Is(wanted, name) => state(name) == Some(*wanted),
        Node::Not(inner) => !holds(inner, state),
        Node::And(all) => all.iter().all(|node| holds(node, state)),
        Node::Or(all) => all.iter().any(|node| holds(node, state)),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> RuleError {
        RuleError { what, place: self.text[..self.at].chars().count() + 1 }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Goes past `word`, a whole one, if it is next.
    fn takes_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = &self.text.as_bytes()[self.at..];
        let is_next = rest.len() >= word.len()
            && rest[..word.len()].eq_ignore_ascii_case(word.as_bytes())
            && rest.get(word.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn takes(&mut self, sign: char) -> bool {
        self.skip_space();
        let is_next = self.text[self.at..].starts_with(sign);
        if is_next {
            self.at += sign.len_utf8();
        }
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<Node, RuleError> {
        let mut all = vec![self.every(depth)?];
        while self.takes_word("OR") {
            all.push(self.every(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Or(all) })
    }

    fn every(&mut self, depth: usize) -> Result<Node, RuleError> {
        let mut all = vec![self.one(depth)?];
        while self.takes_word("AND") {
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Node::And(all) })
    }

    fn one(&mut self, depth: usize) -> Result<Node, RuleError> {
        if depth > DEPTH_MAX {
            return Err(self.error("the rule is nested too deeply"));
        }
        if self.takes_word("NOT") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        for (word, value) in [("TRUE", true), ("FALSE", false)] {
            if self.takes_word(word) {
                return Ok(Node::Constant(value));
            }
        }
        for state in [State::Alarm, State::Ok, State::InsufficientData] {
            if self.takes_word(state.name()) {
                return Ok(Node::Is(state, self.name()?));
            }
        }
        if self.takes('(') {
            let inner = self.any(depth + 1)?;
            if !self.takes(')') {
                return Err(self.error("')' is expected"));
            }
            return Ok(inner);
        }
        Err(self.error("ALARM, OK, INSUFFICIENT_DATA, NOT, TRUE, FALSE or '(' is expected"))
    }

    /// `(name)`, in quotes where it has spaces or brackets in it.
    fn name(&mut self) -> Result<String, RuleError> {
        if !self.takes('(') {
            return Err(self.error("'(' is expected"));
        }
        self.skip_space();
        let quote = self.text[self.at..].chars().next().filter(|c| matches!(c, '"' | '\''));
        if let Some(quote) = quote {
            self.at += 1;
            let mut name = String::new();
            let mut rest = self.text[self.at..].char_indices();
            while let Some((place, c)) = rest.next() {
                if c == quote {
                    self.at += place + 1;
                    return if self.takes(')') { Ok(name) } else { Err(self.error("')' is expected")) };
                }
                // A quote or a backslash in a name stands behind a backslash.
                name.extend(if c == '\\' { rest.next().map(|(_, c)| c) } else { Some(c) });
            }
            return Err(self.error("the quote does not end"));
        }
        let rest = &self.text[self.at..];
        let end = rest.find(')').ok_or_else(|| self.error("')' is expected"))?;
        let name = rest[..end].trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '(') {
            return Err(self.error("a name is expected, in quotes where it has spaces or brackets"));
        }
        self.at += end + 1;
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> String {
        let state = |name: &str| match name {
            "a" | "arn:aws:cloudwatch:us-east-1:111122223333:alarm:a" => Some(State::Alarm),
            "b c" => Some(State::Ok),
            "d" => Some(State::InsufficientData),
            _ => None,
        };
        Rule::parse(text).map_or_else(|error| error.to_string(), |rule| rule.holds(&state).to_string())
    }

    #[test]
    fn rules_hold_by_the_states_of_alarms() {
        for (text, expected) in [
            ("TRUE", "true"),
            ("false", "false"),
            ("ALARM(a)", "true"),
            ("ALARM(\"a\")", "true"),
            ("OK('b c')", "true"),
            ("INSUFFICIENT_DATA(d)", "true"),
            ("ALARM(arn:aws:cloudwatch:us-east-1:111122223333:alarm:a)", "true"),
            ("ALARM(nobody) OR OK(nobody) OR INSUFFICIENT_DATA(nobody)", "false"),
            ("NOT ALARM(a) OR ALARM(d) AND ALARM(a)", "false"),
            ("(ALARM(a) OR ALARM(d)) AND NOT OK(d)", "true"),
            ("ALARM(a) and\n not (OK(\"b c\") AND FALSE)", "true"),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
        let rule = Rule::parse("ALARM(a) AND (OK(\"b \\\"c\") OR NOT ALARM(a))").unwrap();
        assert_eq!(rule.alarms(), BTreeSet::from(["a", "b \"c"]));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (text, expected) in [
            ("", "ALARM, OK, INSUFFICIENT_DATA, NOT, TRUE, FALSE or '(' is expected at character 1"),
            ("ALARM(a) ALARM(d)", "AND, OR or the end is expected at character 10"),
            ("ALARM a", "'(' is expected at character 7"),
            ("ALARM(b c)", "a name is expected, in quotes where it has spaces or brackets at character 7"),
            ("(ALARM(a)", "')' is expected at character 10"),
            ("ALARM(\"a)", "the quote does not end at character 8"),
            (
                "ALARMING(a)",
                "ALARM, OK, INSUFFICIENT_DATA, NOT, TRUE, FALSE or '(' is expected at character 1",
            ),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
        assert!(check(&format!("{}TRUE{}", "(".repeat(500), ")".repeat(500))).contains("nested too deeply"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[ALRMOKNTD()'\"\\\\ aé]{0,40}") {
            let _ = check(&text);
        }
    }
}
