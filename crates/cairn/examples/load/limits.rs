//! What the machine can do, with the libraries that the server uses: every figure of the server is shown beside these.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use libdeflater::{CompressionLvl, Compressor};
use rustix::fs::{FallocateFlags, fallocate};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::records::Maker;
use super::{Failure, Settings, now, quantile_ms};

/// How long each limit is measured.
const SPAN: Duration = Duration::from_secs(1);
/// The size of the file that is written to, as that of a segment of the log.
const FILE_BYTES: u64 = 64 << 20;
/// What one recorded call writes at least.
const SMALL_WRITE_BYTES: usize = 4 << 10;
/// What a busy log writes at once.
const LARGE_WRITE_BYTES: usize = 1 << 20;
/// Records that are hashed, compressed and parsed.
const RECORDS: u64 = 4000;
/// The level of log files.
const GZIP_LEVEL: i32 = 6;

/// Times of writes of `size_bytes` with an fdatasync each, into room that was set aside.
fn synced_writes(file: &File, size_bytes: usize) -> Result<Vec<Duration>, Failure> {
    let bytes = vec![b'x'; size_bytes];
    let (begun, mut times, mut offset) = (now(), Vec::new(), 0);
    while begun.elapsed() < SPAN {
        let start = now();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        times.push(start.elapsed());
        offset = (offset + size_bytes as u64) % FILE_BYTES;
    }
    times.sort_unstable();
    Ok(times)
}

/// MB a second of `work` on `bytes`.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let (begun, mut rounds) = (now(), 0);
    while begun.elapsed() < SPAN {
        work();
        rounds += 1;
    }
    (bytes as f64 * f64::from(rounds) / begun.elapsed().as_secs_f64() / 1e6).round()
}

/// Measures all of them, in a file in `dir`.
pub(super) fn run(settings: &Settings) -> Result<Value, Failure> {
    let path = Path::new(settings.text("dir")?).join("limits");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
    file.sync_all()?;
    // The first pass over the room is as the log's: each part is written once.
    let small = synced_writes(&file, SMALL_WRITE_BYTES)?;
    let large = synced_writes(&file, LARGE_WRITE_BYTES)?;
    std::fs::remove_file(&path)?;
    let total = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
    let maker = Maker::new("123456789012", "2026-11-20T12:00:00Z", 0);
    let records: Vec<_> = (0..RECORDS).map(|number| maker.record(number)).collect();
    let body = records.join("\n").into_bytes();
    let mut compressor =
        Compressor::new(CompressionLvl::new(GZIP_LEVEL).expect("a level that libdeflate has"));
    let mut compressed = vec![0; compressor.gzip_compress_bound(body.len())];
    let gzip = rate(body.len(), || {
        compressor.gzip_compress(&body, &mut compressed).expect("the bound is enough");
    });
    let sha256 = rate(body.len(), || {
        std::hint::black_box(digest(&SHA256, &body));
    });
    let json = rate(body.len(), || {
        for record in &records {
            serde_json::from_str::<IgnoredAny>(record).expect("a record is JSON");
        }
    });
    Ok(json!({
        "record_bytes": body.len() as u64 / RECORDS,
        "fdatasyncs_per_second": (small.len() as f64 / total(&small)).round(),
        "fdatasync_p50_ms": quantile_ms(&small, 0.5),
        "fdatasync_p99_ms": quantile_ms(&small, 0.99),
        "write_mb_per_second": ((large.len() * LARGE_WRITE_BYTES) as f64 / total(&large) / 1e6).round(),
        "gzip_mb_per_second": gzip,
        "sha256_mb_per_second": sha256,
        "json_mb_per_second": json,
    }))
}
