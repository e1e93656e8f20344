//! The catalog: configuration, cursors, reservations and object metadata in ordered tables with serialisable,
//! durable transactions.
//!
//! It is a sorted map of byte keys per table. That is the smallest interface that gives ListObjects its byte order,
//! cursors their fencing and both SQLite and PostgreSQL the same five statements.

pub mod sqlite;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why the catalog could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database refused or failed.
    #[error("the catalog could not {action}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored value is not what its table holds.
    #[error("a value of table {table} cannot be read")]
    Decode {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored value has a version that this program does not know.
    #[error("a value of table {table} has version {found}, newer than {known}")]
    Version {
        /// The table.
        table: &'static str,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
}

/// One pair of a scan: key, value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What a transaction can do. Keys are ordered as bytes. A transaction sees its own writes.
pub trait Tx {
    /// The value at `key`.
    fn get(&mut self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError>;

    /// Sets the value at `key`.
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), CatalogError>;

    /// Removes `key`; says whether it was there.
    fn delete(&mut self, table: &'static str, key: &[u8]) -> Result<bool, CatalogError>;

    /// Up to `limit` pairs with `from <= key` and, where `until` is given, `key < until`, in ascending order, or in
    /// descending order with `reverse`.
    fn scan(
        &mut self,
        table: &'static str,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, CatalogError>;
}

/// The mark of a transaction that is to leave no trace; the reason travels beside it.
#[derive(Debug)]
pub struct Rollback;

/// The work of one transaction. It may run more than once, where the database asks for a retry.
pub type Work = Box<dyn FnMut(&mut dyn Tx) -> Result<(), Rollback> + Send>;

/// A database that can run transactions. Embedded: SQLite.
#[async_trait]
pub trait CatalogBackend: Send + Sync + 'static {
    /// Runs `work` alone, and makes what it wrote durable before returning; nothing is kept on [`Rollback`].
    async fn write(&self, work: Work) -> Result<(), CatalogError>;

    /// Runs `work` on a consistent snapshot; what it writes is refused.
    async fn read(&self, work: Work) -> Result<(), CatalogError>;

    /// Wipes what was overwritten and deleted so far from wherever it is kept. Nothing to do where it is kept nowhere.
    async fn scrub(&self) -> Result<(), CatalogError> {
        Ok(())
    }
}

/// A handle to the catalog, cheap to clone.
#[derive(Clone)]
pub struct Catalog(Arc<dyn CatalogBackend>);

impl Catalog {
    /// A catalog on `backend`.
    pub fn new(backend: impl CatalogBackend) -> Self {
        Self(Arc::new(backend))
    }

    /// Runs `work` in a serialisable transaction. An error from `work` rolls back and is returned.
    ///
    /// # Errors
    /// What `work` returned, or the database's own failure.
    pub async fn write<T, E>(
        &self,
        work: impl FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let outcome = Outcome::default();
        let committed = self.0.write(outcome.capture(work)).await;
        outcome.take(committed)
    }

    /// Runs `work` on a consistent snapshot.
    ///
    /// # Errors
    /// What `work` returned, or the database's own failure.
    pub async fn read<T, E>(
        &self,
        work: impl FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let outcome = Outcome::default();
        let finished = self.0.read(outcome.capture(work)).await;
        outcome.take(finished)
    }

    /// Wipes what was overwritten and deleted so far: secrets, once they are sealed.
    ///
    /// # Errors
    /// The database's own failure.
    pub async fn scrub(&self) -> Result<(), CatalogError> {
        self.0.scrub().await
    }
}

/// Carries a transaction's result past the backend, which does not know its type.
struct Outcome<T, E>(Arc<Mutex<Option<Result<T, E>>>>);

impl<T, E> Default for Outcome<T, E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + 'static, E: From<CatalogError> + Send + 'static> Outcome<T, E> {
    fn capture(&self, mut work: impl FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static) -> Work {
        let slot = Arc::clone(&self.0);
        Box::new(move |tx| {
            let result = work(tx);
            let mark = if result.is_ok() { Ok(()) } else { Err(Rollback) };
            *slot.lock().expect("no panic while the slot is held") = Some(result);
            mark
        })
    }

    fn take(self, finished: Result<(), CatalogError>) -> Result<T, E> {
        finished?;
        let mut slot = self.0.lock().expect("no panic while the slot is held");
        slot.take().expect("a finished transaction ran its work")
    }
}

/// One table of the catalog: its name, the version of its values, and their type, kept as versioned JSON.
pub struct Table<V> {
    name: &'static str,
    version: u32,
    value: PhantomData<fn() -> V>,
}

/// A value as it is stored: `{"v":1,"d":…}`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Versioned<D> {
    v: u32,
    d: D,
}

impl<V: Serialize + DeserializeOwned> Table<V> {
    /// The table `name`, whose values are written at `version`.
    #[must_use]
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version, value: PhantomData }
    }

    /// The value at `key`.
    ///
    /// # Errors
    /// The database's failure, or a value that cannot be read.
    pub fn get(&self, tx: &mut dyn Tx, key: &[u8]) -> Result<Option<V>, CatalogError> {
        tx.get(self.name, key)?.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// Sets the value at `key`.
    ///
    /// # Errors
    /// The database's failure.
    pub fn put(&self, tx: &mut dyn Tx, key: &[u8], value: &V) -> Result<(), CatalogError> {
        let bytes = serde_json::to_vec(&Versioned { v: self.version, d: value })
            .map_err(|source| CatalogError::Decode { table: self.name, source: source.into() })?;
        tx.put(self.name, key, &bytes)
    }

    /// Removes `key`; says whether it was there.
    ///
    /// # Errors
    /// The database's failure.
    pub fn delete(&self, tx: &mut dyn Tx, key: &[u8]) -> Result<bool, CatalogError> {
        tx.delete(self.name, key)
    }

    /// Up to `limit` pairs from `from` on (and below `until`), ascending.
    ///
    /// # Errors
    /// The database's failure, or a value that cannot be read.
    pub fn scan(
        &self,
        tx: &mut dyn Tx,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, V)>, CatalogError> {
        let pairs = tx.scan(self.name, from, until, limit, false)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key, self.decode(&bytes)?))).collect()
    }

    /// All pairs whose key starts with `prefix`, ascending.
    ///
    /// # Errors
    /// The database's failure, or a value that cannot be read.
    pub fn scan_prefix(&self, tx: &mut dyn Tx, prefix: &[u8]) -> Result<Vec<(Vec<u8>, V)>, CatalogError> {
        self.scan(tx, prefix, prefix_end(prefix).as_deref(), usize::MAX)
    }

    /// How many keys begin with `prefix`, without reading their values; at most `limit` are counted.
    ///
    /// # Errors
    /// Those of the database.
    pub fn count_prefix(&self, tx: &mut dyn Tx, prefix: &[u8], limit: usize) -> Result<usize, CatalogError> {
        Ok(tx.scan(self.name, prefix, prefix_end(prefix).as_deref(), limit, false)?.len())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CatalogError> {
        let unreadable =
            |source: serde_json::Error| CatalogError::Decode { table: self.name, source: source.into() };
        let found: Versioned<&serde_json::value::RawValue> =
            serde_json::from_slice(bytes).map_err(unreadable)?;
        if found.v > self.version {
            return Err(CatalogError::Version { table: self.name, found: found.v, known: self.version });
        }
        serde_json::from_str(found.d.get()).map_err(unreadable)
    }
}

/// The first key after all that start with `prefix`; none where there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// A composite key that sorts by its parts: texts as bytes, numbers by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// An empty key, the prefix of all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key and a text part. A part is closed, so no part runs into the next: NUL is written as 00 FF, the end
    /// as 00 01.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        for byte in part.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(u8::MAX);
            }
        }
        self.0.extend([0, 1]);
        self
    }

    /// The key and the beginning of a text part, left open: the prefix of every key whose part begins so.
    #[must_use]
    pub fn text_prefix(self, part: &str) -> Self {
        let mut key = self.text(part);
        key.0.truncate(key.0.len() - 2);
        key
    }

    /// The key and a number.
    #[must_use]
    pub fn number(mut self, part: u64) -> Self {
        self.0.extend(part.to_be_bytes());
        self
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key((first, number, last): &(String, u64, String)) -> Key {
        Key::new().text(first).number(*number).text(last)
    }

    fn text() -> impl Strategy<Value = String> {
        let char = prop_oneof![
            Just('\0'),
            Just('\u{1}'),
            Just('a'),
            Just('b'),
            Just('\u{ff}'),
            Just('\u{10ffff}'),
            any::<char>()
        ];
        prop::collection::vec(char, 0..4).prop_map(String::from_iter)
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, 254..258_u64, any::<u64>()]
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_parts_do(
            a in (text(), number(), text()),
            b in (text(), number(), text()),
        ) {
            prop_assert_eq!(key(&a).bytes().cmp(key(&b).bytes()), a.cmp(&b));
        }

        #[test]
        fn an_open_text_part_is_the_prefix_of_the_keys_whose_part_begins_so(
            a in (text(), number(), text()),
            begin in text(),
        ) {
            let prefix = Key::new().text(&a.0).number(a.1).text_prefix(&begin);
            prop_assert_eq!(key(&a).bytes().starts_with(prefix.bytes()), a.2.starts_with(&begin));
        }

        #[test]
        fn the_end_of_a_prefix_parts_the_keys_that_start_with_it(
            prefix in prop::collection::vec(prop_oneof![Just(255_u8), any::<u8>()], 0..4),
            key in prop::collection::vec(prop_oneof![Just(255_u8), any::<u8>()], 0..6),
        ) {
            let below = prefix_end(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(key.starts_with(&prefix), key >= prefix && below);
        }
    }
}
