//! Receipt handles: which receipt of which message of which queue, in a form that nobody can make up.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_store::queues::{QueueKey, Receipt, Sequence};

use super::error::{Failure, invalid_receipt_handle};

/// What every handle begins with: AWS's begin with `AQEB`.
const MARK: [u8; 3] = [1, 1, 1];
const RECEIPT_BYTES: usize = 12;
const TAG_BYTES: usize = 32;

/// Makes and reads receipt handles.
pub(super) struct Handles(hmac::Key);

impl Handles {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The handle of a receipt.
    pub(super) fn make(&self, queue: &QueueKey, receipt: Receipt) -> String {
        let mut bytes = Vec::with_capacity(MARK.len() + RECEIPT_BYTES + TAG_BYTES);
        bytes.extend(MARK);
        bytes.extend(receipt.sequence.0.to_be_bytes());
        bytes.extend(receipt.receives.to_be_bytes());
        let tag = self.tag(queue, &bytes[MARK.len()..]);
        bytes.extend(tag.as_ref());
        STANDARD.encode(bytes)
    }

    /// The receipt that a handle is of, where it is one of the queue.
    pub(super) fn read(&self, queue: &QueueKey, handle: &str) -> Result<Receipt, Failure> {
        self.parse(queue, handle).ok_or_else(invalid_receipt_handle)
    }

    fn parse(&self, queue: &QueueKey, handle: &str) -> Option<Receipt> {
        let bytes = STANDARD.decode(handle).ok()?;
        let (receipt, tag) = bytes.strip_prefix(&MARK)?.split_at_checked(RECEIPT_BYTES)?;
        constant_time::verify_slices_are_equal(self.tag(queue, receipt).as_ref(), tag).ok()?;
        let (sequence, receives) = receipt.split_at_checked(8)?;
        Some(Receipt {
            sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
            receives: u32::from_be_bytes(receives.try_into().ok()?),
        })
    }

    fn tag(&self, queue: &QueueKey, receipt: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(receipt);
        context.update(queue.0.as_bytes());
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_for_its_queue_alone_and_cannot_be_altered() {
        let handles = Handles::new(&[7; 32]);
        let (queue, other) = (QueueKey("q".into()), QueueKey("r".into()));
        let receipt = Receipt { sequence: Sequence(1 << 40), receives: 3 };
        let handle = handles.make(&queue, receipt);
        assert!(handle.starts_with("AQEB"));
        assert_eq!(handles.parse(&queue, &handle), Some(receipt));
        assert_eq!(handles.parse(&other, &handle), None);
        assert_eq!(Handles::new(&[8; 32]).parse(&queue, &handle), None);
        let bytes = STANDARD.decode(&handle).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert_eq!(handles.parse(&queue, &STANDARD.encode(altered)), None, "byte {at}");
            assert_eq!(handles.parse(&queue, &STANDARD.encode(&bytes[..at])), None, "cut at {at}");
        }
        assert_eq!(handles.parse(&queue, "garbage"), None);
    }
}
