//! What all batch calls have in common: which entries there may be, and how each one's outcome is told.

use std::collections::HashSet;

use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, fail};

/// The most entries of a batch.
const ENTRIES_MAX: usize = 10;
/// The longest id of an entry.
const ID_CHARS_MAX: usize = 80;

/// An entry of a batch.
pub(super) trait Entry {
    /// Its id.
    fn id(&self) -> &str;
}

/// The part that all batch calls have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<E> {
    pub(super) queue_url: String,
    #[serde(default = "Vec::new")]
    pub(super) entries: Vec<E>,
}

impl<E: Entry> Batch<E> {
    /// Refuses a batch whose entries cannot be told apart, or that has too many or none. `kind` is the name of the entries'
    /// shape.
    pub(super) fn check(&self, kind: &str) -> Result<(), Failure> {
        if self.entries.is_empty() {
            let message = format!("There should be at least one {kind} in the request.");
            return Err(fail("EmptyBatchRequest", message));
        }
        if self.entries.len() > ENTRIES_MAX {
            return Err(fail(
                "TooManyEntriesInBatchRequest",
                format!(
                    "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.",
                    self.entries.len()
                ),
            ));
        }
        let mut ids = HashSet::new();
        for id in self.entries.iter().map(Entry::id) {
            if !is_id(id) {
                return Err(fail(
                    "InvalidBatchEntryId",
                    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at \
                     most 80 letters long.",
                ));
            }
            if !ids.insert(id) {
                return Err(fail("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
            }
        }
        Ok(())
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What became of the entries.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

impl Outcomes {
    /// Adds an entry's outcome; of one that succeeded what else its reply says.
    pub(super) fn add(&mut self, id: &str, outcome: Result<Value, Failure>) {
        match outcome {
            Ok(mut entry) => {
                if !entry.is_object() {
                    entry = json!({});
                }
                entry["Id"] = id.into();
                self.successful.push(entry);
            }
            Err(failure) => {
                let error = AwsError::from(failure);
                let is_senders = error.status < 500;
                self.failed.push(json!({
                    "Id": id, "SenderFault": is_senders, "Code": query_code(&error.code), "Message": error.message,
                }));
            }
        }
    }

    /// The reply. Like AWS's it has no member for what did not happen.
    pub(super) fn reply(self) -> Value {
        let mut reply = json!({});
        if !self.successful.is_empty() {
            reply["Successful"] = self.successful.into();
        }
        if !self.failed.is_empty() {
            reply["Failed"] = self.failed.into();
        }
        reply
    }
}

/// Entries' codes are those of the older protocol, whichever the call came in.
fn query_code(code: &str) -> &str {
    match code {
        "InvalidParameterValueException" => "InvalidParameterValue",
        "MissingRequiredParameterException" => "MissingParameter",
        "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(String);

    impl Entry for Named {
        fn id(&self) -> &str {
            &self.0
        }
    }

    fn check(ids: &[&str], expected: &str) {
        let entries = ids.iter().map(|id| Named((*id).to_owned())).collect();
        let found = match (Batch { queue_url: String::new(), entries }).check("SendMessageBatchRequestEntry")
        {
            Ok(()) => String::new(),
            Err(failure) => AwsError::from(failure).to_string(),
        };
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{ids:?}: {found}");
    }

    #[test]
    fn the_entries_of_a_batch_are_few_and_can_be_told_apart() {
        check(&["a", "b-1_C"], "");
        check(
            &[],
            "EmptyBatchRequest: There should be at least one SendMessageBatchRequestEntry in the request.",
        );
        check(
            &["a"; 11],
            "TooManyEntriesInBatchRequest: Maximum number of entries per request are 10. You have sent 11.",
        );
        check(&["a", "a"], "BatchEntryIdsNotDistinct: Id a repeated.");
        for id in ["", "a:b", &"a".repeat(81)] {
            check(&[id], "InvalidBatchEntryId: A batch entry id can only contain");
        }
    }
}
