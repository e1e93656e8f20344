//! A secret access key: used to derive signing keys, never shown.

use std::fmt;

/// A secret access key. Its text shows in no `Debug` or `Display` output and is overwritten on drop.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_bytes())
    }

    /// The secret's text, for storing it and for answering the one call that may show it.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a secret is made from a String and never changed")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without this the compiler may remove the write to memory that nobody reads again.
        std::hint::black_box(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere_but_where_it_is_asked_for() {
        let secret = Secret::new("wJalrXUtnFEMI");
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
        assert!(!format!("{secret} {secret:?} {:?}", Some(&secret)).contains("wJal"));
    }
}
