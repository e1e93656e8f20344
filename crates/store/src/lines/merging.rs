//! Merges files of lines, leaves out what is hidden, and lets go of files that hold nothing else.
//!
//! Files of about one size are merged, those of one group apart from those of several; a group with much text in a merge
//! gets a file of its own. So the lines of a large group are soon by themselves, and go as whole files when they expire,
//! while small groups do not make a file each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{self, FileError, FileFault, LinesFile};
use super::file_writer::FileWriter;
use super::hidden::{Forgotten, Hidden};
use super::reading::{Merge, Span};
use super::registry::{Change, FileEntry, KeptOf, SectionEntry};
use super::store::{Store, failed, failed_file};
use super::{GroupId, LinesError, StreamId};
use crate::log::LogPosition;

/// A file is written again without what is hidden once that is so much of its text, in percent.
const HIDDEN_PERCENT_MAX: u64 = 50;
/// Files are of about one size where their text has as many bytes, in so many binary digits more or less.
const TIER_BITS: u32 = 3;
/// So many lines are merged between looks at whether the store is closing.
const LINES_BETWEEN_LOOKS: usize = 4096;

/// Text that is no longer there, by stream.
type Dropped = BTreeMap<(GroupId, StreamId), u64>;

/// What a merge came to.
struct Merged {
    new: Vec<(u64, FileEntry)>,
    dropped: Dropped,
    text_bytes: u64,
}

impl Store {
    /// Lets go of what is hidden, and makes one merge that is due.
    pub(super) async fn merge_where_due(self: &Arc<Self>) -> Result<(), LinesError> {
        let _merging = self.merging.lock().await;
        if self.closing.load(Ordering::SeqCst) {
            return Ok(());
        }
        {
            let _registering = self.registering.lock().await;
            self.make_sure().await?;
        }
        let merged = self.sweep_and_merge().await;
        if merged.is_err() && !self.closing.load(Ordering::SeqCst) {
            self.metrics.merge_failures.inc();
            return merged;
        }
        self.reveal().await
    }

    async fn sweep_and_merge(self: &Arc<Self>) -> Result<(), LinesError> {
        let (files, hidden) = {
            let state = self.state();
            (state.files.values().cloned().collect::<Vec<_>>(), Arc::clone(&state.hidden))
        };
        let looked = self.run_blocking("be looked through", move |store| {
            let share = |file: &Arc<LinesFile>| (store.hidden_percent(file, &hidden), Arc::clone(file));
            files.iter().map(share).collect::<Vec<_>>()
        });
        let looked = looked.await?;
        let (gone, left): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(percent, _)| *percent >= 100);
        if !gone.is_empty() {
            self.let_go(gone.into_iter().map(|(_, file)| file).collect()).await?;
        }
        let sound: Vec<_> = left.into_iter().filter(|(_, file)| !file.is_damaged()).collect();
        let worn = sound.iter().find(|(percent, _)| *percent >= HIDDEN_PERCENT_MAX);
        let chosen = match worn {
            Some((_, file)) => vec![Arc::clone(file)],
            None => self.choose(sound.into_iter().map(|(_, file)| file)),
        };
        if chosen.is_empty() { Ok(()) } else { self.merge(chosen).await }
    }

    /// The oldest files of about one size, where there are enough of them.
    fn choose(&self, files: impl Iterator<Item = Arc<LinesFile>>) -> Vec<Arc<LinesFile>> {
        let mut tiers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for file in files {
            let text_bytes = file.entry.text_bytes();
            if text_bytes < self.settings.merge_text_bytes_max {
                let only_group = if let [only] = &file.entry.sections[..] { Some(only.group) } else { None };
                let tier = (u64::BITS - text_bytes.leading_zeros()) / TIER_BITS;
                tiers.entry((tier, only_group)).or_default().push(file);
            }
        }
        let mut full = tiers.into_values().filter(|files| files.len() >= self.settings.merge_files);
        let mut chosen = full.next().unwrap_or_default();
        chosen.truncate(self.settings.merge_files);
        chosen
    }

    /// How much of a file's text is hidden, about, in percent; 100 only where nothing of it can be found any more.
    fn hidden_percent(&self, file: &LinesFile, hidden: &Hidden) -> u64 {
        let (mut hidden_bytes, mut is_all) = (0, true);
        for section in &file.entry.sections {
            let (bytes, is_all_of_it) = self.hidden_of(file, section, hidden);
            hidden_bytes += bytes;
            is_all &= is_all_of_it;
        }
        let percent = (hidden_bytes * 100).checked_div(file.entry.text_bytes()).unwrap_or_default();
        if is_all { 100 } else { percent.min(99) }
    }

    /// The text of a group's part that is hidden, about, and whether that is surely all of it.
    fn hidden_of(&self, file: &LinesFile, section: &SectionEntry, hidden: &Hidden) -> (u64, bool) {
        let SectionEntry { group, text_bytes, first_ms, last_ms } = *section;
        if hidden.groups.contains_key(&group) {
            return (text_bytes, true);
        }
        let percent = hidden.of(group).expired_percent((first_ms, last_ms), file.entry.until);
        let (forgotten_bytes, is_all_forgotten) = self.forgotten_of(file, group, hidden);
        let hidden_bytes = text_bytes * percent / 100 + forgotten_bytes;
        (hidden_bytes.min(text_bytes), percent == 100 || is_all_forgotten)
    }

    /// The text that a file has of forgotten streams of a group, and whether they are all.
    fn forgotten_of(&self, file: &LinesFile, group: GroupId, hidden: &Hidden) -> (u64, bool) {
        let is_in_file = |(_, forgotten): (StreamId, Forgotten)| forgotten.number > file.entry.clean_of;
        if file.is_damaged() || !hidden.streams_of(group).any(is_in_file) {
            return (0, false);
        }
        file.forgotten_streams(hidden.number, group, || {
            let of = hidden.of(group);
            let streams = self.streams_of(file, group)?;
            let forgotten = streams.iter().filter(|(stream, _)| of.hides_stream(*stream));
            let is_all = forgotten.clone().count() == streams.len();
            Some((forgotten.map(|(_, text_bytes)| text_bytes).sum(), is_all))
        })
    }

    /// The streams of a group in a file; none where that cannot be told.
    fn streams_of(&self, file: &LinesFile, group: GroupId) -> Option<Vec<(StreamId, u64)>> {
        match file.open(&self.cache) {
            Ok(opened) => Some(opened.index.section(group)?.streams.clone()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the streams of a file of log lines are not known");
                None
            }
        }
    }

    /// Lets go of files of which all is hidden.
    async fn let_go(self: &Arc<Self>, files: Vec<Arc<LinesFile>>) -> Result<(), LinesError> {
        let of_files = files.clone();
        let dropped = self.run_blocking("be looked through", move |store| {
            let mut dropped = Dropped::new();
            for file in of_files {
                for section in &file.entry.sections {
                    let streams = store.streams_of(&file, section.group).unwrap_or_default();
                    for (stream, text_bytes) in streams {
                        *dropped.entry((section.group, stream)).or_default() += text_bytes;
                    }
                }
            }
            dropped
        });
        let dropped = dropped.await?;
        self.replace(&files, Merged { new: Vec::new(), dropped, text_bytes: 0 }).await
    }

    async fn merge(self: &Arc<Self>, files: Vec<Arc<LinesFile>>) -> Result<(), LinesError> {
        let of_files = files.clone();
        let merge = self.run_blocking("be merged", move |store| {
            let mut begun = Vec::new();
            let merged = store.merge_files(&of_files, &mut begun);
            if merged.is_err() {
                begun.iter().for_each(|path| store.remove_unnamed(path));
            }
            merged
        });
        let merged = merge.await?.map_err(failed_file)?;
        self.metrics.merges.inc();
        self.metrics.merged_bytes.inc_by(merged.text_bytes);
        self.replace(&files, merged).await
    }

    /// Writes the lines of files into new ones: of each large group its own, and one of the rest.
    fn merge_files(&self, files: &[Arc<LinesFile>], begun: &mut Vec<PathBuf>) -> Result<Merged, FileError> {
        let hidden = Arc::clone(&self.state().hidden);
        let from = files.iter().map(|file| file.entry.from).min().unwrap_or_default();
        let until = files.iter().map(|file| file.entry.until).max().unwrap_or_default();
        let mut merged = Merged { new: Vec::new(), dropped: Dropped::new(), text_bytes: 0 };
        let groups: BTreeMap<GroupId, u64> = files.iter().flat_map(|file| &file.entry.sections).fold(
            BTreeMap::new(),
            |mut groups, section| {
                *groups.entry(section.group).or_default() += section.text_bytes;
                groups
            },
        );
        let mut rest: Option<FileWriter> = None;
        for (group, text_bytes) in groups {
            let mut own = None;
            let writer = if text_bytes >= self.settings.own_file_text_bytes { &mut own } else { &mut rest };
            if hidden.groups.contains_key(&group) {
                continue;
            }
            if writer.is_none() {
                *writer = Some(self.begin_file(begun)?);
            }
            if let Some(writer) = writer {
                self.merge_group(group, files, &hidden, writer, &mut merged)?;
            }
            if let Some(own) = own {
                self.end_merged(own, (from, until), hidden.number, begun, &mut merged)?;
            }
        }
        if let Some(rest) = rest {
            self.end_merged(rest, (from, until), hidden.number, begun, &mut merged)?;
        }
        Ok(merged)
    }

    fn begin_file(&self, begun: &mut Vec<PathBuf>) -> Result<FileWriter, FileError> {
        let writer = FileWriter::create(&self.folder, self.next_id(), self.settings.merged_form())?;
        begun.push(writer.path().to_owned());
        Ok(writer)
    }

    fn end_merged(
        &self,
        writer: FileWriter,
        places: (LogPosition, LogPosition),
        clean_of: u64,
        begun: &mut Vec<PathBuf>,
        merged: &mut Merged,
    ) -> Result<(), FileError> {
        let path = writer.path().to_owned();
        let ended = self.end_file(writer, Ok(()), places, clean_of);
        if !matches!(ended, Ok(Some(_))) {
            // It was removed.
            begun.retain(|begun| *begun != path);
        }
        merged.new.extend(ended?);
        Ok(())
    }

    fn merge_group(
        &self,
        group: GroupId,
        files: &[Arc<LinesFile>],
        hidden: &Hidden,
        writer: &mut FileWriter,
        merged: &mut Merged,
    ) -> Result<(), FileError> {
        let hidden = hidden.of(group);
        let mut lines = Merge::new(Span::whole(group), [], files.iter().map(|file| &**file), &self.cache);
        let mut count = 0;
        while let Some(found) = lines.next()? {
            let text_bytes = found.message.len() as u64;
            if hidden.hides(found.stream, found.id) {
                *merged.dropped.entry((group, found.stream)).or_default() += text_bytes;
                continue;
            }
            writer.push(group, &found)?;
            merged.text_bytes += text_bytes;
            count += 1;
            if count % LINES_BETWEEN_LOOKS == 0 && self.closing.load(Ordering::SeqCst) {
                return Err(FileError::of(writer.path(), "be merged")(FileFault::Closing));
            }
        }
        Ok(())
    }

    /// Puts what a merge made in the place of the files that it was made of.
    async fn replace(self: &Arc<Self>, files: &[Arc<LinesFile>], merged: Merged) -> Result<(), LinesError> {
        let sync = |store: &Self| store.folder.disk.sync_directory(&store.folder.path);
        self.run_blocking("be named", sync).await?.map_err(failed("be named"))?;
        let _registering = self.registering.lock().await;
        self.make_sure().await?;
        let old: Vec<u64> = files.iter().map(|file| file.id).collect();
        let are_there = old.iter().all(|id| self.state().files.contains_key(id));
        if !are_there {
            // They were merged before, and the answer was lost.
            self.remove_unregistered(&merged.new);
            return Ok(());
        }
        let kept = self.kept_without(&merged.dropped);
        let change = Change { old: old.clone(), new: merged.new.clone(), flushed: None, kept: kept.clone() };
        let made = self.made(self.registry.change(change).await).await;
        if made.is_err() {
            if !self.registry_is_unsure.load(Ordering::SeqCst) {
                self.remove_unregistered(&merged.new);
            }
            return made;
        }
        let mut state = self.state();
        state.kept.extend(kept);
        old.iter().for_each(|id| drop(state.files.remove(id)));
        state.files.extend(self.opened(merged.new));
        drop(state);
        files.iter().for_each(|file| file.is_replaced());
        Ok(())
    }

    /// Removes files that were written and are not registered.
    fn remove_unregistered(&self, new: &[(u64, FileEntry)]) {
        let registered: Vec<u64> = self.state().files.keys().copied().collect();
        for (id, _) in new.iter().filter(|(id, _)| !registered.contains(id)) {
            self.remove_unnamed(&self.folder.path.join(file::name(*id)));
        }
    }

    /// New files, as they are read.
    pub(super) fn opened(&self, new: Vec<(u64, FileEntry)>) -> impl Iterator<Item = (u64, Arc<LinesFile>)> {
        new.into_iter().map(|(id, entry)| (id, Arc::new(LinesFile::new(&self.folder, id, entry))))
    }

    fn kept_without(&self, dropped: &Dropped) -> KeptOf {
        let state = self.state();
        let without = dropped.iter().filter_map(|(of, text_bytes)| {
            let mut kept = *state.kept.get(of)?;
            kept.text_bytes = kept.text_bytes.saturating_sub(*text_bytes);
            Some((*of, kept))
        });
        without.collect()
    }
}
