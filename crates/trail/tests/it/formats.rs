//! The persisted formats, held to golden rows: what an earlier version wrote is read for ever, and nobody changes a
//! format without noticing. A new version of a table gets a new file beside the old ones.

use std::collections::BTreeMap;

use cairn_core::digest::Signer;

use super::doubles::MemoryCatalog;
use super::world::{DELIVERY_S, DIGEST_S, HOME, World, trail};

/// Lines of table, key in hexadecimal, value. The signing key in it was made for this file.
const ROWS_V1: &str = include_str!("golden/rows-v1.txt");

/// The tables of the stages, whose names the doubles need for as long as the program runs.
const TABLES: [&str; 11] = [
    "trail.config",
    "trail.cursor",
    "trail.delivered",
    "trail.digest_head",
    "trail.digest_reservation",
    "trail.lease",
    "trail.reservation",
    "trail.signing_key",
    "trail.status",
    "trail.undecodable",
    "trail.undecodable_unreported",
];

/// Two events and something that is none; the bucket refuses after the first.
async fn live(world: &mut World) {
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.bucket.refusing.lock().unwrap().insert("logs".to_owned(), "AccessDenied");
    world.record(&[HOME]).await;
    world.append(bytes::Bytes::from_static(b"?")).await;
    world.run_for(&process, DIGEST_S).await;
}

fn rows_of(world: &World) -> String {
    let rows = world.rows.rows.lock().unwrap();
    let line = |((table, key), value): (&(&'static str, Vec<u8>), &Vec<u8>)| {
        format!("{table} {} {}\n", hex::encode(key), String::from_utf8(value.clone()).unwrap())
    };
    rows.iter().map(line).collect()
}

fn golden() -> BTreeMap<(&'static str, Vec<u8>), Vec<u8>> {
    let row = |line: &'static str| {
        let mut parts = line.splitn(3, ' ');
        let name = parts.next().unwrap();
        let table = *TABLES.iter().find(|table| **table == name).unwrap();
        ((table, hex::decode(parts.next().unwrap()).unwrap()), parts.next().unwrap().as_bytes().to_vec())
    };
    ROWS_V1.lines().map(row).collect()
}

#[tokio::test]
async fn rows_are_written_as_ever() {
    let catalog = MemoryCatalog::default();
    let keys = golden().into_iter().filter(|((table, _), _)| *table == "trail.signing_key");
    catalog.rows.lock().unwrap().extend(keys);
    let mut world = World::on(catalog);
    live(&mut world).await;
    if std::env::var_os("CAIRN_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/rows-v1.txt");
        std::fs::write(path, rows_of(&world)).unwrap();
    }
    let tables: std::collections::BTreeSet<&str> = golden().keys().map(|(table, _)| *table).collect();
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), TABLES, "every table has a row");
    similar(&rows_of(&world), ROWS_V1);
}

fn similar(found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[tokio::test]
async fn golden_rows_are_taken_up_where_they_were_left() {
    let mut world = World::new();
    live(&mut world).await;
    *world.rows.rows.lock().unwrap() = golden();
    world.bucket.objects.lock().unwrap().clear();
    world.bucket.refusing.lock().unwrap().clear();
    world.run_for(&world.process(), 2 * DIGEST_S).await;
    assert_eq!(world.records("logs").len(), 1, "the event of the reservation");
    assert_eq!(world.digests("logs").len(), 3, "the digest that was reserved and its successors");
}

#[tokio::test]
async fn a_private_key_that_version_1_kept_in_clear_is_sealed_and_signs_as_before() {
    let world = World::new();
    *world.rows.rows.lock().unwrap() = golden();
    let clear = "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYw";
    assert!(rows_of(&world).contains(clear));
    let keys = world.keys();
    let at = cairn_core::Timestamp::from_millis(1_795_161_600_000);
    let before = keys.signer(&HOME.parse().unwrap(), at).await.unwrap();
    assert!(keys.seal_clear_keys().await.unwrap());
    assert!(!rows_of(&world).contains(clear));
    let after = keys.signer(&HOME.parse().unwrap(), at).await.unwrap();
    assert_eq!(Signer::fingerprint(&after), Signer::fingerprint(&before));
    assert!(!keys.seal_clear_keys().await.unwrap(), "nothing is left to seal");
}

#[tokio::test]
async fn a_damaged_row_stops_its_trail_with_an_error_and_no_other() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    world.put_logging(trail("other")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    for row in world.rows.rows.lock().unwrap().iter_mut() {
        if row.0.0 == "trail.cursor" && row.0.1.windows(5).any(|part| part == b"audit") {
            *row.1 = b"{\"v\":1,\"d\":{\"position\":".to_vec();
        }
    }
    world.record(&[HOME]).await;
    world.advance(DELIVERY_S);
    let error = world.process().delivery.run_once().await.unwrap_err();
    assert_eq!(error.to_string(), "the stage could not use the catalog");
}
