//! `[limits]`

use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

/// Sizes and times a request may take, and how often what may be asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A JSON body, in bytes.
    pub request_bytes: usize,
    /// The body of a send, with an envelope for every device, in bytes.
    pub send_bytes: usize,
    /// How long a body may take to arrive, in seconds.
    pub body_timeout_s: u64,
    /// How long an answer may take, in seconds.
    pub request_timeout_s: u64,
    /// How long a stopping server waits for what is under way, in seconds.
    pub drain_s: u64,
    /// Log-ins of one account from one address, in 15 minutes.
    pub logins_per_account_and_address: u32,
    /// Log-ins of one account from anywhere, in 15 minutes.
    pub logins_per_account: u32,
    /// Log-ins and codes of the clinic from one address, in 15 minutes.
    pub logins_per_address: u32,
    /// Slow hashes for people who have not logged in, of everybody together, in a minute.
    pub logins_per_minute: u32,
    /// Messages of a device, in a minute, where its clinic has not set another number. So are those that follow.
    pub messages_per_minute: u32,
    /// Messages of a clinician's device, in a minute.
    pub clinician_messages_per_minute: u32,
    /// Other requests of a device, in a minute.
    pub requests_per_minute: u32,
    /// Files of a person, in an hour.
    pub files_per_hour: u32,
    /// Requests of a device for key bundles, in a minute.
    pub prekey_fetches_per_minute: u32,
    /// Bundles of one device for one person at once; then one in ten minutes.
    pub prekey_fetches_per_device: u32,
    /// How many callers are counted at once, for each limit.
    pub buckets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 1024 * 1024,
            send_bytes: 4 * 1024 * 1024,
            body_timeout_s: 30,
            request_timeout_s: 60,
            drain_s: 10,
            logins_per_account_and_address: 5,
            logins_per_account: 50,
            logins_per_address: 300,
            logins_per_minute: 600,
            messages_per_minute: 20,
            clinician_messages_per_minute: 60,
            requests_per_minute: 100,
            files_per_hour: 10,
            prekey_fetches_per_minute: 60,
            prekey_fetches_per_device: 6,
            buckets: 1_000_000,
        }
    }
}

impl Limits {
    /// How long a body may take to arrive.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// How long an answer may take.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    /// How long a stopping server waits for what is under way.
    #[must_use]
    pub const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }

    pub(super) fn check(&self) -> Result<()> {
        let zero = [
            ("request_bytes", self.request_bytes == 0),
            ("send_bytes", self.send_bytes == 0),
            ("body_timeout_s", self.body_timeout_s == 0),
            ("request_timeout_s", self.request_timeout_s == 0),
            ("logins_per_account_and_address", self.logins_per_account_and_address == 0),
            ("logins_per_account", self.logins_per_account == 0),
            ("logins_per_address", self.logins_per_address == 0),
            ("logins_per_minute", self.logins_per_minute == 0),
            ("messages_per_minute", self.messages_per_minute == 0),
            ("clinician_messages_per_minute", self.clinician_messages_per_minute == 0),
            ("requests_per_minute", self.requests_per_minute == 0),
            ("files_per_hour", self.files_per_hour == 0),
            ("prekey_fetches_per_minute", self.prekey_fetches_per_minute == 0),
            ("prekey_fetches_per_device", self.prekey_fetches_per_device == 0),
            ("buckets", self.buckets == 0),
        ];
        match zero.iter().find(|(_, wrong)| *wrong) {
            Some((key, _)) => Err(Error::internal(format!("limits.{key} must be above 0"))),
            None => Ok(()),
        }
    }
}
