//! The upkeep of the store of log lines: files, merges, and a journal that holds what is still to be read of it.

use std::sync::Arc;
use std::time::Duration;

use cairn_store::LogPosition;
use cairn_store::lines::Lines;

use crate::serve::Ground;
use crate::stages::Stages;

/// How often files are written, merged and removed that are due.
const LINES_INTERVAL: Duration = Duration::from_secs(1);

/// Says from where on a stage still reads the journal of lines.
pub(crate) type LineReader = Arc<dyn Fn() -> LogPosition + Send + Sync>;

/// Starts the upkeep. The journal keeps what any of `readers` is still to read.
pub(super) fn start_stage(running: &mut Stages, ground: &Ground, readers: &[LineReader]) {
    let (lines, clock, readers) = (Arc::clone(&ground.lines), Arc::clone(&ground.clock), readers.to_vec());
    running.start_timed("log lines", move || {
        let (lines, clock) = (Arc::clone(&lines), Arc::clone(&clock));
        let needed_from = readers.iter().map(|reader| reader()).min();
        async move {
            let needed_from = needed_from.unwrap_or_else(|| lines.end());
            lines.maintain(clock.now(), needed_from).await?;
            Ok(clock.now().plus(LINES_INTERVAL))
        }
    });
}
