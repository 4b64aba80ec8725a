//! A code somebody shows: of the authenticator app, or a recovery code.

use sigilo_wire::{ErrorCode, Timestamp, UserId};

use super::{Attempt, recovery, store, totp};
use crate::{
    Ctx, Result,
    app::App,
    storage::{Tx, crypter::Place},
};

/// What a right code was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factor {
    /// The authenticator app's.
    Totp,
    /// One of the ten.
    RecoveryCode,
}

impl Factor {
    /// The word of the audit log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

/// What a login's second factor came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecondFactor {
    /// The account has none.
    NotEnrolled,
    /// The code was right.
    Proven(Factor),
    /// `mfa_required` without a code; `invalid_totp` when it was wrong or used before.
    Refused(ErrorCode),
}

/// Checks the second factor of somebody whose password was right, in the login's transaction. The attempt stays
/// counted only if that commits.
///
/// # Errors
/// `rate_limited`.
pub(crate) async fn second_factor(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    code: Option<&str>,
) -> Result<SecondFactor> {
    if !store::is_enrolled(tx, user).await? {
        return Ok(SecondFactor::NotEnrolled);
    }
    let Some(code) = code else { return Ok(SecondFactor::Refused(ErrorCode::MfaRequired)) };
    let attempt = Attempt::begin(tx, ctx, user).await?;
    let Some(factor) = accept(app, tx, user, code, ctx.now).await? else {
        return Ok(SecondFactor::Refused(ErrorCode::InvalidTotp));
    };
    attempt.succeeded(tx).await?;
    Ok(SecondFactor::Proven(factor))
}

/// Uses a code up; `None` when it is wrong or was used before.
pub(super) async fn accept(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    code: &str,
    now: Timestamp,
) -> Result<Option<Factor>> {
    if let Some(hash) = recovery::presented(code) {
        let used = store::use_recovery_code(tx, user, &hash, now).await?;
        return Ok(used.then_some(Factor::RecoveryCode));
    }
    let Some(sealed) = store::secret(tx, user).await? else { return Ok(None) };
    let secret = app.crypter.decrypt(place(&user, "secret_enc"), &sealed)?;
    let Some(step) = totp::step_of(&secret, &digits(code), now)? else { return Ok(None) };
    let fresh = store::accept_step(tx, user, step).await?;
    Ok(fresh.then_some(Factor::Totp))
}

/// Apps show a code in two groups; people type it that way.
pub(super) fn digits(code: &str) -> String {
    code.chars().take(32).filter(|c| !c.is_whitespace()).collect()
}

/// The place of a column of an account's second factor.
pub(super) fn place<'a>(user: &'a UserId, column: &'a str) -> Place<'a> {
    Place { table: "second_factors", row: user.as_bytes(), column }
}
