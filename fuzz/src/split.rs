//! The splitter of ingested bodies: any bytes, cut anywhere, have the same records.
//!
//! The first two bytes say how long the pieces are; the rest is the body.

use cairn_core::record::RECORD_SIZE_BYTES_MAX;
use cairn_trail::ingest::split::{Found, Malformed, Splitter};

/// What a splitter found, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    records: Vec<Result<Vec<u8>, usize>>,
    end: Result<(), Malformed>,
}

/// One body, whole, in pieces, and byte by byte.
///
/// # Panics
/// Where the pieces matter, or a record is not as the splitter promises it.
pub fn run(data: &[u8]) {
    let [first, more, body @ ..] = data else { return };
    let whole = split(body, [body.len().max(1); 2]);
    assert_eq!(whole, split(body, [usize::from(*first) + 1, usize::from(*more) + 1]), "the pieces matter");
    assert_eq!(whole, split(body, [1, 1]), "the pieces matter");
    for record in &whole.records {
        match record {
            Ok(json) => {
                assert!(!json.is_empty() && json.len() <= RECORD_SIZE_BYTES_MAX);
                assert_eq!(json.trim_ascii(), json.as_slice());
                assert!(body.windows(json.len()).any(|window| window == json), "a record that was not sent");
            }
            Err(size_bytes) => assert!(*size_bytes > RECORD_SIZE_BYTES_MAX),
        }
    }
    if let Ok(serde_json::Value::Object(document)) = serde_json::from_slice(body)
        && let [(name, serde_json::Value::Array(records))] = document.iter().collect::<Vec<_>>()[..]
        && name == "Records"
        && whole.end.is_ok()
        && whole.records.len() != 1
    {
        assert_eq!(whole.records.len(), records.len(), "not the records of the document");
    }
}

fn split(body: &[u8], sizes: [usize; 2]) -> Outcome {
    let mut records = Vec::new();
    let mut each = |found: Found<'_>| {
        records.push(match found {
            Found::Record { json } => Ok(json.to_vec()),
            Found::TooLarge { size_bytes } => Err(size_bytes),
        });
    };
    let mut splitter = Splitter::default();
    let mut rest = body;
    for size in sizes.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        if let Err(end) = splitter.push(piece, &mut each) {
            return Outcome { records, end: Err(end) };
        }
        rest = after;
    }
    let end = splitter.finish(&mut each);
    Outcome { records, end }
}
