//! The machine's clock, moved by the test.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use sigilo::clock::{Clock, SystemClock};
use sigilo_wire::Timestamp;

/// Time goes on, and jumps when the test says so.
#[derive(Debug, Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Jumps forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.0.load(Ordering::SeqCst))
    }
}
