//! Durable queues against their conformance suite, and against a model of the plainest kind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::disk::{Disk, SystemDisk};
use cairn_store::queues::{
    Ask, Counts, DeadLetters, JournalQueues, NewMessage, QueueError, QueueKey, QueueSettings, Queues,
    Receipt, ReceiptFault, Received,
};
use cairn_testkit::{SteppedQueues, memory_queues};
use prometheus::Registry;
use proptest::prelude::*;

use crate::queues_model::{Model, ModelReceived};

pub(crate) fn key(name: &str) -> QueueKey {
    QueueKey(name.to_owned())
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1000 + seconds)
}

/// A message for the queue, sent at so many seconds, that says its own id.
pub(crate) fn message(queue: &str, id: &str, sent: i64) -> NewMessage {
    NewMessage {
        queue: key(queue),
        id: id.to_owned(),
        payload: Bytes::from(format!("payload of {id}")),
        group: None,
        deduplication: None,
        sent_at: at(sent),
        visible_at: at(sent),
    }
}

fn in_group(group: &str, message: NewMessage) -> NewMessage {
    NewMessage { group: Some(group.to_owned()), ..message }
}

/// Asks for up to ten messages at so many seconds, and hides them for 30 s.
pub(crate) fn ask(now: i64) -> Ask {
    Ask {
        messages_max: 10,
        now: at(now),
        visibility: Duration::from_secs(30),
        expired_until: Timestamp::EPOCH,
        in_flight_max: 120_000,
        dead_letters: None,
    }
}

fn ids(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.id.as_str()).collect()
}

async fn receive(queues: &dyn Queues, queue: &str, now: i64) -> Vec<Received> {
    queues.receive(&key(queue), &ask(now)).await.unwrap()
}

async fn delete(queues: &dyn Queues, queue: &str, receipt: Receipt, now: i64) -> Result<(), ReceiptFault> {
    queues.delete(&key(queue), &[receipt], at(now)).await.unwrap()[0]
}

async fn with_queues(names: &[&str], queues: &dyn Queues) {
    for name in names {
        queues.create(&key(name)).await.unwrap();
    }
}

/// What every implementation does. The queues are empty.
pub(crate) async fn conforms(queues: &dyn Queues) {
    hides_what_was_received(queues).await;
    keeps_the_order_of_a_group(queues).await;
    gives_the_first_of_a_group_again(queues).await;
    keeps_one_of_duplicates(queues).await;
    moves_dead_letters_and_back(queues).await;
    names_what_is_missing(queues).await;
    purges_and_expires(queues).await;
    tells_of_arrivals(queues).await;
    for name in queues.names() {
        queues.remove(&name).await.unwrap();
    }
    assert_eq!(queues.names(), []);
}

async fn hides_what_was_received(queues: &dyn Queues) {
    with_queues(&["a"], queues).await;
    let delayed = NewMessage { visible_at: at(50), ..message("a", "late", 0) };
    queues.send(vec![message("a", "1", 0), message("a", "2", 0), delayed]).await.unwrap();
    let first = receive(queues, "a", 1).await;
    assert_eq!(ids(&first), ["1", "2"]);
    assert_eq!((first[0].receipt.receives, &first[0].payload[..]), (1, &b"payload of 1"[..]));
    assert_eq!(ids(&receive(queues, "a", 30).await), [""; 0]);
    assert_eq!(queues.next_visible(&key("a"), at(30)), Some(at(31)));
    let counts = Counts { visible: 0, in_flight: 2, delayed: 1, oldest_sent_at: Some(at(0)) };
    assert_eq!(queues.counts(&key("a"), at(30)).unwrap(), counts);
    let change = (first[1].receipt, at(100));
    assert_eq!(queues.change_visibility(&key("a"), &[change], at(30)).await.unwrap(), [Ok(())]);
    let again = receive(queues, "a", 31).await;
    assert_eq!(ids(&again), ["1"]);
    assert_eq!((again[0].receipt.receives, again[0].first_received_at), (2, at(1)));
    let stale = (first[0].receipt, at(100));
    let outcome = queues.change_visibility(&key("a"), &[stale], at(32)).await.unwrap();
    assert_eq!(outcome, [Err(ReceiptFault::Stale)]);
    assert_eq!(delete(queues, "a", first[0].receipt, 32).await, Ok(()), "a stale receipt deletes");
    assert_eq!(delete(queues, "a", first[0].receipt, 32).await, Ok(()), "what is gone is no fault");
    let gone = queues.change_visibility(&key("a"), &[stale], at(32)).await.unwrap();
    assert_eq!(gone, [Err(ReceiptFault::Gone)]);
    assert_eq!(ids(&receive(queues, "a", 50).await), ["late"]);
    let one = Ask { in_flight_max: 2, ..ask(51) };
    queues.send(vec![message("a", "3", 51)]).await.unwrap();
    assert!(matches!(queues.receive(&key("a"), &one).await, Err(QueueError::InFlight)));
    assert_eq!(ids(&receive(queues, "a", 101).await), ["2", "late", "3"]);
}

async fn keeps_the_order_of_a_group(queues: &dyn Queues) {
    with_queues(&["f.fifo"], queues).await;
    let send = ["x1", "y1", "x2", "x3", "y2"];
    let sent = send.map(|id| in_group(&id[..1], message("f.fifo", id, 0)));
    queues.send(sent.to_vec()).await.unwrap();
    let two = Ask { messages_max: 2, ..ask(1) };
    let first = queues.receive(&key("f.fifo"), &two).await.unwrap();
    assert_eq!(ids(&first), ["x1", "x2"], "as many of one group as are wanted");
    let second = receive(queues, "f.fifo", 2).await;
    assert_eq!(ids(&second), ["y1", "y2"], "a group in flight waits");
    assert_eq!(delete(queues, "f.fifo", first[0].receipt, 3).await, Ok(()));
    assert_eq!(ids(&receive(queues, "f.fifo", 3).await), [""; 0]);
    assert_eq!(delete(queues, "f.fifo", first[1].receipt, 3).await, Ok(()));
    let third = receive(queues, "f.fifo", 3).await;
    assert_eq!(ids(&third), ["x3"]);
    assert_eq!(delete(queues, "f.fifo", second[0].receipt, 32).await, Err(ReceiptFault::Stale));
    assert_eq!(ids(&receive(queues, "f.fifo", 32).await), ["y1", "y2"]);
    assert_eq!(delete(queues, "f.fifo", second[0].receipt, 33).await, Err(ReceiptFault::Stale));
}

async fn gives_the_first_of_a_group_again(queues: &dyn Queues) {
    with_queues(&["g.fifo"], queues).await;
    let sent = ["x1", "x2", "x3"].map(|id| in_group("x", message("g.fifo", id, 0)));
    queues.send(sent.to_vec()).await.unwrap();
    let two = Ask { messages_max: 2, ..ask(1) };
    let both = queues.receive(&key("g.fifo"), &two).await.unwrap();
    let second = [(both[1].receipt, at(2))];
    assert_eq!(queues.change_visibility(&key("g.fifo"), &second, at(2)).await.unwrap(), [Ok(())]);
    assert_eq!(ids(&receive(queues, "g.fifo", 3).await), [""; 0], "the first keeps those behind it");
    let third = queues.receive(&key("g.fifo"), &ask(31)).await.unwrap();
    assert_eq!(ids(&third), ["x1", "x2", "x3"]);
    let first = [(third[0].receipt, at(32))];
    assert_eq!(queues.change_visibility(&key("g.fifo"), &first, at(32)).await.unwrap(), [Ok(())]);
    assert_eq!(ids(&receive(queues, "g.fifo", 33).await), ["x1"], "those behind it do not keep it");
}

async fn keeps_one_of_duplicates(queues: &dyn Queues) {
    with_queues(&["d.fifo"], queues).await;
    let once = |id: &str, sent| NewMessage {
        deduplication: Some("text".to_owned()),
        ..in_group("g", message("d.fifo", id, sent))
    };
    let sent = queues.send(vec![once("1", 0), once("2", 0)]).await.unwrap();
    assert_eq!([sent[0].is_duplicate, sent[1].is_duplicate], [false, true]);
    assert_eq!((sent[1].sequence, sent[1].id.as_str()), (sent[0].sequence, "1"));
    let received = receive(queues, "d.fifo", 1).await;
    assert_eq!(ids(&received), ["1"]);
    assert_eq!(received[0].deduplication.as_deref(), Some("text"));
    assert_eq!(delete(queues, "d.fifo", received[0].receipt, 1).await, Ok(()));
    assert!(queues.send(vec![once("3", 299)]).await.unwrap()[0].is_duplicate, "also when it was deleted");
    assert!(!queues.send(vec![once("4", 300)]).await.unwrap()[0].is_duplicate);
    assert!(queues.send(vec![once("5", 599)]).await.unwrap()[0].is_duplicate);
    assert_eq!(queues.expire(&key("d.fifo"), Timestamp::EPOCH, at(600)).await.unwrap(), 0);
    assert!(!queues.send(vec![once("6", 600)]).await.unwrap()[0].is_duplicate);
    assert_eq!(ids(&receive(queues, "d.fifo", 600).await), ["4", "6"]);
}

async fn moves_dead_letters_and_back(queues: &dyn Queues) {
    with_queues(&["source", "dead", "other"], queues).await;
    let dead_letters = Some(DeadLetters { queue: key("dead"), receives_max: 2 });
    let asks = |now| Ask { dead_letters: dead_letters.clone(), messages_max: 1, ..ask(now) };
    queues.send(vec![message("source", "1", 0), message("source", "2", 1)]).await.unwrap();
    let mut receipts = Vec::new();
    for now in [2, 40, 80, 120] {
        let received = queues.receive(&key("source"), &asks(now)).await.unwrap();
        receipts.push((received[0].id.clone(), received[0].receipt.receives));
    }
    let expected = [("1", 1), ("1", 2), ("2", 1), ("2", 2)];
    assert_eq!(receipts, expected.map(|(id, receives)| (id.to_owned(), receives)));
    assert_eq!(ids(&queues.receive(&key("source"), &asks(160)).await.unwrap()), [""; 0]);
    let buried = receive(queues, "dead", 161).await;
    assert_eq!(ids(&buried), ["1", "2"]);
    assert_eq!((buried[0].came_from.clone(), buried[0].receipt.receives), (Some(key("source")), 3));
    assert_eq!((buried[0].sent_at, buried[0].first_received_at), (at(0), at(2)));
    let moved = queues.move_messages(&key("dead"), None, 10, at(161)).await;
    assert_eq!(moved.unwrap(), 0, "what is in flight is not moved");
    let moved = queues.move_messages(&key("dead"), None, 1, at(200)).await;
    assert_eq!(moved.unwrap(), 1);
    let back = queues.receive(&key("source"), &asks(200)).await.unwrap();
    assert_eq!(ids(&back), ["1"]);
    assert_eq!((back[0].receipt.receives, back[0].came_from.clone()), (1, None), "as if it were new");
    let missing = key("missing");
    let moved = queues.move_messages(&key("dead"), Some(&missing), 1, at(200)).await;
    assert!(matches!(moved, Err(QueueError::Missing(queue)) if queue == missing));
    let moved = queues.move_messages(&key("dead"), Some(&key("other")), 9, at(200)).await;
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(ids(&receive(queues, "other", 200).await), ["2"]);
    queues.remove(&key("dead")).await.unwrap();
    queues.receive(&key("source"), &asks(240)).await.unwrap();
    let kept = queues.receive(&key("source"), &asks(280)).await.unwrap();
    assert_eq!(ids(&kept), ["1"], "without a place for dead letters they stay");
}

async fn names_what_is_missing(queues: &dyn Queues) {
    let nowhere = queues.send(vec![message("a", "not", 300), message("nowhere", "1", 300)]).await;
    assert!(matches!(nowhere, Err(QueueError::Missing(queue)) if queue == key("nowhere")));
    assert!(!ids(&receive(queues, "a", 300).await).contains(&"not"), "all or none");
    let missing = key("nowhere");
    assert!(matches!(queues.receive(&missing, &ask(0)).await, Err(QueueError::Missing(_))));
    assert!(matches!(queues.counts(&missing, at(0)), Err(QueueError::Missing(_))));
    assert!(matches!(queues.purge(&missing).await, Err(QueueError::Missing(_))));
    assert!(matches!(queues.remove(&missing).await, Err(QueueError::Missing(_))));
    queues.wait_past(&missing, 0).await;
    assert_eq!(queues.next_visible(&missing, at(0)), None);
}

async fn purges_and_expires(queues: &dyn Queues) {
    with_queues(&["p"], queues).await;
    for sent in 0..4 {
        queues.send(vec![message("p", &sent.to_string(), sent)]).await.unwrap();
    }
    assert_eq!(queues.expire(&key("p"), at(1), at(10)).await.unwrap(), 2);
    let expired = Ask { expired_until: at(2), ..ask(10) };
    assert_eq!(ids(&queues.receive(&key("p"), &expired).await.unwrap()), ["3"]);
    queues.purge(&key("p")).await.unwrap();
    assert_eq!(queues.counts(&key("p"), at(100)).unwrap(), Counts::default());
    queues.create(&key("p")).await.unwrap();
    queues.send(vec![message("p", "4", 4)]).await.unwrap();
    assert_eq!(ids(&receive(queues, "p", 10).await), ["4"]);
}

async fn tells_of_arrivals(queues: &dyn Queues) {
    with_queues(&["w"], queues).await;
    let w = key("w");
    let seen = queues.arrivals(&w);
    let arrival = async {
        queues.send(vec![message("w", "1", 0)]).await.unwrap();
    };
    let ((), ()) = futures::join!(queues.wait_past(&w, seen), arrival);
    let seen = queues.arrivals(&w);
    let removal = async { queues.remove(&w).await.unwrap() };
    let ((), ()) = futures::join!(queues.wait_past(&w, seen), removal);
}

#[tokio::test]
async fn queues_on_a_simulated_disk_conform() {
    conforms(&*memory_queues()).await;
}

async fn open(dir: &Path) -> JournalQueues {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let settings = QueueSettings { segment_size_bytes: 4096, ..QueueSettings::default() };
    JournalQueues::open(&disk, dir, settings, None, &Registry::new()).await.unwrap()
}

#[tokio::test]
async fn queues_in_a_folder_conform_and_are_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path()).await;
    conforms(&queues).await;
    with_queues(&["q", "empty"], &queues).await;
    let group = in_group("g", message("q", "2", 0));
    queues.send(vec![message("q", "1", 0), group]).await.unwrap();
    let received = receive(&queues, "q", 1).await;
    queues.close().await;
    assert!(matches!(queues.purge(&key("q")).await, Err(QueueError::Journal(_))), "it is closed");
    drop(queues);

    let queues = open(dir.path()).await;
    assert_eq!(queues.names(), [key("empty"), key("q")]);
    assert_eq!(ids(&receive(&queues, "q", 30).await), [""; 0], "what is in flight stays so");
    let again = receive(&queues, "q", 31).await;
    assert_eq!((again[0].receipt.receives, again[0].first_received_at), (2, at(1)));
    assert_eq!(again[1].group.as_deref(), Some("g"));
    assert_eq!(delete(&queues, "q", received[0].receipt, 32).await, Ok(()));
    assert_eq!(delete(&queues, "q", again[1].receipt, 32).await, Ok(()));
    queues.close().await;
    drop(queues);

    let queues = open(dir.path()).await;
    assert_eq!(queues.counts(&key("q"), at(40)).unwrap(), Counts::default());
}

async fn stepped(dir: &Path) -> SteppedQueues {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let settings = QueueSettings { segment_size_bytes: 4096, ..QueueSettings::default() };
    SteppedQueues(JournalQueues::open_undriven(&disk, dir, settings, &Registry::new()).await.unwrap())
}

#[tokio::test]
async fn a_receipt_that_is_written_late_does_not_undo_a_change_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let queues = stepped(dir.path()).await;
    with_queues(&["q"], &queues).await;
    queues.send(vec![message("q", "1", 0)]).await.unwrap();
    let received = receive(&queues, "q", 1).await;
    queues.0.write_receipts();
    let change = (received[0].receipt, at(100));
    assert_eq!(queues.change_visibility(&key("q"), &[change], at(2)).await.unwrap(), [Ok(())]);
    assert_eq!(queues.next_visible(&key("q"), at(2)), Some(at(100)));
    drop(queues);
    let queues = stepped(dir.path()).await;
    assert_eq!(queues.next_visible(&key("q"), at(2)), Some(at(100)));
}

#[tokio::test]
async fn a_receipt_that_a_crash_forgot_still_serves() {
    let dir = tempfile::tempdir().unwrap();
    let queues = stepped(dir.path()).await;
    with_queues(&["q", "other"], &queues).await;
    queues.send(vec![message("q", "1", 0), message("q", "2", 0), message("q", "3", 0)]).await.unwrap();
    let received = receive(&queues, "q", 1).await;
    drop(queues);
    let queues = stepped(dir.path()).await;
    assert_eq!(queues.counts(&key("q"), at(2)).unwrap().visible, 3, "nobody wrote the receipts");
    let change = (received[0].receipt, at(60));
    // What is asked at the same time finds the message hidden.
    let (q, other) = (key("q"), key("other"));
    let changed = queues.change_visibility(&q, std::slice::from_ref(&change), at(2));
    let moved = queues.move_messages(&q, Some(&other), 1, at(2));
    let (changed, moved) = futures::join!(changed, moved);
    assert_eq!((changed.unwrap(), moved.unwrap()), (vec![Ok(())], 1));
    assert_eq!(ids(&receive(&queues, "other", 3).await), ["2"]);
    assert_eq!(delete(&queues, "q", received[0].receipt, 3).await, Ok(()));
    assert_eq!(delete(&queues, "q", received[2].receipt, 3).await, Ok(()));
    assert_eq!(queues.counts(&key("q"), at(3)).unwrap(), Counts::default());
}

#[tokio::test]
async fn what_expires_is_not_moved_and_is_gone_at_the_next_start_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let queues = stepped(dir.path()).await;
    with_queues(&["q", "other"], &queues).await;
    queues.send(vec![message("q", "old", 0), message("q", "new", 5)]).await.unwrap();
    let (q, other) = (key("q"), key("other"));
    let expired = queues.expire(&q, at(1), at(6));
    let moved = queues.move_messages(&q, Some(&other), 2, at(6));
    let (expired, moved) = futures::join!(expired, moved);
    assert_eq!((expired.unwrap(), moved.unwrap()), (1, 1));
    assert_eq!(queues.counts(&other, at(7)).unwrap().visible, 1);
    drop(queues);
    let queues = stepped(dir.path()).await;
    assert_eq!(queues.counts(&other, at(7)).unwrap().visible, 1);
    assert_eq!(ids(&receive(&queues, "other", 7).await), ["new"]);
}

#[tokio::test]
async fn what_is_not_needed_goes_and_what_is_stays() {
    let dir = tempfile::tempdir().unwrap();
    let queues = stepped(dir.path()).await;
    with_queues(&["q"], &queues).await;
    queues.send(vec![message("q", "kept", 0)]).await.unwrap();
    let kept = receive(&queues, "q", 0).await;
    for number in 1..200_i64 {
        queues.send(vec![message("q", &number.to_string(), number)]).await.unwrap();
        let batch = queues.receive(&key("q"), &Ask { visibility: Duration::ZERO, ..ask(1) }).await.unwrap();
        assert_eq!(batch.len(), 1);
        queues.delete(&key("q"), &[batch[0].receipt], at(1)).await.unwrap();
    }
    let size_bytes = |dir: &Path| -> u64 {
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        files.sum()
    };
    assert!(size_bytes(dir.path()) <= 6 * 4096, "{} bytes for one message", size_bytes(dir.path()));
    drop(queues);
    let queues = stepped(dir.path()).await;
    let again = receive(&queues, "q", 30).await;
    assert_eq!(ids(&again), ["kept"]);
    assert_eq!(again[0].receipt.sequence, kept[0].receipt.sequence);
    assert_eq!((again[0].receipt.receives, &again[0].payload[..]), (2, &b"payload of kept"[..]));
}

/// Something that somebody does.
#[derive(Clone, Debug)]
enum Step {
    Wait(u8),
    Send { group: Option<u8>, text: Option<u8>, delay: u8 },
    Receive { messages_max: usize, visibility: u8, in_flight_max: usize, age_max: Option<u8> },
    Delete(usize),
    Change(usize, u8),
    Expire(u8),
    Purge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..40_u8).prop_map(Step::Wait),
        6 => (prop::option::of(0..3_u8), prop::option::weighted(0.3, 0..4_u8), 0..3_u8).prop_map(
            |(group, text, delay)| Step::Send { group, text, delay: delay * 7 }
        ),
        6 => (1..5_usize, 0..30_u8, 1..12_usize, prop::option::weighted(0.1, 0..200_u8)).prop_map(
            |(messages_max, visibility, in_flight_max, age_max)|
                Step::Receive { messages_max, visibility, in_flight_max, age_max }
        ),
        4 => (0..20_usize).prop_map(Step::Delete),
        3 => (0..20_usize, 0..30_u8).prop_map(|(receipt, visibility)| Step::Change(receipt, visibility)),
        1 => (0..250_u8).prop_map(Step::Expire),
        1 => Just(Step::Purge),
    ];
    prop::collection::vec(step, 1..80)
}

fn as_model(received: Vec<Received>) -> Vec<ModelReceived> {
    let model = |message: Received| ModelReceived {
        receipt: message.receipt,
        id: message.id,
        first_received_at: message.first_received_at,
        came_from: message.came_from.map(|queue| queue.0),
    };
    received.into_iter().map(model).collect()
}

/// Does the same with the queues and with the model.
async fn compare(queues: &dyn Queues, steps: Vec<Step>) {
    let q = key("q");
    queues.create(&q).await.unwrap();
    let mut model = Model::default();
    model.queues.insert("q".to_owned(), Default::default());
    let (mut now, mut receipts) = (0_i64, Vec::new());
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Wait(seconds) => now += i64::from(seconds),
            Step::Send { group, text, delay } => {
                let message = NewMessage {
                    group: group.map(|group| format!("g{group}")),
                    deduplication: text.map(|text| format!("t{text}")),
                    visible_at: at(now + i64::from(delay)),
                    ..message("q", &number.to_string(), now)
                };
                let sent = queues.send(vec![message.clone()]).await.unwrap().remove(0);
                assert_eq!(sent, model.send(&message, sent.sequence));
            }
            Step::Receive { messages_max, visibility, in_flight_max, age_max } => {
                let ask = Ask {
                    messages_max,
                    visibility: Duration::from_secs(visibility.into()),
                    in_flight_max,
                    expired_until: age_max.map_or(Timestamp::EPOCH, |age| at(now - i64::from(age))),
                    ..ask(now)
                };
                let expected = model.receive("q", &ask);
                match queues.receive(&q, &ask).await {
                    Ok(received) => {
                        receipts.extend(received.iter().map(|message| message.receipt));
                        assert_eq!(Some(as_model(received)), expected);
                    }
                    Err(error) => assert!(matches!(error, QueueError::InFlight) && expected.is_none()),
                }
            }
            Step::Delete(receipt) => {
                let Some(receipt) = receipts.get(receipt).copied() else { continue };
                let expected = model.delete("q", receipt, at(now));
                assert_eq!(queues.delete(&q, &[receipt], at(now)).await.unwrap(), [expected]);
            }
            Step::Change(receipt, visibility) => {
                let Some(receipt) = receipts.get(receipt).copied() else { continue };
                let visible_at = at(now + i64::from(visibility));
                let expected = model.change("q", receipt, visible_at, at(now));
                let outcome = queues.change_visibility(&q, &[(receipt, visible_at)], at(now)).await;
                assert_eq!(outcome.unwrap(), [expected]);
            }
            Step::Expire(age) => {
                let until = at(now - i64::from(age));
                assert_eq!(queues.expire(&q, until, at(now)).await.unwrap(), model.expire("q", until));
            }
            Step::Purge => {
                queues.purge(&q).await.unwrap();
                model.queues.get_mut("q").unwrap().messages.clear();
            }
        }
        assert_eq!(queues.counts(&q, at(now)).unwrap(), model.counts("q", at(now)));
        assert_eq!(queues.next_visible(&q, at(now)), model.next_visible("q", at(now)));
    }
}

proptest! {
    #[test]
    fn queues_do_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(&*memory_queues(), steps));
    }
}
