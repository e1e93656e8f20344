//! Who may be sent to at the moment: so many deliveries at a time, fewer to those that fail, and none faster than its
//! policy allows. Kept in memory: after a restart everybody is well again.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use cairn_core::Timestamp;

/// Deliveries at a time.
const PLACES: usize = 128;
/// Of them to one receiver.
const PLACES_EACH: usize = 16;
/// Of them to one whose last delivery failed.
const PLACES_EACH_SICK: usize = 4;
/// Of all to such: those that hang leave room for the others.
const PLACES_SICK: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

/// What is under way, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Places<K> {
    /// The places, among all that is owed, of deliveries under way.
    busy: HashSet<u64>,
    sick_busy: usize,
    receivers: HashMap<K, Receiver>,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self { busy: HashSet::new(), sick_busy: 0, receivers: HashMap::new() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Receiver {
    busy: usize,
    /// Those under way when it was found to be sick count as they began.
    sick_busy: usize,
    is_sick: bool,
    /// The second in which deliveries were begun last, and how many.
    window: (Timestamp, u32),
}

/// How many deliveries to a receiver may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many.
    Now(usize),
    /// None before that time, as its policy has it.
    From(Timestamp),
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// How many further deliveries may begin, to whomever.
    pub(crate) fn free(&self) -> usize {
        PLACES.saturating_sub(self.busy.len())
    }

    /// Whether a delivery is under way.
    pub(crate) fn is_busy(&self, place: u64) -> bool {
        self.busy.contains(&place)
    }

    /// How many deliveries to a receiver are under way.
    pub(crate) fn busy_with(&self, to: &K) -> usize {
        self.receivers.get(to).map_or(0, |receiver| receiver.busy)
    }

    /// Whether the last delivery to a receiver failed.
    pub(crate) fn is_sick(&self, to: &K) -> bool {
        self.receivers.get(to).is_some_and(|receiver| receiver.is_sick)
    }

    /// How many deliveries to a receiver may begin `now`, where a policy lets so many begin in a second.
    pub(crate) fn room(&self, to: &K, now: Timestamp, per_second: Option<u32>) -> Room {
        let Some(receiver) = self.receivers.get(to) else {
            let most = per_second.map_or(PLACES_EACH, |most| PLACES_EACH.min(most as usize));
            return Room::Now(most.min(self.free()));
        };
        let mut room = if receiver.is_sick {
            let all = PLACES_SICK.saturating_sub(self.sick_busy);
            PLACES_EACH_SICK.saturating_sub(receiver.busy).min(all)
        } else {
            PLACES_EACH.saturating_sub(receiver.busy)
        };
        if let Some(most) = per_second {
            let (began, count) = receiver.window;
            let is_current = began <= now && now < began.plus(SECOND);
            let left = most.saturating_sub(if is_current { count } else { 0 });
            if left == 0 && room > 0 {
                return Room::From(began.plus(SECOND));
            }
            room = room.min(left as usize);
        }
        Room::Now(room.min(self.free()))
    }

    /// A delivery begins.
    pub(crate) fn begin(&mut self, to: &K, place: u64, now: Timestamp) {
        self.busy.insert(place);
        let fresh = Receiver { busy: 0, sick_busy: 0, is_sick: false, window: (now, 0) };
        let receiver = self.receivers.entry(to.clone()).or_insert(fresh);
        receiver.busy += 1;
        if receiver.is_sick {
            receiver.sick_busy += 1;
            self.sick_busy += 1;
        }
        receiver.window = match receiver.window {
            (began, count) if now < began.plus(SECOND) && began <= now => (began, count + 1),
            _ => (now, 1),
        };
    }

    /// A delivery has ended.
    pub(crate) fn end(&mut self, to: &K, place: u64, is_well: bool) {
        self.busy.remove(&place);
        let Some(receiver) = self.receivers.get_mut(to) else { return };
        receiver.busy = receiver.busy.saturating_sub(1);
        if receiver.sick_busy > 0 {
            receiver.sick_busy -= 1;
            self.sick_busy = self.sick_busy.saturating_sub(1);
        }
        receiver.is_sick = !is_well;
    }

    /// Forgets receivers that nothing is to be remembered of.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        self.receivers.retain(|_, receiver| {
            receiver.busy > 0 || receiver.is_sick || now < receiver.window.0.plus(SECOND)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(id: usize) -> String {
        format!("news:{id}")
    }

    fn fill(places: &mut Places<String>, id: usize, now: Timestamp) -> usize {
        let arn = subscription(id);
        let Room::Now(room) = places.room(&arn, now, None) else { panic!("no policy") };
        (0..room).for_each(|place| places.begin(&arn, (id * 1000 + place) as u64, now));
        room
    }

    #[test]
    fn the_sick_leave_room_for_the_well() {
        let (mut places, now) = (Places::<String>::default(), Timestamp::from_seconds(10));
        for id in 0..40 {
            places.begin(&subscription(id), id as u64, now);
            places.end(&subscription(id), id as u64, false);
        }
        let sick: usize = (0..40).map(|id| fill(&mut places, id, now)).sum();
        assert_eq!(sick, PLACES_SICK);
        assert_eq!(fill(&mut places, 100, now), PLACES_EACH);
        (0..PLACES_EACH).for_each(|place| places.end(&subscription(0), place as u64, true));
        assert!(!places.is_sick(&subscription(0)));
        places.tidy(now.plus(SECOND));
        assert!(places.is_sick(&subscription(1)));
    }

    #[test]
    fn nobody_is_sent_to_faster_than_its_policy_allows() {
        let (mut places, now) = (Places::<String>::default(), Timestamp::from_seconds(10));
        let arn = subscription(1);
        assert_eq!(places.room(&arn, now, Some(2)), Room::Now(2));
        places.begin(&arn, 1, now);
        assert_eq!(places.room(&arn, now, Some(2)), Room::Now(1));
        places.begin(&arn, 2, now);
        places.end(&arn, 1, true);
        let next = Timestamp::from_seconds(11);
        assert_eq!(places.room(&arn, now, Some(2)), Room::From(next));
        assert_eq!(places.room(&arn, next, Some(2)), Room::Now(2));
    }
}
