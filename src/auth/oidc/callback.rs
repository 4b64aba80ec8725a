//! Hearing from a provider who it was.

use sigilo_wire::ErrorCode;
use subtle::ConstantTimeEq as _;

use super::{
    CODE_LIFE, refused,
    start::place,
    store::{self, CodeRow, LoginRow},
};
use crate::{Ctx, Error, Result, app::App, audit::Act, auth::Opaque};

/// What the provider sends the browser back with.
#[derive(Clone, Default)]
pub struct Answered {
    /// Ours, of the beginning.
    pub state: String,
    /// What is traded for the provider's word.
    pub code: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// Who answers (RFC 9207), if it says so.
    pub iss: Option<String>,
}

/// Where to send the browser: back to the app, with a one-time code, or with `error`.
///
/// # Errors
/// `rate_limited` after too many tries from an address; `oidc_login_failed` for a state that is unknown, used, expired or
/// another browser's: then nobody knows where to.
pub async fn callback(
    app: &App,
    ctx: &Ctx,
    provider: &str,
    answered: &Answered,
    cookie: Option<&str>,
) -> Result<String> {
    app.limits.login.knock(ctx).await?;
    let state = Opaque::presented(&answered.state).ok_or_else(refused)?;
    let mut tx = app.db.begin("oidc_callback").await?;
    let login = store::take_login(&mut tx, &state).await?;
    tx.commit().await?;
    let login = login.filter(|login| ctx.now < login.expires_at && login.provider == provider);
    let login = login.ok_or_else(refused)?;
    let browser = cookie.and_then(Opaque::presented);
    if !browser.is_some_and(|hash| hash.ct_eq(&login.browser_hash).into()) {
        return Err(refused());
    }
    let ctx = Ctx { tenant: login.tenant_id, ..ctx.clone() };
    let parameter = match identify(app, &ctx, &login, answered, &state).await {
        Ok(code) => ("code", code),
        Err(error) => {
            let code = error.code();
            let key = app.clinic_key(&ctx, ctx.tenant).await?;
            let mut tx = app.db.begin("oidc_refused").await?;
            let act = Act::failed("login").object("provider", provider).object("reason", code);
            app.audit(&mut tx, &ctx, &key, act).await?;
            tx.commit().await?;
            ("error", code.as_str().to_owned())
        }
    };
    let joint = if login.return_to.contains('?') { '&' } else { '?' };
    Ok(format!("{}{joint}{}={}", login.return_to, parameter.0, parameter.1))
}

/// Asks the provider, and gives the one-time code of the account it means.
async fn identify(
    app: &App,
    ctx: &Ctx,
    login: &LoginRow,
    answered: &Answered,
    state: &[u8],
) -> Result<String> {
    let configured = app.providers.named(&login.provider)?;
    if answered.iss.as_ref().is_some_and(|issuer| *issuer != configured.issuer) {
        return Err(refused());
    }
    let code = match (&answered.code, &answered.error) {
        (Some(code), None) => code,
        _ => return Err(refused()),
    };
    let verifier = app.crypter.decrypt_text(place(state), &login.verifier_enc)?;
    let said = app.providers.subject(&login.provider, code, (&login.nonce, &verifier), ctx.now).await?;
    let index = app.crypter.subject_index(ctx.tenant.as_bytes(), &configured.issuer, &said);
    // Nothing else that the provider says finds an account.
    let mut tx = app.db.read("oidc_bound").await?;
    let found = store::bound_user(&mut tx, ctx.tenant, &configured.issuer, &index).await?;
    drop(tx);
    let row = CodeRow {
        tenant_id: ctx.tenant,
        provider: login.provider.clone(),
        user_id: found.ok_or(Error::Unauthenticated(ErrorCode::OidcNotBound))?,
        issuer: configured.issuer.clone(),
        subject_index: index,
        challenge: login.challenge.clone(),
        expires_at: ctx.now + CODE_LIFE,
    };
    let opaque = Opaque::new(&*app.entropy);
    let mut tx = app.db.begin("oidc_code").await?;
    store::insert_code(&mut tx, &opaque.hash, &row, ctx.now).await?;
    tx.commit().await?;
    Ok(opaque.text)
}
