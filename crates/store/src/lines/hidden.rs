//! What is no longer to be found, though files or the journal still have it: forgotten groups and streams, and lines
//! that expired. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{GroupId, LineId, StreamId};
use crate::log::LogPosition;

/// Lines from before a time expired, of those that had arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Expiry {
    /// Lines of earlier times, in milliseconds since 1970, are hidden.
    pub(super) before_ms: i64,
    /// Those that have places before this one: what arrives later is new.
    pub(super) until: LogPosition,
}

/// That something was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// Later ones have greater numbers. A file that was written since says so by its own.
    pub(super) number: u64,
    /// The journal has nothing of it from this place on.
    pub(super) until: LogPosition,
}

/// All that is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) groups: BTreeMap<GroupId, Forgotten>,
    pub(super) streams: BTreeMap<(GroupId, StreamId), Forgotten>,
    /// Of each group; where there are several, later ones hide less.
    pub(super) expired: BTreeMap<GroupId, Vec<Expiry>>,
    /// The greatest number so far.
    pub(super) number: u64,
}

/// What is hidden of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HiddenOf {
    pub(super) is_forgotten: bool,
    streams: BTreeSet<StreamId>,
    expired: Vec<Expiry>,
}

impl Hidden {
    /// What is hidden of `group`.
    pub(super) fn of(&self, group: GroupId) -> HiddenOf {
        HiddenOf {
            is_forgotten: self.groups.contains_key(&group),
            streams: self.streams_of(group).map(|(stream, _)| stream).collect(),
            expired: self.expired.get(&group).cloned().unwrap_or_default(),
        }
    }

    /// The forgotten streams of `group`.
    pub(super) fn streams_of(&self, group: GroupId) -> impl Iterator<Item = (StreamId, Forgotten)> {
        let range = (group, StreamId(0))..=(group, StreamId(u64::MAX));
        self.streams.range(range).map(|((_, stream), forgotten)| (*stream, *forgotten))
    }

    /// Whether the whole group or the stream is forgotten.
    pub(super) fn is_forgotten(&self, group: GroupId, stream: StreamId) -> bool {
        self.groups.contains_key(&group) || self.streams.contains_key(&(group, stream))
    }

    /// The expiries of `group` once `further` is among them.
    pub(super) fn expiries_with(&self, group: GroupId, further: Expiry) -> Vec<Expiry> {
        let mut all = self.expired.get(&group).cloned().unwrap_or_default();
        all.retain(|expiry| expiry.before_ms > further.before_ms);
        all.push(further);
        all
    }
}

impl HiddenOf {
    /// Whether a line is hidden.
    pub(super) fn hides(&self, stream: StreamId, id: LineId) -> bool {
        self.hides_stream(stream) || self.has_expired(id)
    }

    /// Whether all of a stream is.
    pub(super) fn hides_stream(&self, stream: StreamId) -> bool {
        self.is_forgotten || (!self.streams.is_empty() && self.streams.contains(&stream))
    }

    fn has_expired(&self, id: LineId) -> bool {
        self.expired.iter().any(|expiry| id.timestamp_ms < expiry.before_ms && id.position < expiry.until)
    }

    /// The part of lines, evenly spread over these times and with places before `until`, that expired: in percent.
    pub(super) fn expired_percent(&self, (first_ms, last_ms): (i64, i64), until: LogPosition) -> u64 {
        let covering = self.expired.iter().filter(|expiry| expiry.until >= until);
        let Some(before_ms) = covering.map(|expiry| expiry.before_ms).max() else { return 0 };
        if before_ms > last_ms {
            return 100;
        }
        let span = i128::from(last_ms) - i128::from(first_ms) + 1;
        let gone = (i128::from(before_ms) - i128::from(first_ms)).max(0);
        u64::try_from(gone * 100 / span).unwrap_or_default().min(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(timestamp_ms: i64, position: u64) -> LineId {
        LineId { timestamp_ms, position: LogPosition(position), index: 0 }
    }

    #[test]
    fn what_arrives_after_lines_expired_is_new_whatever_its_time() {
        let group = GroupId(1);
        let mut hidden = Hidden::default();
        for (before_ms, until) in [(50, 5), (80, 7), (30, 9), (40, 12)] {
            let all = hidden.expiries_with(group, Expiry { before_ms, until: LogPosition(until) });
            hidden.expired.insert(group, all);
        }
        assert_eq!(hidden.expired[&group].len(), 2, "what a later one covers is not kept");
        let of = hidden.of(group);
        let hides = |time, position| of.hides(StreamId(1), id(time, position));
        assert!(hides(79, 6) && hides(39, 11));
        assert!(!hides(80, 6) && !hides(45, 8) && !hides(39, 12));
    }

    #[test]
    fn the_part_that_expired_is_told_by_the_times() {
        let expired = vec![Expiry { before_ms: 50, until: LogPosition(10) }];
        let of = HiddenOf { expired, ..HiddenOf::default() };
        assert_eq!(of.expired_percent((0, 99), LogPosition(10)), 50);
        assert_eq!(of.expired_percent((0, 49), LogPosition(10)), 100);
        assert_eq!(of.expired_percent((50, 60), LogPosition(10)), 0);
        assert_eq!(of.expired_percent((0, 49), LogPosition(11)), 0, "it may hold lines that came later");
    }
}
