//! Writes the tail to a file: frozen, written, named in the registry, and only then let go of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cairn_core::Timestamp;

use super::LinesError;
use super::file::FileError;
use super::file_writer::FileWriter;
use super::registry::{Change, FileEntry, KeptOf};
use super::store::{State, Store, failed, failed_file};
use super::tail::Tail;
use crate::log::LogPosition;

/// A tail that is written to a file.
#[derive(Clone)]
pub(super) struct Frozen {
    pub(super) tail: Arc<Tail>,
    /// It has all of the journal up to before here.
    pub(super) until: LogPosition,
    /// The file, once it is whole; none where nothing of the tail is to be kept. It is written once: were the answer of a
    /// commit lost, another file would have the same lines.
    written: Option<Option<(u64, FileEntry)>>,
}

impl Store {
    /// Waits until there is room in memory for more lines.
    pub(super) async fn make_room(self: &Arc<Self>) -> Result<(), LinesError> {
        let is_over = |state: &State, store: &Self| state.tail_bytes() >= store.settings.tail_size_bytes_max;
        loop {
            let is_over_now = is_over(&self.state(), self);
            if !is_over_now || self.closing.load(Ordering::SeqCst) {
                return Ok(());
            }
            if self.flush_has_failed.load(Ordering::SeqCst) {
                // The next maintenance tries again.
                return Err(LinesError::Full(std::io::ErrorKind::StorageFull.into()));
            }
            self.flush(is_over).await?;
        }
    }

    /// Begins to write the tail to a file, where there are threads for it.
    pub(super) fn start_flush(self: &Arc<Self>) {
        let is_idle = self.journal.is_driven() && !self.flush_has_failed.load(Ordering::SeqCst);
        if !is_idle || self.flush_is_started.swap(true, Ordering::SeqCst) {
            return;
        }
        let store = Arc::clone(self);
        tokio::spawn(async move {
            let is_full = |state: &State, store: &Self| {
                state.frozen.is_some() || state.active.size_bytes() >= store.settings.flush_size_bytes
            };
            if let Err(error) = store.flush(is_full).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "log lines stay in memory, their file could not be written");
            }
            store.flush_is_started.store(false, Ordering::SeqCst);
        });
    }

    /// Writes the tail to a file where it is large or old.
    pub(super) async fn flush_where_due(self: &Arc<Self>, now: Timestamp) -> Result<(), LinesError> {
        let is_due = move |state: &State, store: &Self| {
            let is_old = |oldest: Timestamp| oldest.plus(store.settings.flush_age) <= now;
            let is_old = state.active.inner().oldest.is_some_and(is_old);
            state.frozen.is_some()
                || store.is_only_forgotten(state)
                || is_old
                || state.active.size_bytes() >= store.settings.flush_size_bytes
        };
        self.flush(is_due).await
    }

    /// Writes the tail to a file where that is due once nobody else does.
    async fn flush(self: &Arc<Self>, is_due: impl Fn(&State, &Self) -> bool) -> Result<(), LinesError> {
        let _flushing = self.flushing.lock().await;
        let is_due_now = is_due(&self.state(), self);
        if !is_due_now || self.closing.load(Ordering::SeqCst) {
            return Ok(());
        }
        let timer = self.metrics.flush_seconds.start_timer();
        let flushed = self.flush_frozen().await;
        if flushed.is_err() {
            timer.stop_and_discard();
            self.metrics.flush_failures.inc();
            self.flush_has_failed.store(true, Ordering::SeqCst);
        } else {
            timer.observe_duration();
        }
        self.measure();
        flushed
    }

    async fn flush_frozen(self: &Arc<Self>) -> Result<(), LinesError> {
        let Some(frozen) = self.freeze().await else { return Ok(()) };
        let written = match frozen.written {
            Some(written) => written,
            None => {
                let tail = Arc::clone(&frozen.tail);
                let write = move |store: &Self| store.write_tail(&tail, frozen.until);
                let written = self.run_blocking("be written", write).await?.map_err(failed_file)?;
                if let Some(frozen) = &mut self.state().frozen {
                    frozen.written = Some(written.clone());
                }
                written
            }
        };
        let sync = |store: &Self| store.folder.disk.sync_directory(&store.folder.path);
        self.run_blocking("be named", sync).await?.map_err(failed("be named"))?;
        let _registering = self.registering.lock().await;
        self.make_sure().await?;
        if self.state().frozen.is_none() {
            // It was registered before, and the answer was lost.
            return Ok(());
        }
        let kept = self.kept_with(&frozen.tail);
        let new: Vec<_> = written.into_iter().collect();
        let change =
            Change { new: new.clone(), flushed: Some(frozen.until), kept: kept.clone(), ..Change::default() };
        self.made(self.registry.change(change).await).await?;
        let mut state = self.state();
        state.kept.extend(kept);
        state.flushed = frozen.until;
        state.frozen = None;
        state.files.extend(self.opened(new));
        Ok(())
    }

    /// Takes the tail's place with an empty one; the one that was taken before and not written, first. None where there is
    /// nothing to write.
    async fn freeze(&self) -> Option<Frozen> {
        if let Some(frozen) = &self.state().frozen {
            return Some(frozen.clone());
        }
        let _gate = self.gate.write().await;
        let mut state = self.state();
        if state.active.is_empty() && !self.is_only_forgotten(&state) {
            return None;
        }
        let tail = std::mem::take(&mut state.active);
        let frozen = Frozen { tail, until: self.journal.end(), written: None };
        state.frozen = Some(frozen.clone());
        Some(frozen)
    }

    /// Whether the journal goes on behind what is in files, but with nothing that is to be found.
    fn is_only_forgotten(&self, state: &State) -> bool {
        state.frozen.is_none() && state.active.is_empty() && state.flushed < self.journal.end()
    }

    /// What is kept of the streams of a tail once it is in a file.
    fn kept_with(&self, tail: &Tail) -> KeptOf {
        let (state, inner) = (self.state(), tail.inner());
        let streams =
            inner.kept.iter().filter(|((group, stream), _)| !state.hidden.is_forgotten(*group, *stream));
        let with = streams.map(|(of, further)| {
            let mut kept = state.kept.get(of).copied().unwrap_or_default();
            kept.join(further);
            (*of, kept)
        });
        with.collect()
    }

    /// Writes what is not forgotten of a tail.
    fn write_tail(&self, tail: &Tail, until: LogPosition) -> Result<Option<(u64, FileEntry)>, FileError> {
        let (hidden, from) = {
            let state = self.state();
            (Arc::clone(&state.hidden), state.flushed)
        };
        if tail.is_empty() {
            return Ok(None);
        }
        let mut writer = FileWriter::create(&self.folder, self.next_id(), self.settings.new_form())?;
        let mut write = || {
            let inner = tail.inner();
            for (group, lines) in &inner.groups {
                let hidden = hidden.of(*group);
                for found in lines.values().filter(|found| !hidden.hides_stream(found.stream)) {
                    writer.push(*group, found)?;
                }
            }
            Ok(())
        };
        let pushed = write();
        self.end_file(writer, pushed, (from, until), hidden.number)
    }

    /// Ends a file that was written, or removes what there is of it.
    pub(super) fn end_file(
        &self,
        writer: FileWriter,
        pushed: Result<(), FileError>,
        places: (LogPosition, LogPosition),
        clean_of: u64,
    ) -> Result<Option<(u64, FileEntry)>, FileError> {
        let path = writer.path().to_owned();
        let is_empty = writer.is_empty();
        let ended = match pushed {
            Ok(()) if is_empty => Ok(None),
            Ok(()) => writer.finish(places, clean_of).map(Some),
            Err(error) => Err(error),
        };
        match &ended {
            Ok(Some((_, entry))) => {
                if let Some(space) = &self.space {
                    space.take(entry.size_bytes);
                }
            }
            Ok(None) | Err(_) => self.remove_unnamed(&path),
        }
        ended
    }

    /// Removes a file that the registry never named. One that stays is removed at the next start.
    pub(super) fn remove_unnamed(&self, path: &std::path::Path) {
        if let Err(error) = self.folder.disk.remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "a file of log lines that is not finished stays");
        }
    }
}
