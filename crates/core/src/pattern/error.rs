//! Why a text is no pattern, in the words of AWS's parser: also where, as it counts lines and columns.

use std::fmt;

/// The most of the text that an error quotes, in UTF-16 units, as AWS's parser counts them.
const QUOTED_MAX: usize = 500;

/// Why a text is no pattern. Its display is what AWS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    message: String,
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    quoted: String,
    line: usize,
    column: usize,
}

impl PatternError {
    /// Without a place.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }

    /// What is wrong, without where.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Behind the first `read_bytes` of `text`.
    pub(super) fn at(message: impl Into<String>, text: &str, read_bytes: usize) -> Self {
        let read = text.get(..read_bytes).unwrap_or(text);
        let line_start = read.rfind('\n').map_or(0, |newline| newline + 1);
        let place = Place {
            quoted: quoted(text),
            line: read.matches('\n').count() + 1,
            column: read[line_start..].encode_utf16().count() + 1,
        };
        Self { message: message.into(), place: Some(place) }
    }
}

fn quoted(text: &str) -> String {
    let length = text.encode_utf16().count();
    if length <= QUOTED_MAX {
        return format!("\"{text}\"");
    }
    let units: Vec<u16> = text.encode_utf16().take(QUOTED_MAX).collect();
    format!("\"{}\"[truncated {} chars]", String::from_utf16_lossy(&units), length - QUOTED_MAX)
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.place {
            Some(Place { quoted, line, column }) => {
                write!(f, "\n at [Source: (String){quoted}; line: {line}, column: {column}]")
            }
            None => Ok(()),
        }
    }
}

impl std::error::Error for PatternError {}
