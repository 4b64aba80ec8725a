//! What the rules would say to acts in conversations: the facts and the decision of the acts themselves, and no act.
//! Each gives the patient it concerns, too.

use sigilo_wire::{ConversationId, FileId, UserId, conversation::ConversationType};

use super::{authorize, participants};
use crate::{
    App, Ctx, Error, Result,
    policy::{
        AddParticipant, Decide, Looked, ReadFile, ReadSeals, StartConversation,
        facts::{FileReader, InConversation, Leave},
    },
};

/// Starting a conversation with these people.
///
/// # Errors
/// As [`super::authorize_start`], but for the denial.
pub(crate) async fn look_start(
    app: &App,
    ctx: &Ctx,
    kind: ConversationType,
    others: &[UserId],
) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = authorize::load_start(app, ctx, kind, others).await?;
    Ok((app.policy.look::<StartConversation>(ctx, &facts)?, patient))
}

/// An act of somebody who takes part.
///
/// # Errors
/// `not_found` when the caller does not take part.
pub(crate) async fn look_in<A: Decide<Facts = InConversation>>(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(Looked, Option<UserId>)> {
    let facts = participants::load(app, ctx, id).await?;
    let looked = app.policy.look::<A>(ctx, &facts.of(ctx.caller()?.user_id)?)?;
    let answer = looked.answer.map_err(|denial| facts.explained(ctx.now, denial));
    Ok((Looked { answer, ..looked }, facts.patient))
}

/// Reading a file of somebody else's for which nobody has to ask the patient: no file is named.
///
/// # Errors
/// `not_found` when the caller does not take part.
pub(crate) async fn look_file(app: &App, ctx: &Ctx, id: ConversationId) -> Result<(Looked, Option<UserId>)> {
    let facts = participants::load(app, ctx, id).await?;
    let base = facts.of(ctx.caller()?.user_id)?;
    let file = FileReader { base, file: FileId::from_bytes([0; 16]), uploader: false, agreed: true };
    Ok((app.policy.look::<ReadFile>(ctx, &file)?, facts.patient))
}

/// Reading the record seals.
///
/// # Errors
/// `not_found` when the caller has never taken part.
pub(crate) async fn look_seals(app: &App, ctx: &Ctx, id: ConversationId) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = authorize::load_seals(app, ctx, id).await?;
    Ok((app.policy.look::<ReadSeals>(ctx, &facts)?, patient))
}

/// Bringing these people into a conversation.
///
/// # Errors
/// As [`super::add_participants`], but for the denial; `invalid_field` when all of them take part already.
pub(crate) async fn look_join(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    users: &[UserId],
) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = participants::load_join(app, ctx, id, users)
        .await?
        .ok_or_else(|| Error::field("user_ids", "take part already"))?;
    Ok((app.policy.look::<AddParticipant>(ctx, &facts)?, patient))
}

/// Taking this person out of a conversation, or leaving it.
///
/// # Errors
/// `not_found` when the caller or the person does not take part.
pub(crate) async fn look_leave<A: Decide<Facts = Leave>>(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    user: UserId,
) -> Result<(Looked, Option<UserId>)> {
    let facts = participants::load(app, ctx, id).await?;
    let base = facts.of(ctx.caller()?.user_id)?;
    facts.person(user).ok_or(Error::NotFound)?;
    Ok((app.policy.look::<A>(ctx, &Leave { base, user })?, facts.patient))
}
