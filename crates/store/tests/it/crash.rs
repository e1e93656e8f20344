//! A process killed while it writes loses nothing that it acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::log::SegmentLog;
use cairn_store::{Catalog, CatalogError, EventLog, LogPosition};
use prometheus::Registry;

use crate::log::{entry, expected, read_all, small_segments};

/// Tells the test binary, started again, where to write.
const DIRECTORY: &str = "CAIRN_CRASH_TEST_DIRECTORY";
/// How many acknowledgements the child may give before it is killed; one number a round.
const KILLED_AFTER: [usize; 5] = [1, 3, 40, 150, 700];

/// Writes until it is killed, and says what was acknowledged, one number a line: `log` positions, `catalog` keys.
async fn write_until_killed(dir: &Path) {
    let log = SegmentLog::open(&dir.join("log"), small_segments(), &Registry::new()).unwrap();
    let catalog = Catalog::new(SqliteCatalog::open(&dir.join("catalog"), &Registry::new()).unwrap());
    for n in log.end().0.. {
        let appended = log.append(vec![entry(n)]).await.unwrap();
        catalog.write(move |tx| tx.put("t", &n.to_be_bytes(), b"v")).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acked {}", appended.0).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
#[ignore = "the child of the next test"]
async fn child() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        write_until_killed(Path::new(&dir)).await;
    }
}

#[tokio::test]
async fn a_killed_process_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for acknowledgements in KILLED_AFTER {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::child", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acked =
            lines.filter_map(|line| line.split_once("acked ").map(|(_, n)| n.parse::<u64>().unwrap()));
        let acked: Vec<u64> = acked.take(acknowledgements).collect();
        let last = *acked.last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let log = SegmentLog::open(&dir.path().join("log"), small_segments(), &Registry::new());
        let log = log.unwrap();
        assert!(log.end() > LogPosition(last), "{:?} after {last}", log.end());
        assert_eq!(read_all(&log, 0).await.unwrap(), expected(0..log.end().0));
        let catalog =
            Catalog::new(SqliteCatalog::open(&dir.path().join("catalog"), &Registry::new()).unwrap());
        let lost: Result<Vec<u64>, CatalogError> = catalog
            .read(move |tx| {
                let mut lost = acked.clone();
                let found = tx.scan("t", b"", None, usize::MAX, false)?;
                lost.retain(|n| found.binary_search_by(|(key, _)| key[..].cmp(&n.to_be_bytes())).is_err());
                Ok(lost)
            })
            .await;
        assert_eq!(lost.unwrap(), Vec::<u64>::new());
    }
}
