//! What every catalog does, shown on the embedded one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::catalog::{CatalogError, Pair, Table};
use cairn_store::{Catalog, Tx};
use prometheus::Registry;
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Debug)]
enum Failure {
    Wanted,
    #[allow(dead_code, reason = "read by Debug where an assertion fails")]
    Catalog(CatalogError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

fn open(path: &Path) -> SqliteCatalog {
    SqliteCatalog::open(path, &Registry::new()).unwrap()
}

fn fresh() -> (TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(open(&dir.path().join("catalog.sqlite")));
    (dir, catalog)
}

async fn all(catalog: &Catalog, table: &'static str) -> Vec<Pair> {
    catalog.read(move |tx| tx.scan(table, b"", None, usize::MAX, false)).await.unwrap()
}

async fn a_transaction_sees_its_own_writes_and_leaves_nothing_when_it_fails(catalog: &Catalog) {
    let failed: Result<(), Failure> = catalog
        .write(|tx| {
            tx.put("a", b"k", b"1")?;
            assert_eq!(tx.get("a", b"k")?, Some(b"1".to_vec()));
            tx.put("a", b"k", b"2")?;
            assert_eq!(tx.scan("a", b"", None, 9, false)?, vec![(b"k".to_vec(), b"2".to_vec())]);
            assert!(tx.delete("a", b"k")?);
            assert!(!tx.delete("a", b"k")?);
            tx.put("a", b"k", b"3")?;
            Err(Failure::Wanted)
        })
        .await;
    assert!(matches!(failed, Err(Failure::Wanted)), "{failed:?}");
    assert_eq!(all(catalog, "a").await, vec![]);
}

async fn tables_do_not_see_one_another(catalog: &Catalog) {
    let written: Result<(), CatalogError> = catalog
        .write(|tx| {
            tx.put("t", b"k", b"1")?;
            tx.put("tt", b"k", b"2")
        })
        .await;
    written.unwrap();
    assert_eq!(all(catalog, "t").await, vec![(b"k".to_vec(), b"1".to_vec())]);
    assert_eq!(all(catalog, "tt").await, vec![(b"k".to_vec(), b"2".to_vec())]);
}

async fn a_read_refuses_to_write(catalog: &Catalog) {
    let refused: Result<(), CatalogError> = catalog.read(|tx| tx.put("r", b"k", b"1")).await;
    assert!(matches!(refused, Err(CatalogError::Database { action: "write", .. })), "{refused:?}");
    let refused: Result<bool, CatalogError> = catalog.read(|tx| tx.delete("r", b"k")).await;
    assert!(refused.is_err());
    assert_eq!(all(catalog, "r").await, vec![]);
}

async fn concurrent_transactions_are_serialisable(catalog: &Catalog) {
    const COUNTER: Table<u64> = Table::new("counter", 1);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200_u64 {
        let catalog = catalog.clone();
        tasks.spawn(async move {
            let outcome: Result<u64, Failure> = catalog
                .write(move |tx| {
                    let count = COUNTER.get(tx, b"n")?.unwrap_or(0) + 1;
                    COUNTER.put(tx, b"n", &count)?;
                    if n % 4 == 0 { Err(Failure::Wanted) } else { Ok(count) }
                })
                .await;
            outcome.ok()
        });
    }
    let mut counts: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=150).collect::<Vec<_>>());
}

async fn a_panic_in_a_transaction_is_an_error_and_only_its_own(catalog: &Catalog) {
    let panicked: Result<(), CatalogError> = catalog
        .write(|tx| {
            tx.put("p", b"k", b"1")?;
            panic!("on purpose")
        })
        .await;
    assert!(panicked.is_err());
    let panicked: Result<(), CatalogError> = catalog.read(|_| panic!("on purpose")).await;
    assert!(panicked.is_err());
    assert_eq!(all(catalog, "p").await, vec![]);
}

async fn conforms(catalog: Catalog) {
    a_transaction_sees_its_own_writes_and_leaves_nothing_when_it_fails(&catalog).await;
    tables_do_not_see_one_another(&catalog).await;
    a_read_refuses_to_write(&catalog).await;
    concurrent_transactions_are_serialisable(&catalog).await;
    a_panic_in_a_transaction_is_an_error_and_only_its_own(&catalog).await;
}

#[tokio::test]
async fn the_embedded_catalog_conforms() {
    let (_dir, catalog) = fresh();
    conforms(catalog).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_keeps_its_snapshot_while_others_write() {
    let (_dir, catalog) = fresh();
    let put = |value: &'static [u8]| {
        let catalog = catalog.clone();
        async move { catalog.write(move |tx| tx.put("s", b"k", value)).await }
    };
    put(b"old").await.unwrap();
    let (seen, first_seen) = std::sync::mpsc::channel();
    let (go, gone_on) = std::sync::mpsc::channel();
    let reading = tokio::spawn({
        let catalog = catalog.clone();
        async move {
            catalog
                .read(move |tx| {
                    let before = tx.get("s", b"k")?;
                    seen.send(()).unwrap();
                    gone_on.recv().unwrap();
                    Ok::<_, CatalogError>((before, tx.get("s", b"k")?))
                })
                .await
        }
    });
    tokio::task::spawn_blocking(move || first_seen.recv().unwrap()).await.unwrap();
    put(b"new").await.unwrap();
    go.send(()).unwrap();
    let old = Some(b"old".to_vec());
    assert_eq!(reading.await.unwrap().unwrap(), (old.clone(), old));
    assert_eq!(all(&catalog, "s").await, vec![(b"k".to_vec(), b"new".to_vec())]);
}

#[tokio::test]
async fn what_was_committed_survives_a_restart_and_a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let catalog = Catalog::new(open(&path));
    catalog.write(|tx| tx.put("t", b"k", b"v")).await.unwrap();
    drop(catalog);
    let catalog = Catalog::new(open(&path));
    assert_eq!(all(&catalog, "t").await, vec![(b"k".to_vec(), b"v".to_vec())]);
    drop(catalog);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let refused = SqliteCatalog::open(&path, &Registry::new()).err();
    assert!(matches!(refused, Some(CatalogError::Version { found: 2, known: 1, .. })), "{refused:?}");
}

#[tokio::test]
async fn many_writers_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let catalog = Catalog::new(SqliteCatalog::open(&dir.path().join("c"), &registry).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..300_u32 {
        let catalog = catalog.clone();
        tasks
            .spawn(async move { catalog.write(move |tx| tx.put("m", &n.to_be_bytes(), b"")).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(all(&catalog, "m").await.len(), 300);
    let groups =
        registry.gather().into_iter().find(|f| f.name() == "cairn_catalog_group_transactions").unwrap();
    assert!(groups.get_metric()[0].get_histogram().get_sample_count() < 150);
}

#[tokio::test]
async fn a_file_that_is_no_catalog_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    std::fs::write(&path, "this is not a database, and long enough to be looked at as one").unwrap();
    assert!(matches!(
        SqliteCatalog::open(&path, &Registry::new()).err(),
        Some(CatalogError::Database { .. })
    ));
}

/// One step of the model test.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Scan { from: Vec<u8>, until: Option<Vec<u8>>, limit: usize, reverse: bool },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(254), Just(255)], 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Step::Put(key, value)),
        1 => key().prop_map(Step::Delete),
        2 => (key(), prop::option::of(key()), 0_usize..6, any::<bool>())
            .prop_map(|(from, until, limit, reverse)| Step::Scan { from, until, limit, reverse }),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn scan_model(model: &Model, from: &[u8], until: Option<&[u8]>, limit: usize, reverse: bool) -> Vec<Pair> {
    let inside = |key: &[u8]| key >= from && until.is_none_or(|until| key < until);
    let mut pairs: Vec<Pair> = model
        .iter()
        .filter(|(key, _)| inside(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if reverse {
        pairs.reverse();
    }
    pairs.truncate(limit);
    pairs
}

fn apply(tx: &mut dyn Tx, model: &mut Model, step: Step) -> Result<(), CatalogError> {
    match step {
        Step::Put(key, value) => {
            tx.put("model", &key, &value)?;
            model.insert(key, value);
        }
        Step::Delete(key) => assert_eq!(tx.delete("model", &key)?, model.remove(&key).is_some()),
        Step::Scan { from, until, limit, reverse } => {
            let found = tx.scan("model", &from, until.as_deref(), limit, reverse)?;
            assert_eq!(found, scan_model(model, &from, until.as_deref(), limit, reverse));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_catalog_behaves_as_a_sorted_map(
        transactions in prop::collection::vec((prop::collection::vec(step(), 0..12), any::<bool>()), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_dir, catalog) = fresh();
        let model = Arc::new(std::sync::Mutex::new(Model::new()));
        for (steps, keep) in transactions {
            let shared = Arc::clone(&model);
            let outcome: Result<(), Failure> = runtime.block_on(catalog.write(move |tx| {
                let mut mine = shared.lock().unwrap().clone();
                for step in steps.clone() {
                    apply(tx, &mut mine, step)?;
                }
                if !keep {
                    return Err(Failure::Wanted);
                }
                *shared.lock().unwrap() = mine;
                Ok(())
            }));
            prop_assert_eq!(outcome.is_ok(), keep, "{:?}", outcome);
        }
        let expected: Vec<Pair> = model.lock().unwrap().clone().into_iter().collect();
        prop_assert_eq!(runtime.block_on(all(&catalog, "model")), expected);
    }
}
