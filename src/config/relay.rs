//! `[relay]`

use serde::Deserialize;

use crate::{Error, Result};

/// The relay's queues and its group-commit writer.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// The most sends in one transaction of the writer.
    pub batch_sends: usize,
    /// How many sends may wait for the writer before their senders do.
    pub writer_queue: usize,
    /// How many MiB of sends may wait for the writer before their senders do.
    pub writer_mib: u32,
    /// How many unacknowledged events a socket may have in flight.
    pub in_flight: usize,
    /// Seconds a socket may take to make room for a frame before it is closed with 4408.
    pub slow_s: u64,
    /// Seconds between pings.
    pub ping_s: u64,
}

impl Default for Relay {
    fn default() -> Self {
        Self { batch_sends: 128, writer_queue: 4096, writer_mib: 64, in_flight: 256, slow_s: 10, ping_s: 30 }
    }
}

impl Relay {
    pub(super) fn check(&self) -> Result<()> {
        let zero = [
            ("batch_sends", self.batch_sends == 0),
            ("writer_queue", self.writer_queue == 0),
            ("in_flight", self.in_flight == 0),
            ("slow_s", self.slow_s == 0),
            ("ping_s", self.ping_s == 0),
        ];
        match zero.iter().find(|(_, wrong)| *wrong) {
            Some((key, _)) => Err(Error::internal(format!("relay.{key} must be above 0"))),
            // The largest send must have room.
            None if self.writer_mib < 16 => Err(Error::internal("relay.writer_mib must be at least 16")),
            None => Ok(()),
        }
    }
}
