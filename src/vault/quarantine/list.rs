//! Who sees the quarantine, and what.

use sigilo_wire::{FileId, vault::QuarantineList};

use super::store;
use crate::{
    App, Ctx, Result,
    paging::Paging,
    policy::{self, Grant, ManageQuarantine, facts},
    vault::files,
};

/// The grant to see and destroy files that were found infected.
///
/// # Errors
/// `forbidden` to all but moderators and the operator.
pub async fn authorize_manage(app: &App, ctx: &Ctx) -> Result<Grant<ManageQuarantine>> {
    let decision = app.policy.decide::<ManageQuarantine>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// A page of the files whose newest verdict is that they are infected, in the order they were uploaded, with who calls
/// that false. Nobody is given their content here.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: &Grant<ManageQuarantine>,
    paging: &Paging,
) -> Result<QuarantineList> {
    let window = paging.window()?;
    let after = paging.place()?.unwrap_or_else(|| FileId::from_bytes([0; 16]));
    let mut tx = app.db.read("quarantine_list").await?;
    let mut found = store::infected(&mut tx, ctx.tenant, after, window).await?;
    let next_cursor = window.cut(&mut found, |file| *file);
    let mut results = Vec::with_capacity(found.len());
    for file in found {
        results.push(files::get(&mut tx, ctx.tenant, file).await?.shown(ctx.now)?);
    }
    Ok(QuarantineList { results, has_more: next_cursor.is_some(), next_cursor })
}
