//! What is owed to subscribers: written in the transaction of the fact, paid by the stage, deleted when it is paid.
//!
//! A message is kept once for each protocol, however many subscribers it is owed to, and goes with the last of them.
//! Invariants: everything owed has a row in [`DUE`], but what waits behind an earlier message of its lane (one
//! subscription's group of a FIFO topic): that gets its row when the earlier one is settled. A subscription that is owed
//! something has one row in [`HEADS`], however much it is: so one that takes nothing hides no other.

use cairn_core::Timestamp;
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Sealer, Table, Tx};

use super::arn::SubscriptionArn;
use super::state::{Notification, Owed, Protocol};
use crate::failure::Failure;

/// What is owed, by [`Owed::row`].
pub(super) const OWED: Table<Owed> = Table::new("sns.owed", 1);
/// When what is owed is due, by [`Owed::due_row`]: by subscription and time.
const DUE: Table<OwedName> = Table::new("sns.owed_due", 1);
/// The subscriptions that something is owed to, by the time of what is due first.
const HEADS: Table<SubscriptionArn> = Table::new("sns.owed_head", 1);
/// The time that a subscription has in [`HEADS`], in milliseconds.
const HEAD_TIMES: Table<u64> = Table::new("sns.owed_head_time", 1);
/// Since when what is owed is owed, by its place: the first is the oldest.
const OLDEST: Table<Timestamp> = Table::new("sns.owed_since", 1);
/// Messages that are owed, sealed, by id and protocol.
const MESSAGES_NAME: &str = "sns.owed_message";
const MESSAGES: Table<String> = Table::new(MESSAGES_NAME, 1);
/// To how many a message is owed, by id and protocol.
const CREDITORS: Table<u64> = Table::new("sns.owed_message_creditors", 1);
/// The next place of all.
const NEXT_PLACE: Table<u64> = Table::new("sns.owed_next_place", 1);

/// What finds an owed delivery.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct OwedName {
    subscription: SubscriptionArn,
    group: Option<String>,
    place: u64,
}

impl OwedName {
    fn row(&self) -> Key {
        lane_row(&self.subscription, self.group.as_deref()).number(self.place)
    }
}

/// The prefix of what is owed to a subscription, of one group where order matters.
fn lane_row(subscription: &SubscriptionArn, group: Option<&str>) -> Key {
    subscription.row().text(group.unwrap_or_default())
}

fn message_row(message_id: &str, protocol: Protocol) -> Key {
    Key::new().text(message_id).text(protocol.name())
}

impl Owed {
    fn name(&self) -> OwedName {
        let (subscription, group) = (self.subscription.clone(), self.group.clone());
        OwedName { subscription, group, place: self.place }
    }

    fn due_row(&self) -> Key {
        self.subscription.row().number(due_ms(self.due_at)).number(self.place)
    }
}

fn due_ms(at: Timestamp) -> u64 {
    u64::try_from(at.millis()).unwrap_or_default()
}

fn head_row(due_ms: u64, subscription: &SubscriptionArn) -> Key {
    Key::new().number(due_ms).text(&subscription.to_string())
}

/// Sets the subscription's row in [`HEADS`] after its rows in [`DUE`] have changed.
fn set_head(tx: &mut dyn Tx, subscription: &SubscriptionArn) -> Result<(), CatalogError> {
    let own = subscription.row();
    let before = HEAD_TIMES.get(tx, own.bytes())?;
    let end = prefix_end(own.bytes());
    let first = DUE.scan(tx, own.bytes(), end.as_deref(), 1)?.pop();
    let now = match first {
        Some((_, name)) => OWED.get(tx, name.row().bytes())?.map(|owed| due_ms(owed.due_at)),
        None => None,
    };
    if now == before {
        return Ok(());
    }
    if let Some(before) = before {
        HEADS.delete(tx, head_row(before, subscription).bytes())?;
    }
    match now {
        Some(now) => {
            HEADS.put(tx, head_row(now, subscription).bytes(), subscription)?;
            HEAD_TIMES.put(tx, own.bytes(), &now)
        }
        None => HEAD_TIMES.delete(tx, own.bytes()).map(drop),
    }
}

/// Writes down that `notification` is owed to `creditors`, all of one protocol and of its message id. Their places are
/// given here, in the order given.
pub(super) fn owe(
    tx: &mut dyn Tx,
    sealer: &Sealer,
    notification: &Notification,
    creditors: Vec<Owed>,
) -> Result<(), CatalogError> {
    let Some(first) = creditors.first() else { return Ok(()) };
    let message = message_row(&notification.message_id, first.protocol);
    let before = CREDITORS.get(tx, message.bytes())?.unwrap_or_default();
    if before == 0 {
        let text = serde_json::to_vec(notification).map_err(undecodable)?;
        MESSAGES.put(tx, message.bytes(), &sealer.seal_text(&seal_context(notification), &text))?;
    }
    CREDITORS.put(tx, message.bytes(), &(before + creditors.len() as u64))?;
    let mut place = NEXT_PLACE.get(tx, &[])?.unwrap_or_default();
    for mut owed in creditors {
        owed.place = place;
        place += 1;
        let waits = owed.group.is_some() && is_owed(tx, &owed.subscription, owed.group.as_deref())?;
        let name = owed.name();
        OWED.put(tx, name.row().bytes(), &owed)?;
        OLDEST.put(tx, Key::new().number(owed.place).bytes(), &owed.since)?;
        if !waits {
            DUE.put(tx, owed.due_row().bytes(), &name)?;
            set_head(tx, &owed.subscription)?;
        }
    }
    NEXT_PLACE.put(tx, &[], &place)
}

/// Whether anything of the lane is owed: later messages have to wait behind it.
pub(super) fn is_owed(
    tx: &mut dyn Tx,
    subscription: &SubscriptionArn,
    group: Option<&str>,
) -> Result<bool, CatalogError> {
    Ok(OWED.count_prefix(tx, lane_row(subscription, group).bytes(), 1)? > 0)
}

/// Up to `limit` subscriptions to which something is due at `now`, the longest due first.
pub(super) fn due_subscriptions(
    tx: &mut dyn Tx,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<SubscriptionArn>, CatalogError> {
    let until = Key::new().number(due_ms(now) + 1);
    let found = HEADS.scan(tx, &[], Some(until.bytes()), limit)?;
    Ok(found.into_iter().map(|(_, subscription)| subscription).collect())
}

/// Up to `limit` deliveries to a subscription that are due at `now`, the longest due first.
pub(super) fn due(
    tx: &mut dyn Tx,
    subscription: &SubscriptionArn,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Owed>, CatalogError> {
    let until = subscription.row().number(due_ms(now) + 1);
    let mut found = Vec::new();
    for (_, name) in DUE.scan(tx, subscription.row().bytes(), Some(until.bytes()), limit)? {
        found.extend(OWED.get(tx, name.row().bytes())?);
    }
    Ok(found)
}

/// When, past `after`, the next delivery to a subscription becomes due that has none due yet.
pub(super) fn next_due(tx: &mut dyn Tx, after: Timestamp) -> Result<Option<Timestamp>, CatalogError> {
    let from = Key::new().number(due_ms(after) + 1);
    let Some((_, subscription)) = HEADS.scan(tx, from.bytes(), None, 1)?.pop() else { return Ok(None) };
    let due_ms = HEAD_TIMES.get(tx, subscription.row().bytes())?;
    Ok(due_ms.and_then(|ms| i64::try_from(ms).ok()).map(Timestamp::from_millis))
}

/// When what is owed longest was written down.
pub(super) fn oldest_since(tx: &mut dyn Tx) -> Result<Option<Timestamp>, CatalogError> {
    Ok(OLDEST.scan(tx, &[], None, 1)?.pop().map(|(_, since)| since))
}

/// The message of an owed delivery.
pub(super) fn message(
    tx: &mut dyn Tx,
    sealer: &Sealer,
    owed: &Owed,
) -> Result<Option<Notification>, Failure> {
    let row = message_row(&owed.message_id, owed.protocol);
    let Some(sealed) = MESSAGES.get(tx, row.bytes())? else { return Ok(None) };
    let text = sealer.open_text(&format!("{MESSAGES_NAME} {}", owed.message_id), &sealed)?;
    Ok(Some(serde_json::from_slice(&text).map_err(undecodable)?))
}

fn seal_context(notification: &Notification) -> String {
    format!("{MESSAGES_NAME} {}", notification.message_id)
}

fn undecodable(source: serde_json::Error) -> CatalogError {
    CatalogError::Decode { table: MESSAGES_NAME, source: source.into() }
}

/// Puts a delivery that failed off until `due_at`. Nothing happens where it was settled meanwhile.
pub(super) fn postpone(
    tx: &mut dyn Tx,
    owed: &Owed,
    due_at: Timestamp,
    failure: (String, String),
) -> Result<(), CatalogError> {
    let row = owed.name().row();
    let Some(mut kept) = OWED.get(tx, row.bytes())? else { return Ok(()) };
    DUE.delete(tx, kept.due_row().bytes())?;
    kept.attempts += 1;
    kept.due_at = due_at;
    kept.last_failure = Some(failure);
    DUE.put(tx, kept.due_row().bytes(), &kept.name())?;
    OWED.put(tx, row.bytes(), &kept)?;
    set_head(tx, &kept.subscription)
}

/// Strikes a delivery out: it was made, or given up. The next of its lane is due at `now`.
pub(super) fn settle(tx: &mut dyn Tx, owed: &Owed, now: Timestamp) -> Result<(), CatalogError> {
    let row = owed.name().row();
    let Some(kept) = OWED.get(tx, row.bytes())? else { return Ok(()) };
    OWED.delete(tx, row.bytes())?;
    DUE.delete(tx, kept.due_row().bytes())?;
    let message = message_row(&kept.message_id, kept.protocol);
    let left = CREDITORS.get(tx, message.bytes())?.unwrap_or_default().saturating_sub(1);
    if left == 0 {
        CREDITORS.delete(tx, message.bytes())?;
        MESSAGES.delete(tx, message.bytes())?;
    } else {
        CREDITORS.put(tx, message.bytes(), &left)?;
    }
    OLDEST.delete(tx, Key::new().number(kept.place).bytes())?;
    if let Some(group) = &kept.group {
        let lane = lane_row(&kept.subscription, Some(group));
        let end = prefix_end(lane.bytes());
        if let Some((_, mut next)) = OWED.scan(tx, lane.bytes(), end.as_deref(), 1)?.pop() {
            next.due_at = next.due_at.max(now);
            OWED.put(tx, next.name().row().bytes(), &next)?;
            DUE.put(tx, next.due_row().bytes(), &next.name())?;
        }
    }
    set_head(tx, &kept.subscription)
}

/// How much is owed; at most `limit` is counted.
pub(super) fn count(tx: &mut dyn Tx, limit: usize) -> Result<usize, CatalogError> {
    OWED.count_prefix(tx, &[], limit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cairn_testkit::{fixed_sealer, memory_catalog};

    use super::*;
    use crate::sns::state::NotificationKind;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn notification(id: &str) -> Notification {
        let text = format!(
            r#"{{"kind":"Notification","message_id":"{id}","topic":"arn:aws:sns:eu-west-1:111122223333:t.fifo","subject":null,"message":"m","at":1,"attributes":[],"group":"g"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn creditor(subscription: &str, message_id: &str, group: Option<&str>) -> Owed {
        Owed {
            subscription: format!("arn:aws:sns:eu-west-1:111122223333:t.fifo:{subscription}")
                .parse()
                .unwrap(),
            protocol: Protocol::Sqs,
            endpoint: "arn:aws:sqs:eu-west-1:111122223333:q".to_owned(),
            kind: NotificationKind::Notification,
            message_id: message_id.to_owned(),
            group: group.map(str::to_owned),
            place: 0,
            attempts: 0,
            since: at(10),
            due_at: at(10),
            last_failure: None,
        }
    }

    async fn tx<T: Send + 'static>(
        catalog: &cairn_store::Catalog,
        work: impl FnMut(&mut dyn Tx) -> Result<T, CatalogError> + Send + 'static,
    ) -> T {
        catalog.write(work).await.unwrap()
    }

    fn due_to_all(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Owed>, CatalogError> {
        let mut found = Vec::new();
        for subscription in due_subscriptions(tx, now, 10)? {
            found.extend(due(tx, &subscription, now, 10)?);
        }
        Ok(found)
    }

    #[tokio::test]
    async fn what_is_owed_is_due_until_it_is_settled_and_its_message_goes_with_the_last() {
        let catalog = memory_catalog();
        tx(&catalog, |tx| {
            owe(
                tx,
                &fixed_sealer(),
                &notification("m"),
                vec![creditor("a", "m", None), creditor("b", "m", None)],
            )
        })
        .await;
        assert!(tx(&catalog, |tx| due_to_all(tx, at(9))).await.is_empty());
        let found = tx(&catalog, |tx| due_to_all(tx, at(10))).await;
        assert_eq!(found.len(), 2);
        let (first, second) = (found[0].clone(), found[1].clone());
        let failed = first.clone();
        tx(&catalog, move |tx| postpone(tx, &failed, at(20), ("E".into(), "x".into()))).await;
        assert_eq!(tx(&catalog, |tx| due_to_all(tx, at(19))).await, std::slice::from_ref(&second));
        let paid = second.clone();
        tx(&catalog, move |tx| settle(tx, &paid, at(19))).await;
        assert_eq!(tx(&catalog, |tx| next_due(tx, at(19))).await, Some(at(20)));
        let last = tx(&catalog, |tx| due_to_all(tx, at(20))).await.remove(0);
        assert_eq!((last.attempts, last.since), (1, at(10)));
        let looked = last.clone();
        assert!(tx(&catalog, move |tx| Ok(message(tx, &fixed_sealer(), &looked).unwrap())).await.is_some());
        let settled = last.clone();
        // Twice is as good as once.
        tx(&catalog, move |tx| settle(tx, &settled, at(20)).and_then(|()| settle(tx, &settled, at(20))))
            .await;
        assert!(tx(&catalog, move |tx| Ok(message(tx, &fixed_sealer(), &last).unwrap())).await.is_none());
        assert_eq!(tx(&catalog, |tx| count(tx, 10)).await, 0);
        assert_eq!(tx(&catalog, |tx| next_due(tx, at(0))).await, None);
    }

    #[tokio::test]
    async fn of_a_lane_only_the_first_is_due() {
        let catalog = memory_catalog();
        for id in ["m1", "m2"] {
            tx(&catalog, move |tx| {
                owe(tx, &fixed_sealer(), &notification(id), vec![creditor("a", id, Some("g"))])
            })
            .await;
        }
        tx(&catalog, |tx| {
            owe(tx, &fixed_sealer(), &notification("m3"), vec![creditor("a", "m3", Some("other"))])
        })
        .await;
        let ids = |found: &[Owed]| found.iter().map(|owed| owed.message_id.clone()).collect::<Vec<_>>();
        let found = tx(&catalog, |tx| due_to_all(tx, at(10))).await;
        assert_eq!(ids(&found), ["m1", "m3"]);
        let failed = found[0].clone();
        tx(&catalog, move |tx| postpone(tx, &failed, at(30), ("E".into(), "x".into()))).await;
        assert_eq!(ids(&tx(&catalog, |tx| due_to_all(tx, at(29))).await), ["m3"]);
        let paid = found[0].clone();
        tx(&catalog, move |tx| settle(tx, &paid, at(12).plus(Duration::from_secs(1)))).await;
        assert_eq!(ids(&tx(&catalog, |tx| due_to_all(tx, at(13))).await), ["m3", "m2"]);
    }
}
