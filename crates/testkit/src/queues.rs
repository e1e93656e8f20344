//! Queues in memory, for tests that need some and do not test them.

use std::sync::Arc;

use cairn_store::Queues;
use cairn_store::queues::MemoryQueues;

/// No queues yet, in memory.
#[must_use]
pub fn memory_queues() -> Arc<dyn Queues> {
    Arc::new(MemoryQueues::default())
}
