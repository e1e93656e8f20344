//! As much of DER (ITU-T X.690) as one certificate and one private key need.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A value with its tag and length.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut made = vec![tag];
    match (content.len(), u8::try_from(length.len())) {
        (0, _) => made.push(0),
        (short @ 1..0x80, _) => made.extend(u8::try_from(short)),
        (_, Ok(count)) => {
            made.push(0x80 | count);
            made.extend(length);
        }
        (_, Err(_)) => unreachable!("a length has at most eight bytes"),
    }
    made.extend(content);
    made
}

/// A sequence of values.
pub(super) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &values.concat())
}

/// The positive integer of these bytes, the greatest first.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len().saturating_sub(1));
    let bytes = &bytes[zeros..];
    let sign: &[u8] = if bytes.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    value(INTEGER, &[sign, bytes].concat())
}

/// Bits, of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// Reads values one after another.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, which has to have this tag.
    pub(super) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            length = bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        (found == tag).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_written_as_der_wants_them() {
        assert_eq!(value(OCTET_STRING, &[]), [4, 0]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0]), [2, 1, 0]);
        for length in [1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; length];
            let made = value(OCTET_STRING, &content);
            assert_eq!(Reader(&made).read(OCTET_STRING), Some(&content[..]));
            assert_eq!(Reader(&made[..made.len() - 1]).read(OCTET_STRING), None);
            assert_eq!(Reader(&made).read(INTEGER), None);
        }
    }
}
