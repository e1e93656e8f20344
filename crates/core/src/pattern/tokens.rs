//! Reads a pattern's text token by token, and knows how far it has read, as AWS's parser does: behind a member's name it
//! has also read the beginning of its value, and of a string the quote alone until its text is asked for. The columns of
//! AWS's errors tell.

use super::compile::Dialect;
use super::error::PatternError;

/// Of a text that is no JSON.
pub(super) const MALFORMED: &str = "Invalid JSON";

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    Name,
    Text,
    Number,
    True,
    False,
    Null,
}

/// A text being read.
pub(super) struct Tokens<'a> {
    text: &'a str,
    dialect: Dialect,
    /// How many bytes were read.
    read: usize,
    /// Whether each open container is an object.
    open: Vec<bool>,
    /// Where the current token began: for strings and names behind the quote.
    start: usize,
    current: Token,
    /// Whether the current token is a string of which the quote alone was read.
    is_unread: bool,
    /// The value behind a name.
    ahead: Option<Token>,
    name: String,
    /// Whether nothing of the innermost container was read yet.
    is_first: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect) -> Self {
        Self {
            text,
            dialect,
            read: 0,
            open: Vec::new(),
            start: 0,
            current: Token::Null,
            is_unread: false,
            ahead: None,
            name: String::new(),
            is_first: true,
        }
    }

    /// An error at the place that was read to.
    pub(super) fn error(&self, message: impl Into<String>) -> PatternError {
        PatternError::at(message, self.text, self.read)
    }

    /// What the text is read as.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The name that was read last.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the next token.
    pub(super) fn next(&mut self) -> Result<Token, PatternError> {
        if self.is_unread {
            self.finish_string()?;
        }
        let token = match self.ahead.take() {
            Some(token) => token,
            None => self.read_token()?,
        };
        match token {
            Token::StartObject | Token::StartArray => {
                self.open.push(token == Token::StartObject);
                self.is_first = true;
            }
            Token::EndObject | Token::EndArray => {
                self.open.pop();
                self.is_first = false;
            }
            _ => self.is_first = false,
        }
        self.current = token;
        // A string's own quote was read with its name, its text was not.
        self.is_unread = token == Token::Text;
        Ok(token)
    }

    /// The current token's text: of a string what it says, of others what stands there.
    pub(super) fn text(&mut self) -> Result<String, PatternError> {
        if self.current == Token::Text {
            let start = self.start;
            if self.is_unread {
                self.finish_string()?;
            }
            return self.decoded(start, self.read - 1);
        }
        Ok(self.text[self.start..self.read].to_owned())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.read).copied()
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.read += 1;
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), PatternError> {
        self.skip_space();
        if self.byte() != Some(wanted) {
            return Err(self.malformed());
        }
        self.read += 1;
        Ok(())
    }

    fn malformed(&self) -> PatternError {
        self.error(MALFORMED)
    }

    fn read_token(&mut self) -> Result<Token, PatternError> {
        self.skip_space();
        let Some(&is_object) = self.open.last() else {
            return self.read_value();
        };
        let (end, token) = if is_object { (b'}', Token::EndObject) } else { (b']', Token::EndArray) };
        if self.byte() == Some(end) {
            self.start = self.read;
            self.read += 1;
            return Ok(token);
        }
        if !self.is_first {
            self.expect(b',')?;
            self.skip_space();
        }
        if !is_object {
            return self.read_value();
        }
        self.expect(b'"')?;
        let start = self.read;
        self.finish_string()?;
        self.name = self.decoded(start, self.read - 1)?;
        self.expect(b':')?;
        self.skip_space();
        let value = self.read_value()?;
        self.ahead = Some(value);
        Ok(Token::Name)
    }

    fn read_value(&mut self) -> Result<Token, PatternError> {
        self.start = self.read;
        let (token, length) = match self.byte() {
            Some(b'"') => (Token::Text, 1),
            Some(b'{') => (Token::StartObject, 1),
            Some(b'[') => (Token::StartArray, 1),
            Some(b't') => (Token::True, 4),
            Some(b'f') => (Token::False, 5),
            Some(b'n') => (Token::Null, 4),
            Some(b'-' | b'0'..=b'9') => {
                let rest = &self.text.as_bytes()[self.read..];
                let is_number =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                (Token::Number, rest.iter().take_while(|byte| is_number(byte)).count())
            }
            _ => return Err(self.malformed()),
        };
        if self.text.get(self.read..self.read + length).is_none() {
            return Err(self.malformed());
        }
        self.read += length;
        if token == Token::Text {
            self.start = self.read;
        }
        Ok(token)
    }

    /// Reads on behind the string's closing quote.
    fn finish_string(&mut self) -> Result<(), PatternError> {
        self.is_unread = false;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.read += 1;
                    return Ok(());
                }
                Some(b'\\') => self.read += 2,
                Some(_) => self.read += 1,
                None => return Err(self.malformed()),
            }
        }
    }

    fn decoded(&self, start: usize, end: usize) -> Result<String, PatternError> {
        let quoted = self.text.get(start - 1..=end).unwrap_or_default();
        serde_json::from_str(quoted).map_err(|_| self.malformed())
    }
}
