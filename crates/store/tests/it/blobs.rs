//! What every blob store does, shown on the embedded one.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_store::blobs::{BlobError, FileBlobs};
use cairn_store::{BlobId, Blobs};
use cairn_testkit::SeededEntropy;
use prometheus::Registry;

fn open(dir: &Path) -> FileBlobs {
    FileBlobs::open(dir, Arc::new(SeededEntropy::new(7)), &Registry::new()).unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

async fn stored(blobs: &impl Blobs, whole: &[u8], piece_bytes: usize) -> BlobId {
    let mut writer = blobs.create().await.unwrap();
    for piece in whole.chunks(piece_bytes) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn range(blobs: &impl Blobs, id: &BlobId, offset: u64, length: u64) -> Result<Vec<u8>, BlobError> {
    let mut reader = blobs.read(id, offset, length).await?;
    let mut whole = Vec::new();
    while let Some(piece) = reader.next().await {
        let piece = piece?;
        assert!(!piece.is_empty() && piece.len() <= 256 << 10);
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

async fn what_is_written_comes_back(blobs: &impl Blobs) {
    for length in [0, 1, 1000, (256 << 10) - 1, 256 << 10, 700_000] {
        for piece_bytes in [999, 64 << 10, 1 << 20] {
            let whole = bytes(length);
            let id = stored(blobs, &whole, piece_bytes).await;
            assert_eq!(range(blobs, &id, 0, length as u64).await.unwrap(), whole);
        }
    }
}

async fn any_range_inside_can_be_read_and_none_outside(blobs: &impl Blobs) {
    let whole = bytes(600_000);
    let id = stored(blobs, &whole, 100_000).await;
    for (offset, length) in [(0, 0), (0, 1), (5, 300_000), (599_999, 1), (600_000, 0), (262_143, 2)] {
        let found = range(blobs, &id, offset, length).await.unwrap();
        assert_eq!(found, whole[offset as usize..(offset + length) as usize]);
    }
    for (offset, length) in [(0, 600_001), (600_001, 0), (1, u64::MAX), (u64::MAX, 1)] {
        let refused = range(blobs, &id, offset, length).await;
        assert!(matches!(refused, Err(BlobError::Io { .. })), "{refused:?}");
    }
}

async fn a_deleted_or_unknown_blob_is_missing(blobs: &impl Blobs) {
    let id = stored(blobs, b"x", 1).await;
    blobs.delete(&id).await.unwrap();
    blobs.delete(&id).await.unwrap();
    for id in [id, BlobId("0".repeat(32)), BlobId("../../../../etc/passwd".into()), BlobId(String::new())] {
        assert!(matches!(blobs.read(&id, 0, 0).await.err(), Some(BlobError::Missing(named)) if named == id));
        blobs.delete(&id).await.unwrap();
    }
}

#[tokio::test]
async fn the_embedded_blobs_conform() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    what_is_written_comes_back(&blobs).await;
    any_range_inside_can_be_read_and_none_outside(&blobs).await;
    a_deleted_or_unknown_blob_is_missing(&blobs).await;
}

fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let mut writer = blobs.create().await.unwrap();
    writer.write(bytes(300_000).into()).await.unwrap();
    assert_eq!(files_in(&dir.path().join("unfinished")), 1);
    drop(writer);
    assert_eq!(files_in(&dir.path().join("unfinished")), 0);
    assert_eq!(blobs.ids().count(), 0);
}

#[tokio::test]
async fn a_restart_removes_what_was_unfinished_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let id = stored(&open(dir.path()), b"kept", 4).await;
    std::fs::write(dir.path().join("unfinished/leftover"), b"half").unwrap();
    let blobs = open(dir.path());
    assert_eq!(files_in(&dir.path().join("unfinished")), 0);
    assert_eq!(range(&blobs, &id, 0, 4).await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_sweep_sees_every_finished_blob_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(stored(&blobs, &bytes(n), 10).await);
    }
    ids.sort();
    assert_eq!(blobs.ids().collect::<Result<Vec<_>, _>>().unwrap(), ids);
}
