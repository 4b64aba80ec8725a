//! A participant says that a record seal is not as it must be (docs/PROTOCOL.md, Records). The server cannot
//! open seals: whether the report is true is for people to find out.

use serde_json::json;
use sigilo_wire::{SealId, seal::ReportSeal as Report};

use super::store;
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    outbox::{self, Fact},
    policy::{Grant, ReportSeal},
};

/// Notes the report, once a person and seal: the first one stands.
///
/// # Errors
/// `not_found` when the conversation has no such seal.
pub async fn report_seal(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReportSeal>,
    seal: SealId,
    report: &Report,
) -> Result<()> {
    let caller = ctx.caller()?;
    let conversation = *grant.resource();
    let key = app.conversation_key(ctx, conversation).await?;
    let mut tx = app.db.begin("report_seal").await?;
    let stored = store::seal(&mut tx, seal).await?.filter(|row| row.conversation_id == conversation);
    let maker = stored.ok_or(Error::NotFound)?.sender_id;
    let problem = report.problem.as_str();
    if !store::insert_seal_report(&mut tx, ctx.tenant, (seal, problem), caller, ctx.now).await? {
        return Ok(());
    }
    let data = json!({
        "conversation_id": conversation, "seal_id": seal, "sender_id": maker,
        "reporter_id": caller.user_id, "problem": problem,
    });
    outbox::publish(&mut tx, ctx.tenant, vec![Fact { topic: "seal.reported", data }], ctx.now);
    let act = Act::done("report_seal")
        .object("conversation", conversation)
        .object("seal", seal)
        .object("problem", problem)
        .patient(store::patient(&mut tx, conversation).await?)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await
}
