//! Sending a browser to a provider.

use super::{LOGIN_LIFE, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    auth::{Opaque, store as accounts},
    storage::crypter::Place,
};

/// Where to send the browser, and what it has to bring back.
pub struct Begun {
    /// The provider's page.
    pub url: String,
    /// The value of the cookie for the callback.
    pub cookie: String,
}

/// Begins a login for an app that keeps the verifier of `challenge` (base64url of its SHA-256) and is returned to at
/// `return_to`.
///
/// # Errors
/// `rate_limited` after too many tries from an address, or of everybody together; `not_found` for a provider that is not configured;
/// `invalid_field`; `unavailable` while the provider does not answer.
pub async fn start(
    app: &App,
    ctx: &Ctx,
    provider: &str,
    (challenge, return_to): (&str, &str),
) -> Result<Begun> {
    app.limits.login.knock(ctx).await?;
    let configured = app.providers.named(provider)?;
    let base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if challenge.len() != 43 || !challenge.chars().all(base64url) {
        return Err(Error::field("challenge", "is the SHA-256 of the verifier as base64url: 43 characters"));
    }
    if !configured.returns.iter().any(|allowed| allowed == return_to) {
        return Err(Error::field("return_to", "is not an address this provider's logins return to"));
    }
    app.limits.login.begin(ctx).await?;
    let [state, nonce, verifier, cookie] = std::array::from_fn(|_| Opaque::new(&*app.entropy));
    let secrets = (state.text.as_str(), nonce.text.as_str(), verifier.text.as_str());
    // Any app of a phone may claim a scheme: the person says at the provider that it is to have the login.
    let in_person = !return_to.starts_with("https://") && !return_to.starts_with("http://");
    let url = app.providers.authorize_url(provider, secrets, in_person, ctx.now).await?;
    let verifier_enc = app.crypter.encrypt(place(&state.hash), verifier.text.as_bytes(), &*app.entropy)?;
    let mut tx = app.db.begin("oidc_start").await?;
    let tenant = accounts::tenant(&mut tx, &configured.clinic).await?.ok_or(Error::NotFound)?;
    let row = store::LoginRow {
        tenant_id: tenant,
        provider: provider.to_owned(),
        browser_hash: cookie.hash,
        nonce: nonce.text,
        verifier_enc,
        challenge: challenge.to_owned(),
        return_to: return_to.to_owned(),
        expires_at: ctx.now + LOGIN_LIFE,
    };
    store::insert_login(&mut tx, &state.hash, &row, ctx.now).await?;
    tx.commit().await?;
    Ok(Begun { url, cookie: cookie.text })
}

/// Where the verifier of a login stands.
pub(super) const fn place(state_hash: &[u8]) -> Place<'_> {
    Place { table: "oidc_logins", row: state_hash, column: "verifier_enc" }
}
