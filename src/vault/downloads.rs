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
/// How many times as many as may go on may be held by lines on which nothing moves.
const HELD: usize = 4;

/// The downloads under way.
#[derive(Debug)]
pub struct Downloads {
    most: usize,
    idle: Duration,
    going: Going,
}

/// Of each person, by a token or by an address that was given to them: whoever has got hold of one keeps nobody from their
/// own.
type Going = Arc<Mutex<HashMap<(UserId, Way), Vec<Arc<AtomicI64>>>>>;

/// How a download is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// With the device's token.
    Token,
    /// By an address that says who asks.
    Link,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Download {
    user: (UserId, Way),
    /// When it went on last, in microseconds.
    last: Arc<AtomicI64>,
    going: Going,
}

impl Downloads {
    /// None yet; `most` of each person at once. Of those that have not gone on for `idle` some are given up when there are too
    /// many: until they end, which is when their line does, each still holds its piece, and of those and the others together
    /// there are never more than four times `most`.
    #[must_use]
    pub fn new(most: usize, idle: Duration) -> Self {
        Self { most, idle, going: Arc::default() }
    }

    /// One more download of a person.
    ///
    /// # Errors
    /// `rate_limited` when there are as many as there may be.
    pub fn begin(&self, user: (UserId, Way), now: Timestamp) -> Result<Download> {
        let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = going.entry(user).or_default();
        if goes(of_user) >= self.most {
            let silent_since = (now - self.idle).micros();
            for last in of_user.iter().filter(|last| last.load(Ordering::Relaxed) <= silent_since) {
                last.store(GIVEN_UP, Ordering::Relaxed);
            }
        }
        if goes(of_user) >= self.most || of_user.len() >= self.most.saturating_mul(HELD) {
            let details = json!({"limit": self.most});
            return Err(Error::RateLimited { retry_after_s: RETRY_S, details });
        }
        let last = Arc::new(AtomicI64::new(now.micros()));
        of_user.push(Arc::clone(&last));
        Ok(Download { user, last, going: Arc::clone(&self.going) })
    }
}

fn goes(of_user: &[Arc<AtomicI64>]) -> usize {
    of_user.iter().filter(|last| last.load(Ordering::Relaxed) != GIVEN_UP).count()
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
        let user = (UserId::from_bytes([1; 16]), Way::Token);
        let (other, linked) = ((UserId::from_bytes([2; 16]), Way::Token), (user.0, Way::Link));
        let downloads = Downloads::new(2, idle);
        let begin = Timestamp::from_micros(1_700_000_000_000_000);
        let silent = downloads.begin(user, begin).unwrap();
        let busy = downloads.begin(user, begin).unwrap();
        assert!(matches!(downloads.begin(user, begin), Err(Error::RateLimited { .. })));
        assert!(downloads.begin(other, begin).is_ok() && downloads.begin(linked, begin).is_ok());
        let later = begin + idle;
        busy.goes_on(later).unwrap();
        let third = downloads.begin(user, later).unwrap();
        assert!(matches!(silent.goes_on(later), Err(Error::Unavailable(_))));
        assert!(busy.goes_on(later).is_ok() && third.goes_on(later).is_ok());
        drop(silent);
        assert!(matches!(downloads.begin(user, later), Err(Error::RateLimited { .. })));
        drop((busy, third));

        // Lines on which nothing moves are given up, but what they hold is bounded.
        let mut held = Vec::new();
        for round in 1..=4 {
            let at = later + idle * round;
            held.push(downloads.begin(user, at).unwrap());
            held.push(downloads.begin(user, at).unwrap());
        }
        let at = later + idle * 6;
        assert!(matches!(downloads.begin(user, at), Err(Error::RateLimited { .. })));
        held.pop();
        held.push(downloads.begin(user, at).unwrap());
        drop(held);
        assert!(downloads.going.lock().unwrap().is_empty());
    }
}
