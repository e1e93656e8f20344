//! What is sent for a subscription filter: lines of one stream as JSON, compressed with gzip.

use std::collections::BTreeMap;

use libdeflater::{CompressionLvl, Compressor};
use serde::Serialize;

use crate::logs::error::{Failure, internal};

/// AWS compresses so.
const GZIP_LEVEL: i32 = 6;
/// The most that a stream's record or a function's event takes, compressed: AWS's limit on a record of a delivery stream,
/// and, in base64 with what is around it, on the event of an invocation.
const RECORD_SIZE_BYTES_MAX: usize = 1000 * 1024;
const PAYLOAD_SIZE_BYTES_MAX: usize = 180 * 1024;

/// A line that is sent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::logs) struct SentLine {
    pub(in crate::logs) id: String,
    pub(in crate::logs) timestamp: i64,
    pub(in crate::logs) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::logs) extracted_fields: Option<BTreeMap<String, String>>,
}

/// Lines with where they come from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::logs) struct Envelope<'a> {
    pub(in crate::logs) message_type: &'static str,
    pub(in crate::logs) owner: &'a str,
    pub(in crate::logs) log_group: &'a str,
    pub(in crate::logs) log_stream: &'a str,
    pub(in crate::logs) subscription_filters: Vec<&'a str>,
    #[serde(skip)]
    pub(in crate::logs) lines: &'a [SentLine],
}

/// Lines as they are sent.
#[derive(Debug, Default)]
pub(in crate::logs) struct Packed {
    /// Compressed texts, each with how many lines it has.
    pub(in crate::logs) parcels: Vec<(Vec<u8>, usize)>,
    /// Lines that are too large for any.
    pub(in crate::logs) too_large: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(flatten)]
    envelope: &'a Envelope<'a>,
    log_events: &'a [SentLine],
}

impl Envelope<'_> {
    /// Packs the lines into as many parcels as are needed for each to be small enough for a function or a stream.
    pub(in crate::logs) fn pack(&self, for_function: bool) -> Result<Packed, Failure> {
        let limit = if for_function { PAYLOAD_SIZE_BYTES_MAX } else { RECORD_SIZE_BYTES_MAX };
        let mut waiting = vec![self.lines];
        let mut packed = Packed::default();
        while let Some(lines) = waiting.pop() {
            let compressed = self.compressed(lines)?;
            if compressed.len() <= limit {
                packed.parcels.push((compressed, lines.len()));
            } else if lines.len() > 1 {
                let (first, second) = lines.split_at(lines.len() / 2);
                waiting.extend([second, first]);
            } else {
                packed.too_large += 1;
            }
        }
        Ok(packed)
    }

    fn compressed(&self, lines: &[SentLine]) -> Result<Vec<u8>, Failure> {
        let text = serde_json::to_vec(&Whole { envelope: self, log_events: lines }).map_err(internal)?;
        gzip(&text)
    }
}

fn gzip(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let level = CompressionLvl::new(GZIP_LEVEL).map_err(|_| internal("there is no such level"))?;
    let mut compressor = Compressor::new(level);
    let mut compressed = vec![0; compressor.gzip_compress_bound(text.len())];
    let length = compressor.gzip_compress(text, &mut compressed).map_err(internal)?;
    compressed.truncate(length);
    Ok(compressed)
}

/// A function's event, around what is compressed.
pub(super) fn function_event(base64: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Event<'a> {
        awslogs: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        data: &'a str,
    }
    serde_json::to_vec(&Event { awslogs: Data { data: base64 } }).unwrap_or_default()
}
