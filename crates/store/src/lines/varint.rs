//! Numbers in as many bytes as they need, and byte strings: what records, blocks and indexes are made of. Pure.

/// The bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not what was written")]
pub(super) struct Damaged;

/// The most bytes of a number.
const NUMBER_BYTES_MAX: usize = 10;

/// Adds a number, seven bits to a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a number with a sign, small ones short either way.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Reads from the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    /// The next number.
    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for (at, byte) in self.0.iter().enumerate().take(NUMBER_BYTES_MAX) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// The next number with a sign.
    pub(super) fn signed(&mut self) -> Result<i64, Damaged> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The next number, as a size or count in memory.
    pub(super) fn size(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// The next number, of how many things follow that take a byte each at least.
    pub(super) fn count(&mut self) -> Result<usize, Damaged> {
        let count = self.size()?;
        if count <= self.0.len() { Ok(count) } else { Err(Damaged) }
    }

    /// The next number, below 2^32.
    pub(super) fn short(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_no_part_of_one_is_a_number() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(Reader(&bytes).number(), Ok(value));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).number(), Err(Damaged), "{value}");
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            assert_eq!(Reader(&bytes).signed(), Ok(value));
        }
    }

    #[test]
    fn a_count_of_more_than_there_is_is_damage() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1 << 40);
        assert_eq!(Reader(&bytes).count(), Err(Damaged));
    }
}
