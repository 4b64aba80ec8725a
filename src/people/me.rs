//! The caller's own account.

use sigilo_wire::account::{Me, UpdateMe};

use super::{store, user_place};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth, conversations,
    policy::{Grant, ManageOwnAccount},
    presence,
};

/// The caller's account and the device of the token.
///
/// # Errors
/// When the database is away.
pub async fn get_me(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<Me> {
    let user = *grant.resource();
    let device = auth::current_device(app, ctx).await?;
    let mut tx = app.db.read("me").await?;
    let row = store::user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    let privacy = presence::privacy(&mut tx, user).await?;
    let open = |column, sealed: &[u8]| app.crypter.decrypt_text(user_place(&user, column), sealed);
    Ok(Me {
        user_id: user,
        clinic_id: ctx.tenant,
        role: row.role()?,
        full_name: open("full_name_enc", &row.full_name_enc)?,
        email: row.email_enc.as_deref().map(|sealed| open("email_enc", sealed)).transpose()?,
        locale: row.locale,
        time_zone: row.time_zone,
        privacy,
        device,
    })
}

/// Changes what the request names; absent fields stay.
///
/// # Errors
/// `invalid_field`.
pub async fn update_me(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    update: &UpdateMe,
) -> Result<Me> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let mut fields = Vec::new();
    if let Some(name) = &update.full_name {
        super::check_name("full_name", name)?;
        fields.push("full_name");
    }
    if let Some(locale) = &update.locale {
        check_locale(locale)?;
        fields.push("locale");
    }
    if let Some(zone) = &update.time_zone {
        super::check_time_zone(zone)?;
        fields.push("time_zone");
    }
    if !update.privacy.is_empty() {
        fields.push("privacy");
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("me_update").await?;
    if let Some(name) = &update.full_name {
        let place = user_place(&user, "full_name_enc");
        let sealed = app.crypter.encrypt(place, name.trim().as_bytes(), &*app.entropy)?;
        store::set_name(&mut tx, user, &sealed).await?;
    }
    let shown = presence::privacy(&mut tx, user).await?;
    let shows = update.privacy.of(shown);
    if shows != shown {
        presence::set_privacy(&mut tx, user, shows).await?;
    }
    // Messages show their sender's name, and what people show decides who hears of them.
    if update.full_name.is_some() || shows != shown {
        conversations::facts_changed_of(&mut tx, user).await?;
    }
    if let Some(locale) = &update.locale {
        store::set_locale(&mut tx, user, locale).await?;
    }
    if let Some(zone) = &update.time_zone {
        store::set_time_zone(&mut tx, user, zone).await?;
    }
    let act =
        Act::done("update_account").object("fields", fields.join(",")).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    presence::settings_changed(app, ctx, shown, shows).await?;
    get_me(app, ctx, grant).await
}

/// A language tag in the shape of BCP 47: a language of 2 to 8 letters, then parts of 1 to 8 letters or digits.
fn check_locale(locale: &str) -> Result<()> {
    let mut parts = locale.split('-');
    let language = parts.next().unwrap_or("");
    let good = locale.len() <= 35
        && (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    if good { Ok(()) } else { Err(Error::field("locale", "a language tag such as es-MX")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_a_language_tag() {
        for good in ["es", "es-MX", "zh-Hant-TW", "en-US-x-clinic"] {
            check_locale(good).unwrap();
        }
        for wrong in ["", "e", "es_MX", "es-", "-MX", "es MX", "12", "español"] {
            assert!(check_locale(wrong).is_err(), "{wrong}");
        }
    }
}
