//! Pages: their order, their ends, and that what arrives between two of them does not disturb them.

use std::sync::Arc;
use std::time::Duration;

use cairn_store::LogPosition;
use cairn_store::history::{Attribute, History, Lookup};
use cairn_testkit::{TestClock, memory_catalog};

use super::{event, everything, open, positions, small, start};

#[tokio::test]
async fn what_arrives_between_two_pages_shows_in_neither_whatever_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    let older = |seconds| start().minus(Duration::from_secs(seconds));
    history.ingest((0..4).map(|at| event(at, older(at * 10))).collect(), LogPosition(4)).await.unwrap();
    let mut query = Lookup { limit: 2, ..everything() };
    let first = history.lookup(query.clone()).await.unwrap();
    assert_eq!(positions(&first), [0, 1]);

    // The first takes the very position at which the first page drew the line.
    history.ingest(vec![event(4, older(15)), event(5, older(25))], LogPosition(6)).await.unwrap();
    query.after = first.next;
    assert_eq!(positions(&history.lookup(query.clone()).await.unwrap()), [2, 3]);
    history.flush().await.unwrap();
    let second = history.lookup(query.clone()).await.unwrap();
    assert_eq!((positions(&second), second.next), (vec![2, 3], None), "the same from a file");
    query.after = None;
    assert_eq!(positions(&history.lookup(query).await.unwrap()), [0, 1], "a new search begins");
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [0, 1, 4, 2, 5, 3]);
}

#[tokio::test]
async fn times_are_inclusive_and_ties_go_by_position() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    let second = |seconds| start().minus(Duration::from_secs(seconds));
    let events = [(0, 2), (1, 1), (2, 1), (3, 1), (4, 0)].map(|(at, seconds)| event(at, second(seconds)));
    history.ingest(events.to_vec(), LogPosition(5)).await.unwrap();
    for from_file in [false, true] {
        if from_file {
            history.flush().await.unwrap();
        }
        let found = async |start, end| {
            let query = Lookup { start, end, ..everything() };
            positions(&history.lookup(query).await.unwrap())
        };
        assert_eq!(found(Some(second(1)), Some(second(1))).await, [3, 2, 1]);
        assert_eq!(found(Some(second(1)), None).await, [4, 3, 2, 1]);
        assert_eq!(found(None, Some(second(1))).await, [3, 2, 1, 0]);
        assert!(found(Some(second(1)), Some(second(2))).await.is_empty());
    }
}

#[tokio::test]
async fn nothing_is_found_for_an_empty_value_or_a_page_without_room() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    let mut alone = event(0, start());
    alone.attributes = vec![(Attribute::ResourceName, "a name without a type".to_owned())];
    history.ingest(vec![alone], LogPosition(1)).await.unwrap();
    history.flush().await.unwrap();
    let empty = Some((Attribute::ResourceType, String::new()));
    assert!(history.lookup(Lookup { attribute: empty, ..everything() }).await.unwrap().events.is_empty());
    let page = history.lookup(Lookup { limit: 0, ..everything() }).await.unwrap();
    assert!(page.events.is_empty() && page.next.is_none());
}
