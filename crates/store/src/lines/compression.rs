//! zstd, with contexts that each thread keeps: making one costs more than to compress a small batch.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::varint::Damaged;

/// For what is written once and read soon or never.
pub(super) const LEVEL_FAST: i32 = 1;
/// For what stays.
pub(super) const LEVEL_LASTING: i32 = 3;

thread_local! {
    static FAST: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static LASTING: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses `bytes` to the end of `out`.
pub(super) fn compress(bytes: &[u8], level: i32, out: &mut Vec<u8>) {
    let context = if level == LEVEL_FAST { &FAST } else { &LASTING };
    context.with_borrow_mut(|context| {
        let context =
            context.get_or_insert_with(|| Compressor::new(level).expect("the level is one of zstd's"));
        let start = out.len();
        let bound = zstd::zstd_safe::compress_bound(bytes.len());
        out.resize(start + bound, 0);
        let written = context.compress_to_buffer(bytes, &mut out[start..]);
        out.truncate(start + written.expect("there is room for what does not compress"));
    });
}

/// What was compressed, which had exactly so many bytes.
pub(super) fn decompress(bytes: &[u8], size_bytes: usize) -> Result<Vec<u8>, Damaged> {
    DECOMPRESSOR.with_borrow_mut(|context| {
        let context =
            context.get_or_insert_with(|| Decompressor::new().expect("there is memory for a context"));
        let plain = context.decompress(bytes, size_bytes).map_err(|_| Damaged)?;
        if plain.len() == size_bytes { Ok(plain) } else { Err(Damaged) }
    })
}
