//! The people of a clinic, for those who manage them.

use serde::Serialize;
use sigilo_wire::{Role, Timestamp, UserId};

use super::{store, user_place};
use crate::{
    Ctx, Result,
    app::App,
    audit::Act,
    policy::{Grant, ManagePeople},
};

/// A person as an admin sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserSummary {
    /// The person.
    pub user_id: UserId,
    /// Their role.
    pub role: Role,
    /// `person` (imported, no account), `invited`, `active` or `suspended`.
    pub status: String,
    /// Their name.
    pub full_name: String,
    /// Their e-mail address.
    pub email: Option<String>,
    /// When they became known.
    pub created_at: Timestamp,
}

/// Up to `limit` people of the clinic after the given id, in the order they became known.
///
/// # Errors
/// When the database is away.
pub async fn list_users(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    after: Option<UserId>,
    limit: u16,
) -> Result<Vec<UserSummary>> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("users").await?;
    let after = after.unwrap_or(UserId::from_bytes([0; 16]));
    let rows = store::users(&mut tx, ctx.tenant, after, i64::from(limit)).await?;
    app.audit(&mut tx, ctx, &key, Act::done("list_users").by(grant.basis())).await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let open =
                |column, sealed: &[u8]| app.crypter.decrypt_text(user_place(&row.user_id, column), sealed);
            Ok(UserSummary {
                user_id: row.user_id,
                role: row.role()?,
                full_name: open("full_name_enc", &row.full_name_enc)?,
                email: row.email_enc.as_deref().map(|sealed| open("email_enc", sealed)).transpose()?,
                status: row.status,
                created_at: row.created_at,
            })
        })
        .collect()
}
