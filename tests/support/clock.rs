//! The machine's clock, moved by the test.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use sigilo::clock::{Clock, SystemClock};
use sigilo_wire::Timestamp;

/// Time goes on, and jumps when the test says so; or it stands, and moves with the jumps alone.
#[derive(Debug, Default)]
pub struct TestClock {
    jumped: AtomicI64,
    /// Where it was stopped; 0 while it goes on.
    stopped_at: AtomicI64,
}

impl TestClock {
    /// Jumps forward.
    pub fn advance(&self, by: Duration) {
        self.jumped.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Stands from now on.
    pub fn stop(&self) {
        self.stopped_at.store(SystemClock.now().micros(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let goes_on = match self.stopped_at.load(Ordering::SeqCst) {
            0 => SystemClock.now().micros(),
            stopped => stopped,
        };
        Timestamp::from_micros(goes_on + self.jumped.load(Ordering::SeqCst))
    }
}
