//! Changes of what is registered: forgetting and expiry, and what is done where it is not known whether a change was made.
//!
//! Invariant: who changes the registry holds `registering`, has made sure that memory and registry agree, and changes
//! memory only after the registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::LinesFile;
use super::hidden::{Expiry, Forgotten};
use super::registry::{FileEntry, KeptOf, Registered, RegistryError};
use super::store::{Store, failed};
use super::{GroupId, LinesError, StreamId};

impl Store {
    /// Passes on whether a change of the registry was made. Where that is not known, the registry is asked.
    pub(super) async fn made(&self, outcome: Result<(), RegistryError>) -> Result<(), LinesError> {
        if outcome.is_err() {
            self.registry_is_unsure.store(true, Ordering::SeqCst);
            if let Err(error) = self.make_sure().await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "what is registered of log lines is not known until it can be read again"
                );
            }
        }
        outcome.map_err(failed("be registered"))
    }

    /// Makes memory agree with the registry, where a change of it failed.
    pub(super) async fn make_sure(&self) -> Result<(), LinesError> {
        if self.registry_is_unsure.load(Ordering::SeqCst) {
            let found = self.registry.load().await.map_err(failed("be listed"))?;
            self.adopt(found);
            self.registry_is_unsure.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    fn adopt(&self, found: Registered) {
        let Registered { files, flushed, kept, mut hidden } = found;
        let mut state = self.state();
        hidden.number = hidden.number.max(state.hidden.number);
        let mut before = std::mem::take(&mut state.files);
        for (id, entry) in files {
            let known = before.remove(&id);
            let file = known.unwrap_or_else(|| Arc::new(LinesFile::new(&self.folder, id, entry)));
            state.files.insert(id, file);
        }
        before.values().for_each(|file| file.is_replaced());
        if state.frozen.as_ref().is_some_and(|frozen| frozen.until <= flushed) {
            state.frozen = None;
        }
        for tail in state.tails() {
            tail.retain_kept(|(group, stream), _| !hidden.is_forgotten(group, stream));
        }
        (state.flushed, state.kept, state.hidden) = (flushed, kept, Arc::new(hidden));
    }

    pub(super) async fn forget(&self, group: GroupId, stream: Option<StreamId>) -> Result<(), LinesError> {
        let _registering = self.registering.lock().await;
        self.make_sure().await?;
        let forgotten = {
            // Nobody is within an append that began before.
            let _gate = self.gate.write().await;
            Forgotten { number: self.next_id(), until: self.journal.end() }
        };
        self.made(self.registry.forget(group, stream, forgotten).await).await?;
        let mut state = self.state();
        let is_of = |of: StreamId| stream.is_none_or(|stream| stream == of);
        state.kept.retain(|(of, stream), _| *of != group || !is_of(*stream));
        state.tails().for_each(|tail| tail.retain_kept(|(of, stream), _| of != group || !is_of(stream)));
        let hidden = Arc::make_mut(&mut state.hidden);
        hidden.number = forgotten.number;
        match stream {
            Some(stream) => drop(hidden.streams.insert((group, stream), forgotten)),
            None => {
                hidden.streams.retain(|(of, _), _| *of != group);
                hidden.expired.remove(&group);
                hidden.groups.insert(group, forgotten);
            }
        }
        Ok(())
    }

    pub(super) async fn expire(&self, group: GroupId, before_ms: i64) -> Result<(), LinesError> {
        let _registering = self.registering.lock().await;
        self.make_sure().await?;
        if self.kept(group, None).first_ms.is_none_or(|first_ms| first_ms >= before_ms) {
            return Ok(());
        }
        let until = {
            let _gate = self.gate.write().await;
            self.journal.end()
        };
        let (expiries, kept) = {
            let state = self.state();
            let expiries = state.hidden.expiries_with(group, Expiry { before_ms, until });
            let of_group = (group, StreamId(0))..=(group, StreamId(u64::MAX));
            let mut kept: KeptOf = state.kept.range(of_group).map(|(of, kept)| (*of, *kept)).collect();
            kept.retain(|_, kept| kept.first_ms.is_some_and(|first_ms| first_ms < before_ms));
            kept.values_mut().for_each(|kept| kept.expire(before_ms));
            (expiries, kept)
        };
        self.made(self.registry.expire(group, expiries.clone(), kept.clone()).await).await?;
        let mut state = self.state();
        state.kept.extend(kept);
        state.tails().for_each(|tail| {
            tail.retain_kept(|(of, _), kept| {
                if of == group {
                    kept.expire(before_ms);
                }
                true
            });
        });
        Arc::make_mut(&mut state.hidden).expired.insert(group, expiries);
        Ok(())
    }

    /// What neither a file nor the journal has any more need not be remembered as hidden.
    pub(super) async fn reveal(&self) -> Result<(), LinesError> {
        if self.journal.is_poisoned() {
            // What failed to be written may yet be there at the next opening.
            return Ok(());
        }
        let _registering = self.registering.lock().await;
        self.make_sure().await?;
        let (groups, streams, expired) = {
            let state = self.state();
            let (hidden, flushed) = (&state.hidden, state.flushed);
            let files = || state.files.values().map(|file| &file.entry);
            let of_group: BTreeSet<GroupId> =
                files().flat_map(|entry| &entry.sections).map(|section| section.group).collect();
            let groups = hidden
                .groups
                .iter()
                .filter(|(group, forgotten)| forgotten.until <= flushed && !of_group.contains(group));
            let streams = hidden.streams.iter().filter(|((group, _), forgotten)| {
                let may_have =
                    |entry: &FileEntry| entry.clean_of < forgotten.number && entry.section(*group).is_some();
                forgotten.until <= flushed && !files().any(may_have)
            });
            let expired = hidden.expired.iter().filter(|(group, expiries)| {
                expiries.iter().all(|expiry| {
                    let has_expired = |entry: &FileEntry| {
                        let section = entry.section(**group);
                        entry.from < expiry.until && section.is_some_and(|of| of.first_ms < expiry.before_ms)
                    };
                    expiry.until <= flushed && !files().any(has_expired)
                })
            });
            (
                groups.map(|(group, _)| *group).collect::<BTreeSet<_>>(),
                streams.map(|(of, _)| *of).collect::<BTreeSet<_>>(),
                expired.map(|(group, _)| *group).collect::<BTreeSet<_>>(),
            )
        };
        if groups.is_empty() && streams.is_empty() && expired.is_empty() {
            return Ok(());
        }
        self.made(self.registry.reveal(groups.clone(), streams.clone(), expired.clone()).await).await?;
        let mut state = self.state();
        let hidden = Arc::make_mut(&mut state.hidden);
        hidden.groups.retain(|group, _| !groups.contains(group));
        hidden.streams.retain(|of, _| !streams.contains(of));
        hidden.expired.retain(|group, _| !expired.contains(group));
        Ok(())
    }
}
