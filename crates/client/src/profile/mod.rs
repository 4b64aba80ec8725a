//! The encrypted local profile: everything a device must not forget, in one SQLite file.
//!
//! Each act is a [`Step`]: it reads through to the file, gathers its writes in memory, and
//! [`commit`](Step::commit)s them in one transaction. An act cut short before its commit has changed nothing; an
//! act whose commit returned is on disk. So a message and the session state it advanced are stored together or
//! not at all, and only then is the server told.

mod cipher;
pub(crate) mod history_keys;
pub(crate) mod records;
mod secret;
mod store;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::BTreeMap, path::Path, rc::Rc};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

pub use self::cipher::Unlock;
pub(crate) use self::store::Order;
use self::{
    cipher::{Cipher, Place},
    store::{Change, Row, Store},
};
use crate::{Error, Result, env::Env, vault::Blobs};

/// Something the profile keeps.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// Its table.
    const TABLE: &'static str;

    /// Its key within the table.
    fn key(&self) -> Vec<u8>;

    /// What it belongs to, for lists.
    fn owner(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Its place among what belongs together.
    fn position(&self) -> i64 {
        0
    }
}

/// An open profile.
pub(crate) struct Profile {
    store: Store,
    cipher: Cipher,
    env: Rc<Env>,
    blobs: Blobs,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profile")
    }
}

impl Profile {
    /// Opens the profile at `path`, or makes one.
    pub(crate) async fn create_or_open(path: &Path, unlock: &Unlock, env: Rc<Env>) -> Result<Self> {
        let store = Store::open(path, true).await?;
        let cipher = if let Some(header) = store.header().await? {
            Cipher::open(unlock, &header)?
        } else {
            let (cipher, header) = Cipher::create(unlock, &env)?;
            store.set_header(&header).await?;
            cipher
        };
        Ok(Self { store, cipher, env, blobs: Blobs::beside(path) })
    }

    /// Opens the profile at `path`.
    ///
    /// # Errors
    /// [`Error::NotActivated`] when there is none.
    pub(crate) async fn open(path: &Path, unlock: &Unlock, env: Rc<Env>) -> Result<Self> {
        if !path.exists() {
            return Err(Error::NotActivated);
        }
        let store = Store::open(path, false).await?;
        let header = store.header().await?.ok_or(Error::NotActivated)?;
        Ok(Self { cipher: Cipher::open(unlock, &header)?, store, env, blobs: Blobs::beside(path) })
    }

    /// The blobs of files, beside it.
    pub(crate) const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Whether `unlock` opens this profile.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`].
    pub(crate) async fn check(&self, unlock: &Unlock) -> Result<()> {
        let header = self.store.header().await?.ok_or(Error::NotActivated)?;
        Cipher::open(unlock, &header).map(drop)
    }

    /// What is on disk under `key`.
    pub(crate) async fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>> {
        self.read(R::TABLE, &self.cipher.lookup(R::TABLE, key)).await
    }

    async fn read<R: Record>(&self, table: &'static str, lookup: &[u8]) -> Result<Option<R>> {
        match self.store.get(table, lookup).await? {
            Some(row) => self.decode(&row).map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` records of `owner` at positions below `before`.
    pub(crate) async fn list<R: Record>(
        &self,
        owner: &[u8],
        before: i64,
        limit: u32,
        order: Order,
    ) -> Result<Vec<R>> {
        let owner = self.cipher.lookup(R::TABLE, owner);
        let rows = self.store.list(R::TABLE, &owner, before, limit, order).await?;
        rows.iter().map(|row| self.decode(row)).collect()
    }

    /// Every record of `owner`, oldest first.
    pub(crate) async fn all<R: Record>(&self, owner: &[u8]) -> Result<Vec<R>> {
        self.list(owner, i64::MAX, u32::MAX, Order::OldestFirst).await
    }

    /// Begins an act.
    pub(crate) fn step(self: &Rc<Self>) -> Step {
        Step { profile: Rc::clone(self), writes: RefCell::default() }
    }

    /// One act of one record.
    pub(crate) async fn put<R: Record>(self: &Rc<Self>, record: &R) -> Result<()> {
        let step = self.step();
        step.put(record)?;
        step.commit().await
    }

    /// Empties the journal, which still holds the rows that were overwritten: what was erased is then gone from
    /// the file, too.
    pub(crate) async fn scrub(&self) -> Result<()> {
        self.store.empty_journal().await
    }

    /// Closes the file when nobody else holds the profile.
    pub(crate) async fn close(self: Rc<Self>) -> Result<()> {
        match Rc::try_unwrap(self) {
            Ok(profile) => profile.store.close().await,
            Err(_) => Ok(()),
        }
    }

    fn decode<R: Record>(&self, row: &Row) -> Result<R> {
        let place = Place { table: R::TABLE, lookup: &row.lookup, owner: &row.owner, position: row.position };
        let plain = self.cipher.decrypt(&place, &row.value)?;
        serde_json::from_slice(&plain).map_err(|error| Error::Profile(format!("{}: {error}", R::TABLE)))
    }
}

enum Write {
    Put { owner: [u8; 32], position: i64, value: Zeroizing<Vec<u8>> },
    Delete,
}

/// One act on the profile: reads see its own writes, nothing is on disk before [`Step::commit`].
pub(crate) struct Step {
    profile: Rc<Profile>,
    writes: RefCell<BTreeMap<(&'static str, [u8; 32]), Write>>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl Step {
    /// What is under `key`, this act's own writes included.
    pub(crate) async fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>> {
        let lookup = self.profile.cipher.lookup(R::TABLE, key);
        match self.writes.borrow().get(&(R::TABLE, lookup)) {
            Some(Write::Put { value, .. }) => {
                return serde_json::from_slice(value)
                    .map(Some)
                    .map_err(|error| Error::Profile(format!("{}: {error}", R::TABLE)));
            }
            Some(Write::Delete) => return Ok(None),
            None => {}
        }
        self.profile.read(R::TABLE, &lookup).await
    }

    /// Every record of `owner`, oldest first, this act's own writes included.
    pub(crate) async fn all<R: Record>(&self, owner: &[u8]) -> Result<Vec<R>> {
        let on_disk = self.profile.all::<R>(owner).await?;
        let owner = self.profile.cipher.lookup(R::TABLE, owner);
        let writes = self.writes.borrow();
        let written = |record: &R| {
            writes.contains_key(&(R::TABLE, self.profile.cipher.lookup(R::TABLE, &record.key())))
        };
        let mut all: Vec<R> = on_disk.into_iter().filter(|record| !written(record)).collect();
        for ((table, _), write) in writes.iter() {
            if let Write::Put { owner: of, value, .. } = write
                && *table == R::TABLE
                && *of == owner
            {
                let malformed = |error| Error::Profile(format!("{}: {error}", R::TABLE));
                all.push(serde_json::from_slice(value).map_err(malformed)?);
            }
        }
        all.sort_by_key(Record::position);
        Ok(all)
    }

    /// Puts a record in place of what is under its key.
    pub(crate) fn put<R: Record>(&self, record: &R) -> Result<()> {
        let cipher = &self.profile.cipher;
        let value = serde_json::to_vec(record).map_err(Error::internal)?;
        let write = Write::Put {
            owner: cipher.lookup(R::TABLE, &record.owner()),
            position: record.position(),
            value: Zeroizing::new(value),
        };
        self.writes.borrow_mut().insert((R::TABLE, cipher.lookup(R::TABLE, &record.key())), write);
        Ok(())
    }

    /// Removes what is under `key`.
    pub(crate) fn delete<R: Record>(&self, key: &[u8]) {
        let lookup = self.profile.cipher.lookup(R::TABLE, key);
        self.writes.borrow_mut().insert((R::TABLE, lookup), Write::Delete);
    }

    /// Writes everything in one transaction; returns once it is on disk.
    pub(crate) async fn commit(self) -> Result<()> {
        let writes = self.writes.into_inner();
        if writes.is_empty() {
            return Ok(());
        }
        let changes = writes
            .into_iter()
            .map(|((table, lookup), write)| match write {
                Write::Delete => Ok(Change::Delete { table, lookup: lookup.to_vec() }),
                Write::Put { owner, position, value } => {
                    let place = Place { table, lookup: &lookup, owner: &owner, position };
                    let value = self.profile.cipher.encrypt(&place, self.profile.env.bytes(), &value)?;
                    let row = Row { lookup: lookup.to_vec(), owner: owner.to_vec(), position, value };
                    Ok(Change::Put { table, row })
                }
            })
            .collect::<Result<Vec<_>>>()?;
        self.profile.store.apply(&changes).await
    }
}
