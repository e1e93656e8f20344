//! Events: what is taken as one can be read by every stage.

use bytes::Bytes;
use cairn_core::record::resources::{RESOURCE_NAME_BYTES_MAX, RESOURCES_MAX, lookup_resources};
use cairn_core::selector::EventSelection;
use cairn_core::{AccountId, Record};
use cairn_trail::ingest::check::{RECORD_DEPTH_MAX, check};
use cairn_trail::ingest::split::depth_of;

use crate::selectors::examples;

/// One text that may be an event.
///
/// # Panics
/// Where a record that was taken cannot be read, or its resources are not as promised.
pub fn run(data: &[u8]) {
    let json = Bytes::copy_from_slice(data);
    let account: AccountId = "123456789012".parse().expect("an account");
    let checked = check(data, &account);
    if let Err(refusal) = &checked {
        assert!(!refusal.message.is_empty() && !refusal.code.is_empty());
    }
    let record = match Record::from_json(json.clone()) {
        Ok(record) => record,
        Err(error) => {
            assert!(checked.is_err(), "ingest takes what no stage can read: {error}");
            return;
        }
    };
    assert_eq!(*record.json(), json, "the bytes are the sender's");
    // A log file is one text: what is wrong in one record is wrong for all of its readers.
    assert!(std::str::from_utf8(data).is_ok(), "a record that is no text was taken");
    let facts = record.facts().expect("a record has facts");
    if checked.is_ok() {
        assert_eq!(facts.account().as_ref(), Some(&account));
        assert!(depth_of(data) <= RECORD_DEPTH_MAX);
    }
    let time = facts.time().expect("a record has a time");
    assert!(time.iso().len() >= 20);
    let _ = (facts.username(), facts.category());
    let resources = lookup_resources(&facts);
    assert!(resources.len() <= RESOURCES_MAX);
    for (at, resource) in resources.iter().enumerate() {
        assert!(!resource.name.is_empty() && resource.name.len() <= RESOURCE_NAME_BYTES_MAX);
        assert!(!resources[..at].contains(resource), "{resource:?} twice");
    }
    let taken = |selection: &EventSelection| selection.matches(&facts);
    for selection in examples() {
        assert_eq!(taken(&selection), taken(&selection.sorted()), "the order of conditions matters");
    }
}
