//! How often somebody may guess.

use serde_json::json;
use sigilo_wire::UserId;

use super::{ATTEMPT_WINDOW, MAX_ATTEMPTS, store};
use crate::{Ctx, Error, Result, storage::Tx};

/// The right to compare one code or password of an account. Taken before the comparison and committed whatever
/// comes of it, so that a crowd of guesses at once gets no more of them than one after another.
#[must_use]
#[derive(Debug)]
pub(crate) struct Attempt(UserId);

impl Attempt {
    /// Counts an attempt.
    ///
    /// # Errors
    /// `rate_limited` when there were enough: nothing is compared until the window is over.
    pub(crate) async fn begin(tx: &mut Tx, ctx: &Ctx, user: UserId) -> Result<Self> {
        let oldest = ctx.now - ATTEMPT_WINDOW;
        let (attempts, since) = store::count_attempt(tx, (ctx.tenant, user), ctx.now, oldest).await?;
        if attempts <= MAX_ATTEMPTS {
            return Ok(Self(user));
        }
        let reset_at = since + ATTEMPT_WINDOW;
        Err(Error::RateLimited {
            retry_after_s: reset_at.since(ctx.now).as_secs().max(1),
            details: json!({"limit": MAX_ATTEMPTS, "remaining": 0, "reset_at": reset_at}),
        })
    }

    /// It was right: the count begins anew.
    pub(crate) async fn succeeded(self, tx: &mut Tx) -> Result<()> {
        store::forget_attempts(tx, self.0).await
    }
}
