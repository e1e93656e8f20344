//! A catalog in memory, for tests that need one and do not test it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use cairn_store::Catalog;
use cairn_store::catalog::{CatalogBackend, CatalogError, Pair, Tx, Work};

/// An empty catalog in memory. Clones of it share what they hold, so one outlives the store that is opened on it.
#[must_use]
pub fn memory_catalog() -> Catalog {
    Catalog::new(MemoryBackend::default())
}

/// Table and key.
type Place = (&'static str, Vec<u8>);
type Rows = BTreeMap<Place, Vec<u8>>;

#[derive(Default)]
struct MemoryBackend(Mutex<Rows>);

#[async_trait]
impl CatalogBackend for MemoryBackend {
    async fn write(&self, work: Work) -> Result<(), CatalogError> {
        self.run(work, true)
    }

    async fn read(&self, work: Work) -> Result<(), CatalogError> {
        self.run(work, false)
    }
}

impl MemoryBackend {
    fn run(&self, mut work: Work, writable: bool) -> Result<(), CatalogError> {
        let mut rows = self.0.lock().expect("no panic while the rows are held");
        let mut tx = MemoryTx { rows: &mut rows, undo: Vec::new(), writable };
        if work(&mut tx).is_err() {
            tx.roll_back();
        }
        Ok(())
    }
}

/// A transaction: it changes the rows in place and remembers what was there.
struct MemoryTx<'a> {
    rows: &'a mut Rows,
    undo: Vec<(Place, Option<Vec<u8>>)>,
    writable: bool,
}

impl MemoryTx<'_> {
    fn set(&mut self, table: &'static str, key: &[u8], value: Option<&[u8]>) -> Result<bool, CatalogError> {
        if !self.writable {
            let source = "a read transaction cannot write".into();
            return Err(CatalogError::Database { action: "write", source });
        }
        let key = (table, key.to_vec());
        let before = match value {
            Some(value) => self.rows.insert(key.clone(), value.to_vec()),
            None => self.rows.remove(&key),
        };
        let was_there = before.is_some();
        self.undo.push((key, before));
        Ok(was_there)
    }

    fn roll_back(self) {
        for (key, before) in self.undo.into_iter().rev() {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl Tx for MemoryTx<'_> {
    fn get(&mut self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        self.set(table, key, Some(value)).map(|_| ())
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) -> Result<bool, CatalogError> {
        self.set(table, key, None)
    }

    fn scan(
        &mut self,
        table: &'static str,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, CatalogError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(Vec::new());
        }
        let start = Bound::Included((table, from.to_vec()));
        let end = until.map_or(Bound::Unbounded, |until| Bound::Excluded((table, until.to_vec())));
        let range = self.rows.range((start, end)).take_while(|((found, _), _)| *found == table);
        let pairs = range.map(|((_, key), value)| (key.clone(), value.clone()));
        if reverse {
            let mut pairs: Vec<Pair> = pairs.collect();
            pairs.reverse();
            pairs.truncate(limit);
            return Ok(pairs);
        }
        Ok(pairs.take(limit).collect())
    }
}
