//! What a participant changes about a conversation: how they see it themselves, and, for a clinician, that it is
//! over.
//!
//! A closed conversation stays closed and readable; whoever wants to go on starts another.

use sigilo_wire::{
    ConversationId,
    conversation::{
        Conversation, ConversationSettingsChange, ConversationStatus, ConversationType, UpdateConversation,
    },
};

use super::{
    details, notify,
    participants::{ATTEMPTS, busy, leave_conversation},
    snapshot::Facts,
    store::{self, members},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act, Prepared},
    policy::{self, Action, ArrangeConversation, CloseConversation, Grant},
    storage::keystore::DataKey,
};

/// Changes the caller's own settings, and closes the conversation if that is asked. Gives the conversation.
///
/// # Errors
/// `not_found` when the caller does not take part, `invalid_field` when a closed conversation is to be open again,
/// `forbidden`.
pub async fn update_conversation(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    change: &UpdateConversation,
) -> Result<Conversation> {
    if change.status == Some(ConversationStatus::Active) {
        return Err(Error::field("status", "is closed: a closed conversation does not open again"));
    }
    for _ in 0..ATTEMPTS {
        let allowed = authorize(app, ctx, id, change).await?;
        if let Some(conversation) = apply(app, ctx, id, &change.settings, &allowed).await? {
            return Ok(conversation);
        }
    }
    Err(busy())
}

/// Leaves a care team or an administrative conversation; puts any other away for the caller.
///
/// # Errors
/// As [`update_conversation`] and `leave_conversation`.
pub async fn leave_or_archive(app: &App, ctx: &Ctx, id: ConversationId) -> Result<()> {
    let facts = Facts::load(&mut app.db.read("conversation_kind").await?, ctx, id).await?;
    match facts.of(ctx.caller()?.user_id)?.kind {
        ConversationType::Group | ConversationType::Administrative => leave_conversation(app, ctx, id).await,
        ConversationType::Direct | ConversationType::Consultation | ConversationType::Emergency => {
            let settings =
                ConversationSettingsChange { archived: Some(true), ..ConversationSettingsChange::default() };
            let change = UpdateConversation { settings, status: None };
            update_conversation(app, ctx, id, &change).await.map(|_| ())
        }
    }
}

/// What was allowed.
struct Allowed {
    arrange: Option<Grant<ArrangeConversation>>,
    /// With the version of the facts it was decided on; `None` when it is closed already.
    close: Option<(Grant<CloseConversation>, i64)>,
}

async fn authorize(app: &App, ctx: &Ctx, id: ConversationId, change: &UpdateConversation) -> Result<Allowed> {
    let facts = Facts::load(&mut app.db.read("conversation_update_facts").await?, ctx, id).await?;
    let base = facts.of(ctx.caller()?.user_id)?;
    let objects = [("conversation", id.to_string())];
    let arrange = if change.settings.is_empty() {
        None
    } else {
        let decision = app.policy.decide::<ArrangeConversation>(ctx, &base);
        Some(policy::audited(app, ctx, decision, facts.patient, &objects).await?)
    };
    let close = if change.status == Some(ConversationStatus::Closed) {
        let decision = app.policy.decide::<CloseConversation>(ctx, &base);
        let grant = policy::audited(app, ctx, decision, facts.patient, &objects).await?;
        (base.status != ConversationStatus::Closed).then_some((grant, base.facts_version))
    } else {
        None
    };
    Ok(Allowed { arrange, close })
}

/// One try. `None` when what was decided on has changed since.
async fn apply(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    settings: &ConversationSettingsChange,
    allowed: &Allowed,
) -> Result<Option<Conversation>> {
    let user = ctx.caller()?.user_id;
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("conversation_update").await?;
    let patient = store::patient(&mut tx, id).await?;
    let mut entries = Vec::new();
    let mut devices = Vec::new();
    if let Some((grant, version)) = &allowed.close {
        if members::move_on(&mut tx, id, *version, ctx.now).await?.is_none() {
            return Ok(None);
        }
        members::close(&mut tx, id, ctx.now).await?;
        devices = notify::conversation_updated(&mut tx, ctx, id, "closed").await?;
        entries.push(entry(app, ctx, grant, id, patient, &key)?);
    }
    if let Some(grant) = &allowed.arrange {
        members::arrange(&mut tx, id, user, settings).await?;
        devices.extend(notify::settings_changed(&mut tx, ctx, id, user).await?);
        entries.push(entry(app, ctx, grant, id, patient, &key)?);
    }
    audit::write(&mut tx, ctx.tenant, entries);
    let conversation = details::shown(app, &mut tx, ctx, id).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(Some(conversation))
}

fn entry<A: Action>(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<A>,
    id: ConversationId,
    patient: Option<sigilo_wire::UserId>,
    key: &DataKey,
) -> Result<Prepared> {
    let act = Act::done(A::NAME).object("conversation", id).patient(patient).by(grant.basis());
    audit::prepare(ctx, &act, key, None, &*app.entropy)
}
