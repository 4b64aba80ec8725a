//! How often somebody may do something: buckets that fill again with time.
//!
//! A [`Quota`] of 5 in 15 minutes is five at once and then one every three minutes (the generic cell rate algorithm,
//! ITU-T I.371). What is counted is a [`Kind`] for a [`Key`]; the count itself is in a [`Store`]: [`InProcess`] for
//! one server, another one for servers that count together. A refusal says when the next one will pass.
//!
//! A store that does not answer lets requests and messages pass, because a clinic that cannot write is worse
//! off than one whose limits rest. What guesses or drains is refused then: log-ins, and one-time keys.
//!
//! `login` counts whoever has not logged in, `clinics` the people of a clinic. What must never be held up is not
//! counted: acknowledgements, the events a device has missed, new tokens, sockets, and whatever serves an emergency.

pub(crate) mod clinics;
mod key;
pub(crate) mod login;
mod memory;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::json;

pub use key::Key;
pub use memory::{InProcess, keep_sweeping};

use crate::{Ctx, Error, Result, config};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Log-ins of an account from one address.
    LoginPair,
    /// Log-ins of an account from wherever.
    LoginAccount,
    /// Whatever proves itself by a secret, from one address.
    LoginAddress,
    /// Whatever makes the server compute a slow hash, altogether.
    LoginAll,
    /// Browsers that are sent to identity providers, altogether.
    LoginProvider,
    /// Audit entries that say that an account's log-ins were refused.
    LoginNoted,
    /// Messages of a device.
    Message,
    /// Other requests of a device.
    Request,
    /// Files of a person.
    File,
    /// Tickets for sockets of a device.
    Ticket,
    /// Requests of a device for key bundles.
    PrekeyFetch,
    /// Bundles of one device for one person.
    PrekeyDevice,
}

impl Kind {
    /// The word for it in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginPair => "login_pair",
            Self::LoginAccount => "login_account",
            Self::LoginAddress => "login_address",
            Self::LoginAll => "login_all",
            Self::LoginProvider => "login_provider",
            Self::LoginNoted => "login_noted",
            Self::Message => "message",
            Self::Request => "request",
            Self::File => "file",
            Self::Ticket => "ticket",
            Self::PrekeyFetch => "prekey_fetch",
            Self::PrekeyDevice => "prekey_device",
        }
    }

    /// Whether it passes while the store does not answer.
    const fn passes_uncounted(self) -> bool {
        matches!(self, Self::Message | Self::Request | Self::File | Self::Ticket)
    }
}

/// How much at once, and how often one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// How many at once.
    pub burst: u32,
    /// How long until there is one more.
    pub every: Duration,
}

impl Quota {
    /// So many in a time: all at once, and one more in each of its parts.
    #[must_use]
    pub fn of(count: u32, time: Duration) -> Self {
        Self { burst: count.max(1), every: time / count.max(1) }
    }
}

/// What a store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was one, and it is taken.
    Taken,
    /// There will be one after this long.
    Wait(Duration),
}

/// A store that cannot count now, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// Where buckets are kept. A store that several servers share makes their limits one.
pub trait Store: Send + Sync + 'static {
    /// The buckets of a kind that have this quota. Asked when a setting is read, not for each request.
    fn buckets(&self, kind: Kind, quota: Quota) -> Arc<dyn Buckets>;
}

/// The buckets of one kind with one quota, a bucket a key.
pub trait Buckets: Send + Sync + 'static {
    /// Takes one out of a bucket, if there is one.
    fn take<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Verdict, Away>>;
}

/// A limit as it is asked: its kind, its quota, its buckets.
#[derive(Clone)]
pub struct Limit {
    kind: Kind,
    quota: Quota,
    buckets: Arc<dyn Buckets>,
}

impl Limit {
    fn new(store: &dyn Store, kind: Kind, quota: Quota) -> Self {
        Self { kind, quota, buckets: store.buckets(kind, quota) }
    }

    /// Takes one of a key's.
    ///
    /// # Errors
    /// `rate_limited` with when there is one; `unavailable` when the store does not answer and this kind is not to
    /// pass uncounted.
    pub(crate) async fn take(&self, ctx: &Ctx, key: &Key) -> Result<()> {
        match self.buckets.take(key).await {
            Ok(Verdict::Taken) => Ok(()),
            Ok(Verdict::Wait(wait)) => {
                metrics::counter!("sigilo_limited_total", "kind" => self.kind.as_str()).increment(1);
                Err(self.refusal(ctx, wait))
            }
            Err(away) => {
                metrics::counter!("sigilo_limits_uncounted_total", "kind" => self.kind.as_str()).increment(1);
                if self.kind.passes_uncounted() { Ok(()) } else { Err(Error::Unavailable(away.to_string())) }
            }
        }
    }

    /// Takes one of a key's if there is one, where no answer depends on it.
    async fn has(&self, key: &Key) -> bool {
        matches!(self.buckets.take(key).await, Ok(Verdict::Taken))
    }

    fn refusal(&self, ctx: &Ctx, wait: Duration) -> Error {
        Error::RateLimited {
            retry_after_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
            details: json!({"limit": self.quota.burst, "remaining": 0, "reset_at": ctx.now + wait}),
        }
    }
}

/// The limits of a server.
pub struct Limiter {
    pub(crate) login: login::Limits,
    pub(crate) clinics: clinics::Clinics,
}

impl Limiter {
    /// The limits of a configuration, counted in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, config: &config::Limits) -> Self {
        Self {
            login: login::Limits::new(&*store, config),
            clinics: clinics::Clinics::new(store, config.clone()),
        }
    }
}
