//! How often a secret may be guessed: passwords, and the clinic's codes.
//!
//! Each try counts, the right ones, too: whoever knows the password needs few. They are counted before the slow
//! hash, and an account that is not there is counted like one that is.

use std::time::Duration;

use super::{Key, Kind, Limit, Quota, Store, key::place};
use crate::{Ctx, Result, config};

/// The time for the limits of an account and of an address.
const WINDOW: Duration = Duration::from_mins(15);
/// The time for the limit of everybody.
const ALL: Duration = Duration::from_mins(1);

/// The limits of log-ins.
pub(crate) struct Limits {
    pair: Limit,
    account: Limit,
    address: Limit,
    all: Limit,
    provider: Limit,
    noted: Limit,
}

/// An account as log-ins name it, whether it is there or not: the index of the clinic and the e-mail address.
#[derive(Clone, Copy)]
pub(crate) struct Account([u8; 16]);

impl Account {
    /// By the index of `Crypter::email_index`, of which half is enough here.
    pub(crate) fn of(index: &[u8]) -> Self {
        let mut account = [0; 16];
        for (to, from) in account.iter_mut().zip(index) {
            *to = *from;
        }
        Self(account)
    }
}

impl Limits {
    pub(super) fn new(store: &dyn Store, config: &config::Limits) -> Self {
        let limit = |kind, count, time| Limit::new(store, kind, Quota::of(count, time));
        Self {
            pair: limit(Kind::LoginPair, config.logins_per_account_and_address, WINDOW),
            account: limit(Kind::LoginAccount, config.logins_per_account, WINDOW),
            address: limit(Kind::LoginAddress, config.logins_per_address, WINDOW),
            all: limit(Kind::LoginAll, config.logins_per_minute, ALL),
            provider: limit(Kind::LoginProvider, config.logins_per_minute, ALL),
            noted: limit(Kind::LoginNoted, 1, WINDOW),
        }
    }

    /// Counts somebody who shows a secret. Asked first, before anything is looked up.
    ///
    /// # Errors
    /// `rate_limited` when there were too many from this address; `unavailable` when nobody counts.
    pub(crate) async fn knock(&self, ctx: &Ctx) -> Result<()> {
        self.address.take(ctx, &Key::one(place(ctx.address))).await
    }

    /// Counts a guess at an account's password.
    ///
    /// # Errors
    /// `rate_limited` when there were too many, from this address or altogether; `unavailable` when nobody counts.
    pub(crate) async fn guess(&self, ctx: &Ctx, account: Account) -> Result<()> {
        self.pair.take(ctx, &Key::pair(account.0, place(ctx.address))).await?;
        self.account.take(ctx, &Key::one(account.0)).await
    }

    /// Counts a slow hash for somebody who has not logged in.
    ///
    /// # Errors
    /// `rate_limited` when everybody together has asked for too many; `unavailable` when nobody counts.
    pub(crate) async fn hash(&self, ctx: &Ctx) -> Result<()> {
        self.all.take(ctx, &Key::EVERYBODY).await
    }

    /// Counts a browser that is sent to an identity provider: apart from hashes, so that a flood of them keeps no password
    /// out.
    ///
    /// # Errors
    /// As [`Limits::hash`].
    pub(crate) async fn begin(&self, ctx: &Ctx) -> Result<()> {
        self.provider.take(ctx, &Key::EVERYBODY).await
    }

    /// Whether a refusal of this account is still to be written down: once in a while, so that a flood of guesses
    /// does not become one of audit entries.
    pub(crate) async fn is_news(&self, account: Account) -> bool {
        self.noted.has(&Key::one(account.0)).await
    }
}
