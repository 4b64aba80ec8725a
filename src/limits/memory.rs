//! Buckets in this process: the crate `governor`, a map in shards for each kind and quota.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future};
use governor::{
    NotUntil, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{
        StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use super::{Away, Buckets, Key, Kind, Quota, Store, Verdict};
use crate::{
    clock::SharedClock,
    shutdown::{Shutdown, draining},
};

/// How often full buckets are forgotten: they are as new ones.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// A longer wait than the bucket's own by this much: the clock was set back.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(2);

/// No bucket takes longer than this to be full again: a century.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// The buckets of this process. What it counts ends with it.
pub struct InProcess {
    clock: SharedClock,
    most: usize,
    kinds: Mutex<HashMap<(Kind, Quota), Arc<Keyed>>>,
}

impl InProcess {
    /// No buckets yet; of each kind and quota at most `most` that are not full. Beyond these it does not answer
    /// for another one.
    #[must_use]
    pub fn new(clock: SharedClock, most: usize) -> Arc<Self> {
        Arc::new(Self { clock, most, kinds: Mutex::default() })
    }

    /// Forgets buckets that are full again, and quotas that nobody asks for any more.
    pub fn sweep(&self) {
        let kept: Vec<_> = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.retain(|_, keyed| Arc::strong_count(keyed) > 1 || !keyed.map.0.is_empty());
            kinds.values().cloned().collect()
        };
        for keyed in kept {
            keyed.limiter.retain_recent();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.values().map(|keyed| keyed.map.0.len()).sum()
    }
}

impl Store for InProcess {
    fn buckets(&self, kind: Kind, quota: Quota) -> Arc<dyn Buckets> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let keyed = kinds
            .entry((kind, quota))
            .or_insert_with(|| Arc::new(Keyed::new(quota, self.most, Arc::clone(&self.clock))));
        Arc::clone(keyed) as Arc<dyn Buckets>
    }
}

/// Forgets what need not be remembered, until the server drains.
pub async fn keep_sweeping(mut shutdown: Shutdown, store: Arc<InProcess>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = ticks.tick() => store.sweep(),
        }
    }
}

struct Keyed {
    quota: Quota,
    most: usize,
    map: Map,
    limiter: RateLimiter<Key, Map, Time, NoOpMiddleware<Duration>>,
}

impl Keyed {
    fn new(quota: Quota, most: usize, clock: SharedClock) -> Self {
        let every = quota.every.max(Duration::from_nanos(1));
        // It counts nanoseconds until the bucket is full, in 64 bits: more than some lifetimes is as good as all of them.
        let most_at_once = LONGEST.as_nanos() / every.as_nanos();
        let burst = u32::try_from(most_at_once).map_or(quota.burst, |most| most.min(quota.burst));
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        // `None` is for a time of zero.
        let rate = governor::Quota::with_period(every)
            .map_or_else(|| governor::Quota::per_second(burst), |rate| rate.allow_burst(burst));
        let map = Map::default();
        let limiter = RateLimiter::new(rate, map.clone(), Time::default());
        // It counts from what its clock says first.
        let _first = limiter.clock().0.set(clock);
        Self { quota, most, map, limiter }
    }

    fn check(&self, key: &Key) -> Result<Verdict, Away> {
        if !self.map.0.contains_key(key) && self.map.0.len() >= self.most {
            return Err(Away("more callers than are counted".to_owned()));
        }
        let wait = |until: NotUntil<Duration>| until.wait_time_from(self.limiter.clock().now());
        match self.limiter.check_key(key).map_err(wait) {
            Ok(()) => Ok(Verdict::Taken),
            Err(wait) if wait <= self.quota.every + CLOCK_WENT_BACK => Ok(Verdict::Wait(wait)),
            Err(_) => {
                // What the clock said before is of no use; otherwise all would wait until it says so again.
                self.map.0.remove(key);
                Ok(self.limiter.check_key(key).map_err(wait).err().map_or(Verdict::Taken, Verdict::Wait))
            }
        }
    }
}

impl Buckets for Keyed {
    fn take<'a>(&'a self, key: &'a Key) -> future::BoxFuture<'a, Result<Verdict, Away>> {
        future::ready(self.check(key)).boxed()
    }
}

/// The map, for its limiter and for who looks whether it is full.
#[derive(Clone, Default)]
struct Map(Arc<DashMapStateStore<Key>>);

impl StateStore for Map {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl ShrinkableKeyedStateStore<Key> for Map {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&*self.0, drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The server's clock, as time since the epoch. A limiter measures from what its clock says when it is made: that is
/// the epoch, so that a clock that is set back does not come before it.
#[derive(Default)]
struct Time(OnceLock<SharedClock>);

impl governor::clock::Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let micros = self.0.get().map_or(0, |clock| clock.now().micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use sigilo_wire::Timestamp;

    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: Duration = Duration::from_secs(60);
    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    fn key(n: u16) -> Key {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Key::one(bytes)
    }

    async fn taken(buckets: &Arc<dyn Buckets>, key: Key, tries: usize) -> usize {
        let mut taken = 0;
        for _ in 0..tries {
            taken += usize::from(buckets.take(&key).await.unwrap() == Verdict::Taken);
        }
        taken
    }

    #[tokio::test]
    async fn a_bucket_gives_its_burst_and_then_one_each_time() {
        let clock = ManualClock::at(NOW);
        let store = InProcess::new(clock.clone(), 1_000);
        let buckets = store.buckets(Kind::LoginPair, Quota::of(5, 15 * MINUTE));
        assert_eq!(taken(&buckets, key(1), 20).await, 5);
        assert_eq!(taken(&buckets, key(2), 1).await, 1, "another key has its own");
        assert_eq!(buckets.take(&key(1)).await.unwrap(), Verdict::Wait(3 * MINUTE));
        clock.advance(3 * MINUTE - Duration::from_secs(1));
        assert_eq!(buckets.take(&key(1)).await.unwrap(), Verdict::Wait(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(taken(&buckets, key(1), 20).await, 1);
        clock.advance(24 * 60 * MINUTE);
        assert_eq!(taken(&buckets, key(1), 20).await, 5, "no more than the burst is saved up");
    }

    /// Whoever sets limits may set them as high as they like.
    #[tokio::test]
    async fn a_limit_of_any_size_is_counted() {
        let store = InProcess::new(ManualClock::at(NOW), 1_000);
        for every in [Duration::ZERO, Duration::from_nanos(1), 10 * MINUTE, Duration::from_hours(24 * 365)] {
            let buckets = store.buckets(Kind::LoginPair, Quota { burst: u32::MAX, every });
            assert_eq!(taken(&buckets, key(1), 20).await, 20, "{every:?}");
        }
    }

    #[tokio::test]
    async fn whoever_asks_for_a_quota_again_gets_the_same_buckets_until_it_is_another() {
        let store = InProcess::new(ManualClock::at(NOW), 1_000);
        let five = Quota::of(5, MINUTE);
        assert_eq!(taken(&store.buckets(Kind::LoginPair, five), key(1), 9).await, 5);
        assert_eq!(taken(&store.buckets(Kind::LoginPair, five), key(1), 9).await, 0);
        assert_eq!(taken(&store.buckets(Kind::LoginAccount, five), key(1), 9).await, 5);
        assert_eq!(taken(&store.buckets(Kind::LoginPair, Quota::of(6, MINUTE)), key(1), 9).await, 6);
    }

    #[tokio::test]
    async fn full_buckets_are_forgotten_and_others_are_not() {
        let clock = ManualClock::at(NOW);
        let store = InProcess::new(clock.clone(), 1_000);
        let buckets = store.buckets(Kind::LoginPair, Quota::of(4, 4 * MINUTE));
        taken(&buckets, key(1), 4).await;
        taken(&buckets, key(2), 1).await;
        clock.advance(2 * MINUTE + Duration::from_secs(1));
        store.sweep();
        assert_eq!(store.len(), 1);
        assert_eq!(taken(&buckets, key(1), 9).await, 2);
        clock.advance(60 * MINUTE);
        drop(buckets);
        store.sweep();
        store.sweep();
        assert_eq!(store.kinds.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_those_who_are_counted_stay_so() {
        let clock = ManualClock::at(NOW);
        let store = InProcess::new(clock.clone(), 3);
        let buckets = store.buckets(Kind::LoginPair, Quota::of(2, 2 * MINUTE));
        for n in 1..=3 {
            assert_eq!(taken(&buckets, key(n), 1).await, 1);
        }
        buckets.take(&key(4)).await.unwrap_err();
        assert_eq!(taken(&buckets, key(1), 9).await, 1);
        clock.advance(2 * MINUTE + Duration::from_secs(1));
        store.sweep();
        assert_eq!(taken(&buckets, key(4), 9).await, 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_locks_nobody_out_and_lets_nobody_through() {
        let clock = ManualClock::at(NOW);
        let store = InProcess::new(clock.clone(), 1_000);
        let buckets = store.buckets(Kind::LoginPair, Quota::of(3, 3 * MINUTE));
        assert_eq!(taken(&buckets, key(1), 9).await, 3);
        clock.set(NOW - Duration::from_secs(86_400));
        assert_eq!(taken(&buckets, key(1), 9).await, 3);
        clock.advance(MINUTE);
        assert_eq!(taken(&buckets, key(1), 9).await, 1);
    }
}
