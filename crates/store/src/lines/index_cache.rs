//! The indexes of the files that were read last, held to a number of bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::cipher::Salt;
use super::index::Index;

/// How many bytes the indexes may have on disk before compression; in memory they take some four times as much.
const CACHE_SIZE_BYTES_MAX: usize = 4 << 20;

struct Cached {
    id: u64,
    salt: Salt,
    index: Arc<Index>,
    size_bytes: usize,
}

/// Indexes of files, the last used at the end.
#[derive(Default)]
pub(super) struct IndexCache(Mutex<VecDeque<Cached>>);

impl IndexCache {
    /// The index of a file.
    pub(super) fn get(&self, id: u64) -> Option<(Salt, Arc<Index>)> {
        let mut cached = self.0.lock().expect("no panic while the indexes are held");
        let at = cached.iter().rposition(|cached| cached.id == id)?;
        let found = cached.remove(at)?;
        let answer = (found.salt, Arc::clone(&found.index));
        cached.push_back(found);
        Some(answer)
    }

    /// Remembers the index of a file.
    pub(super) fn put(&self, id: u64, salt: Salt, index: &Arc<Index>, size_bytes: usize) {
        let mut cached = self.0.lock().expect("no panic while the indexes are held");
        cached.push_back(Cached { id, salt, index: Arc::clone(index), size_bytes });
        let mut total: usize = cached.iter().map(|cached| cached.size_bytes).sum();
        while total > CACHE_SIZE_BYTES_MAX {
            let Some(oldest) = cached.pop_front() else { break };
            total -= oldest.size_bytes;
        }
    }
}
