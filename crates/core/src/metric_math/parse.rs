//! Expressions read from their text.

use super::{Expression, Function, MathError, Node, Operator};

/// How deep expressions may be nested.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Word(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 20] = [
    "<=", ">=", "==", "!=", "&&", "||", "<>", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", "=",
];

/// Operators by how little they bind.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("OR", Operator::Or)],
    &[("&&", Operator::And), ("AND", Operator::And)],
    &[
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide)],
    &[("^", Operator::Power)],
];

/// Reads an expression.
///
/// # Errors
/// Where the text is none, or asks for what is not built.
pub fn parse(text: &str) -> Result<Expression, MathError> {
    if text.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("SELECT ")) {
        return Err(error("Metrics Insights queries are not supported"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let node = parser.level(0, 0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(Expression(node)),
        Some((place, token)) => Err(unexpected(*place, token)),
    }
}

fn error(text: impl Into<String>) -> MathError {
    MathError(text.into())
}

fn unexpected(place: usize, token: &Token) -> MathError {
    let shown = match token {
        Token::Number(number) => number.to_string(),
        Token::Text(text) | Token::Word(text) => text.clone(),
        Token::Sign(sign) => (*sign).to_owned(),
    };
    error(format!("unexpected '{shown}' at character {place}"))
}

/// The tokens with the places that they begin at, from 1.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, MathError> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        let place = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let (token, length) = if first == '"' || first == '\'' {
            let inner = &rest[1..];
            let end = inner
                .find(first)
                .ok_or_else(|| error(format!("the text that begins at character {place} does not end")))?;
            (Token::Text(inner[..end].to_owned()), end + 2)
        } else if first.is_ascii_digit() || first == '.' {
            let end = number_end(rest);
            let number = rest[..end]
                .parse()
                .map_err(|_| error(format!("unexpected '{}' at character {place}", &rest[..end])))?;
            (Token::Number(number), end)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| error(format!("unexpected '{first}' at character {place}")))?;
            (Token::Sign(sign), sign.len())
        };
        found.push((place, token));
        rest = &rest[length..];
    }
}

fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = bytes.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(bytes.len());
    if bytes.get(end).is_some_and(|b| matches!(b, b'e' | b'E')) {
        let sign = usize::from(bytes.get(end + 1).is_some_and(|b| matches!(b, b'+' | b'-')));
        let digits = bytes.iter().skip(end + 1 + sign).take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    end
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Parser {
    fn operator(&self, level: usize) -> Option<Operator> {
        let (_, token) = self.tokens.get(self.at)?;
        let text = match token {
            Token::Sign(sign) => sign,
            Token::Word(word) => word.as_str(),
            _ => return None,
        };
        LEVELS[level].iter().find(|(own, _)| *own == text).map(|(_, operator)| *operator)
    }

    fn level(&mut self, level: usize, depth: usize) -> Result<Node, MathError> {
        if level == LEVELS.len() {
            return self.value(depth);
        }
        let mut node = self.level(level + 1, depth)?;
        while let Some(operator) = self.operator(level) {
            self.at += 1;
            let right = self.level(level + 1, depth)?;
            node = Node::Binary(operator, Box::new(node), Box::new(right));
        }
        Ok(node)
    }

    fn value(&mut self, depth: usize) -> Result<Node, MathError> {
        if depth > DEPTH_MAX {
            return Err(error("the expression is nested too deeply"));
        }
        let Some((place, token)) = self.tokens.get(self.at).cloned() else {
            return Err(error("the expression ends where a value is expected"));
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Node::Number(number)),
            Token::Text(text) => Ok(Node::Text(text)),
            Token::Sign("-") => Ok(Node::Negated(Box::new(self.value(depth + 1)?))),
            Token::Sign("(") => {
                let inner = self.level(0, depth + 1)?;
                self.close(")")?;
                Ok(inner)
            }
            Token::Sign("[") => Ok(Node::List(self.items("]", depth)?)),
            Token::Word(name) if self.is_next("(") => {
                self.at += 1;
                self.call(&name, depth)
            }
            Token::Word(name) if matches!(name.as_str(), "REPEAT" | "LINEAR") => Ok(Node::Text(name)),
            Token::Word(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => Ok(Node::Id(name)),
            other => Err(unexpected(place, &other)),
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Node, MathError> {
        let upper = name.to_ascii_uppercase();
        let known = Function::ALL.iter().find(|(own, _)| *own == upper);
        let Some((_, function)) = known else {
            return Err(error(format!("the function {upper} is not supported")));
        };
        let items = self.items(")", depth)?;
        let (fewest, most) = match function {
            Function::Metrics => (0, 1),
            Function::If => (2, 3),
            Function::Fill => (2, 2),
            _ => (1, 1),
        };
        if (fewest..=most).contains(&items.len()) {
            return Ok(Node::Call(*function, items));
        }
        let counts = if fewest == most { fewest.to_string() } else { format!("{fewest} or {most}") };
        let plural = if most == 1 { "" } else { "s" };
        Err(error(format!("{upper} takes {counts} argument{plural}")))
    }

    /// What is between commas, up to the closing sign.
    fn items(&mut self, end: &str, depth: usize) -> Result<Vec<Node>, MathError> {
        let mut items = Vec::new();
        if self.is_next(end) {
            self.at += 1;
            return Ok(items);
        }
        loop {
            items.push(self.level(0, depth + 1)?);
            if !self.is_next(",") {
                break;
            }
            self.at += 1;
        }
        self.close(end)?;
        Ok(items)
    }

    fn is_next(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at), Some((_, Token::Sign(own))) if *own == sign)
    }

    fn close(&mut self, sign: &str) -> Result<(), MathError> {
        match self.tokens.get(self.at) {
            Some((_, Token::Sign(own))) if *own == sign => {
                self.at += 1;
                Ok(())
            }
            Some((place, token)) => Err(unexpected(*place, token)),
            None => Err(error(format!("the expression ends where '{sign}' is expected"))),
        }
    }
}
