//! The patient's word on whether others may open a file that needs it.

use sigilo_wire::{
    ConversationId, FileId,
    vault::{Consent, StoredFile},
};

use super::{files, store};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    conversations,
    policy::{Action as _, AnswerConsent, Grant},
};

/// The grant to answer for a file.
///
/// # Errors
/// `not_found` when the clinic has no such file, or the caller does not take part where it is; the rules' denial.
pub async fn authorize_consent(app: &App, ctx: &Ctx, id: FileId) -> Result<Grant<AnswerConsent>> {
    let mut tx = app.db.read("file_get").await?;
    let file = files::get(&mut tx, ctx.tenant, id).await?;
    drop(tx);
    conversations::authorize_consent(app, ctx, file.row.conversation_id).await
}

/// Notes the patient's answer, in place of what they said before. The same answer again changes nothing.
///
/// # Errors
/// `invalid_field` for a file that needs no consent.
pub async fn consent(
    app: &App,
    ctx: &Ctx,
    grant: Grant<AnswerConsent>,
    id: FileId,
    consent: &Consent,
) -> Result<StoredFile> {
    let conversation: ConversationId = *grant.resource();
    let caller = ctx.caller()?.user_id;
    let key = app.conversation_key(ctx, conversation).await?;
    let mut tx = app.db.begin("file_consent").await?;
    let before = files::get(&mut tx, ctx.tenant, id).await?;
    if before.row.conversation_id != conversation {
        return Err(Error::internal("a grant to answer for a file was used in another conversation"));
    }
    if !before.row.requires_consent {
        return Err(Error::field("file_id", "is a file that needs no consent"));
    }
    if before.row.consent != Some(consent.allowed) {
        store::set_consent(&mut tx, id, consent.allowed, (caller, ctx.now)).await?;
        let act = Act::done(AnswerConsent::NAME)
            .object("conversation", conversation)
            .object("file", id)
            .object("allowed", consent.allowed)
            .patient(Some(caller))
            .by(grant.basis());
        let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
        audit::write(&mut tx, ctx.tenant, vec![entry]);
    }
    let shown = files::get(&mut tx, ctx.tenant, id).await?.shown(ctx.now)?;
    tx.commit().await?;
    Ok(shown)
}
