//! Who may have files of a conversation looked into.

use sigilo_wire::{ConversationId, FileId, UserId};

use super::participants::load;
use crate::{
    App, Ctx, Error, Result,
    policy::{
        self, Decide, Grant, Looked,
        facts::{FileOf, InConversation},
    },
};

/// A file of a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfFile {
    /// The file.
    pub(crate) file: FileId,
    /// Where it is read.
    pub(crate) conversation: ConversationId,
    /// Who uploaded it.
    pub(crate) uploader: UserId,
}

/// The grant to do something with a file.
///
/// # Errors
/// `not_found` when the caller does not take part; the rules' denial.
pub(crate) async fn authorize_of_file<A: Decide<Facts = FileOf>>(
    app: &App,
    ctx: &Ctx,
    about: OfFile,
) -> Result<Grant<A>> {
    let facts = load(app, ctx, about.conversation).await?;
    let caller = ctx.caller()?.user_id;
    let OfFile { file, conversation, uploader } = about;
    let asked = FileOf { base: facts.of(caller)?, file, uploader: uploader == caller };
    let decision = app.policy.decide::<A>(ctx, &asked);
    let objects = [("conversation", conversation.to_string()), ("file", file.to_string())];
    policy::audited(app, ctx, decision, facts.patient, &objects).await
}

/// What the rules would say of a file of the caller's own: none is named.
///
/// # Errors
/// `not_found` when the caller does not take part.
pub(crate) async fn look_of_file<A: Decide<Facts = FileOf>>(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(Looked, Option<UserId>)> {
    let facts = load(app, ctx, id).await?;
    let base: InConversation = facts.of(ctx.caller()?.user_id)?;
    let asked = FileOf { base, file: FileId::from_bytes([0; 16]), uploader: true };
    Ok((app.policy.look::<A>(ctx, &asked)?, facts.patient))
}

/// The patient a conversation concerns; nobody when all have left it.
///
/// # Errors
/// When the database is away.
pub(crate) async fn patient_of(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Option<UserId>> {
    match load(app, ctx, id).await {
        Ok(facts) => Ok(facts.patient),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
