//! How many downloads of each person are under way on this server: each holds a piece of its file in memory, as long as
//! whoever reads it likes.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use sigilo_wire::{Timestamp, UserId};

use crate::{Error, Result};

/// How long somebody with as many downloads as they may have is asked to wait, in seconds.
const RETRY_S: u64 = 5;
/// When a download that is given up went on last.
const GIVEN_UP: i64 = i64::MIN;

/// The downloads under way.
#[derive(Debug)]
pub struct Downloads {
    most: usize,
    idle: Duration,
    going: Arc<Mutex<HashMap<UserId, Vec<Arc<AtomicI64>>>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Download {
    user: UserId,
    /// When it went on last, in microseconds.
    last: Arc<AtomicI64>,
    going: Arc<Mutex<HashMap<UserId, Vec<Arc<AtomicI64>>>>>,
}

impl Downloads {
    /// None yet; `most` of each person at once. One that has not gone on for `idle` is given up when there are too many.
    #[must_use]
    pub fn new(most: usize, idle: Duration) -> Self {
        Self { most, idle, going: Arc::default() }
    }

    /// One more download of a person.
    ///
    /// # Errors
    /// `rate_limited` when there are as many as there may be.
    pub fn begin(&self, user: UserId, now: Timestamp) -> Result<Download> {
        let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = going.entry(user).or_default();
        if of_user.len() >= self.most {
            let silent_since = (now - self.idle).micros();
            of_user.retain(|last| {
                let stays = last.load(Ordering::Relaxed) > silent_since;
                if !stays {
                    last.store(GIVEN_UP, Ordering::Relaxed);
                }
                stays
            });
        }
        if of_user.len() >= self.most {
            let details = json!({"limit": self.most});
            return Err(Error::RateLimited { retry_after_s: RETRY_S, details });
        }
        let last = Arc::new(AtomicI64::new(now.micros()));
        of_user.push(Arc::clone(&last));
        Ok(Download { user, last, going: Arc::clone(&self.going) })
    }
}

impl Download {
    /// Notes that it goes on.
    ///
    /// # Errors
    /// `unavailable` when it was given up for others.
    pub fn goes_on(&self, now: Timestamp) -> Result<()> {
        let noted = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            (last != GIVEN_UP).then_some(now.micros())
        });
        noted.map(drop).map_err(|_| Error::Unavailable("download: it stood still for too long".to_owned()))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_user) = going.get_mut(&self.user) {
            of_user.retain(|last| !Arc::ptr_eq(last, &self.last));
            if of_user.is_empty() {
                going.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_so_many_downloads_and_a_silent_one_makes_room() {
        let idle = Duration::from_secs(60);
        let (user, other) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let downloads = Downloads::new(2, idle);
        let begin = Timestamp::from_micros(1_700_000_000_000_000);
        let silent = downloads.begin(user, begin).unwrap();
        let busy = downloads.begin(user, begin).unwrap();
        assert!(matches!(downloads.begin(user, begin), Err(Error::RateLimited { .. })));
        assert!(downloads.begin(other, begin).is_ok());
        let later = begin + idle;
        busy.goes_on(later).unwrap();
        let third = downloads.begin(user, later).unwrap();
        assert!(matches!(silent.goes_on(later), Err(Error::Unavailable(_))));
        assert!(busy.goes_on(later).is_ok() && third.goes_on(later).is_ok());
        drop(silent);
        assert!(matches!(downloads.begin(user, later), Err(Error::RateLimited { .. })));
        drop((busy, third));
        assert!(downloads.going.lock().unwrap().is_empty());
    }
}
