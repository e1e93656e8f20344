//! Which digest comes next: its window and its predecessor. Pure.

use std::time::Duration;

use cairn_core::Timestamp;
use cairn_core::digest::Link;

use crate::chain::DigestHead;

/// What is known of a trail's chain in one region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    /// When the trail's chain began.
    pub(crate) started_at: Timestamp,
    /// When it was broken, where it was.
    pub(crate) stopped_at: Option<Timestamp>,
    /// How long a digest's window is.
    pub(crate) interval: Duration,
    /// The last digest of the region, of this chain or an earlier one.
    pub(crate) head: Option<&'a DigestHead>,
    /// When the oldest file that no digest lists was delivered.
    pub(crate) first_file_at: Option<Timestamp>,
    /// Whether this is the trail's home region, whose chain begins with the trail's. The chain of another region
    /// begins with its first file.
    pub(crate) is_home: bool,
    /// Whether the trail takes events of this region now.
    pub(crate) is_covered: bool,
}

/// The next digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) previous: Option<Link>,
}

impl Chain<'_> {
    /// The next digest, due or not; none where the chain is over or has not begun.
    ///
    /// The starting digest covers the interval before the chain's start and ends at it; its successors are exactly
    /// one interval each. The ends are whole seconds, as keys have no more.
    pub(crate) fn next_window(&self) -> Option<Window> {
        let window = match self.head {
            Some(head) if head.chain_started_at == self.started_at => {
                if !self.is_covered && self.first_file_at.is_none() {
                    return None;
                }
                let end = head.end.plus(self.interval);
                Window { start: head.end, end, previous: Some(head.link.clone()) }
            }
            earlier => {
                let end = self.first_end(earlier.map(|head| head.end))?;
                Window { start: end.minus(self.interval), end, previous: None }
            }
        };
        // A chain ends one interval after it was broken, but not before every file that counts is listed: an outage may
        // delay a file for longer.
        let is_over =
            self.stopped_at.is_some_and(|stopped_at| window.start >= stopped_at.plus(self.interval));
        (!is_over || self.first_file_at.is_some()).then_some(window)
    }

    /// The end of a chain's first window: the trail's start, or in another region the end of the window of its first
    /// file; always after the last digest of an earlier chain, whose key it would have otherwise.
    fn first_end(&self, earlier_end: Option<Timestamp>) -> Option<Timestamp> {
        let first = self.started_at.floor(Duration::from_secs(1));
        let not_before =
            if self.is_home { first } else { self.first_file_at?.plus(Duration::from_millis(1)) };
        let after = earlier_end.map_or(not_before, |end| not_before.max(end.plus(Duration::from_millis(1))));
        let windows = after.since(first).as_millis().div_ceil(self.interval.as_millis().max(1));
        let span = self.interval.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        Some(first.plus(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn head(chain_s: i64, end_s: i64) -> DigestHead {
        let text = String::new;
        let link = Link { bucket: text(), object: "last".to_owned(), hash: text(), signature: text() };
        DigestHead { region: "r".parse().unwrap(), chain_started_at: at(chain_s), end: at(end_s), link }
    }

    fn home(started_s: i64) -> Chain<'static> {
        Chain {
            started_at: at(started_s),
            stopped_at: None,
            interval: INTERVAL,
            head: None,
            first_file_at: None,
            is_home: true,
            is_covered: true,
        }
    }

    fn check(chain: &Chain<'_>, expected: Option<(i64, i64, bool)>) {
        let found = chain.next_window();
        let shown =
            found.map(|window| (window.start.seconds(), window.end.seconds(), window.previous.is_some()));
        assert_eq!(shown, expected, "{chain:?}");
    }

    #[test]
    fn the_starting_digest_ends_at_the_start_and_successors_follow_on_it() {
        check(&home(1000), Some((900, 1000, false)));
        check(&Chain { started_at: Timestamp::from_millis(1_000_999), ..home(0) }, Some((900, 1000, false)));
        check(&Chain { head: Some(&head(1000, 1000)), ..home(1000) }, Some((1000, 1100, true)));
        check(&Chain { head: Some(&head(1000, 1700)), ..home(1000) }, Some((1700, 1800, true)));
    }

    #[test]
    fn another_regions_chain_begins_with_the_window_of_its_first_file() {
        let other = Chain { is_home: false, ..home(1000) };
        check(&other, None);
        check(&Chain { first_file_at: Some(at(999)), ..other }, Some((900, 1000, false)));
        check(&Chain { first_file_at: Some(at(1000)), ..other }, Some((1000, 1100, false)));
        check(&Chain { first_file_at: Some(at(1250)), ..other }, Some((1200, 1300, false)));
    }

    #[test]
    fn a_chain_ends_one_interval_after_it_was_broken() {
        let stopped = Chain { stopped_at: Some(at(1250)), ..home(1000) };
        check(&Chain { head: Some(&head(1000, 1300)), ..stopped }, Some((1300, 1400, true)));
        check(&Chain { head: Some(&head(1000, 1400)), ..stopped }, None);
    }

    #[test]
    fn a_chain_that_was_broken_goes_on_for_a_file_that_comes_late() {
        let stopped = Chain { stopped_at: Some(at(1250)), ..home(1000) };
        let late = Chain { first_file_at: Some(at(1777)), ..stopped };
        check(&Chain { head: Some(&head(1000, 1400)), ..late }, Some((1400, 1500, true)));
        check(&Chain { is_home: false, ..late }, Some((1700, 1800, false)));
    }

    #[test]
    fn a_new_chain_never_takes_the_key_of_an_earlier_digest() {
        let earlier = head(500, 1000);
        check(&Chain { head: Some(&earlier), ..home(1000) }, Some((1000, 1100, false)));
        check(&Chain { head: Some(&head(500, 900)), ..home(1000) }, Some((900, 1000, false)));
        check(&Chain { head: Some(&head(500, 1700)), ..home(1000) }, Some((1700, 1800, false)));
    }

    #[test]
    fn a_region_that_the_trail_left_gets_no_empty_digests() {
        let left = Chain {
            is_home: false,
            is_covered: false,
            head: Some(&head(1000, 1300)),
            ..home(1000).to_owned()
        };
        let kept = head(1000, 1300);
        check(&Chain { head: Some(&kept), ..left }, None);
        check(&Chain { head: Some(&kept), first_file_at: Some(at(1350)), ..left }, Some((1300, 1400, true)));
    }
}
