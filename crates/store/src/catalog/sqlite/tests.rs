//! Groups of transactions whose commit fails: a full disk, a transaction that is lost.

use tempfile::TempDir;

use super::super::Rollback;
use super::*;

/// A writer on a fresh file, run by hand.
fn writer() -> (TempDir, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = connect(&dir.path().join("c"), access).unwrap();
    prepare_writer(&connection).unwrap();
    prepare_schema(&connection).unwrap();
    let registry = Registry::new();
    let writer = Writer {
        connection,
        queue_depth: metrics::gauge(&registry, "depth", "Depth."),
        transactions: metrics::counter(&registry, "transactions", "Transactions."),
        group: metrics::sizes(&registry, "group", "Group.", 2.0, 4),
        commit_seconds: metrics::seconds(&registry, "commit", "Commit."),
    };
    (dir, writer)
}

/// Runs `works` as one group and returns their answers.
fn run(writer: &Writer, works: Vec<Work>) -> Vec<Result<(), CatalogError>> {
    let (jobs, answers): (Vec<_>, Vec<_>) = works
        .into_iter()
        .map(|work| {
            let (answer, answered) = oneshot::channel();
            (Job { work, answer }, answered)
        })
        .unzip();
    writer.run_group(jobs);
    answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
}

/// Puts a value of `size_bytes`; rolls back where that fails.
fn put(key: u8, size_bytes: usize) -> Work {
    Box::new(move |tx| tx.put("t", &[key], &vec![7; size_bytes]).map_err(|_| Rollback))
}

fn keys(writer: &Writer) -> Vec<u8> {
    let pairs = scan(&writer.connection, "t", (b"", None), i64::MAX, false).unwrap();
    pairs.into_iter().map(|(key, _)| key[0]).collect()
}

#[test]
fn a_transaction_that_finds_the_disk_full_leaves_nothing_and_the_writer_goes_on() {
    let (_dir, writer) = writer();
    writer.connection.pragma_update_and_check(None, "max_page_count", 20, |_| Ok(())).unwrap();
    let answers = run(&writer, vec![put(1, 10), put(2, 1 << 20)]);
    let kept = keys(&writer);
    // Whether SQLite gave up the statement or the whole transaction, what was answered with Ok is there.
    assert_eq!(kept, if answers[0].is_ok() { vec![1] } else { vec![] });
    assert!(run(&writer, vec![put(3, 10)])[0].is_ok());
    assert!(keys(&writer).contains(&3));
}

#[test]
fn a_work_that_overlooks_a_failed_statement_is_not_committed() {
    let (_dir, writer) = writer();
    writer.connection.pragma_update_and_check(None, "max_page_count", 20, |_| Ok(())).unwrap();
    let careless: Work = Box::new(|tx| {
        tx.put("t", &[1], b"first").map_err(|_| Rollback)?;
        let _overlooked = tx.put("t", &[2], &vec![7; 1 << 20]);
        Ok(())
    });
    assert!(run(&writer, vec![careless])[0].is_err());
    assert!(keys(&writer).is_empty());
}

#[test]
fn where_the_group_is_lost_all_of_it_fails_even_what_was_rolled_back() {
    let (_dir, writer) = writer();
    // Stands for SQLite's own rollback after a failed write: the transaction is gone before the group ends.
    writer
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER lost AFTER INSERT ON main.kv WHEN new.key = x'09'
        BEGIN SELECT RAISE(ROLLBACK, 'the disk is gone'); END",
        )
        .unwrap();
    let rolled_back: Work = Box::new(|_| Err(Rollback));
    let answers = run(&writer, vec![put(1, 10), rolled_back, put(9, 10), put(2, 10)]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert!(keys(&writer).is_empty());
    assert!(run(&writer, vec![put(3, 10)])[0].is_ok());
    assert_eq!(keys(&writer), vec![3]);
}

#[test]
fn a_catalog_locked_by_another_process_fails_the_group_after_the_timeout() {
    let (dir, writer) = writer();
    writer.connection.busy_timeout(Duration::from_millis(50)).unwrap();
    let other = Connection::open(dir.path().join("c")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers = run(&writer, vec![put(1, 10), put(2, 10)]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(run(&writer, vec![put(3, 10)])[0].is_ok());
    assert_eq!(keys(&writer), vec![3]);
}
