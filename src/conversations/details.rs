//! One conversation, and how rows become what participants see.

use std::collections::HashMap;

use sigilo_wire::{
    ConversationId, Role,
    account::DeviceKind,
    conversation::{
        Conversation, ConversationMetadata, ConversationSettings, Participant, Permission, Permissions,
    },
};

use super::{
    company,
    snapshot::Facts,
    store::{self, ConversationRow, ParticipantRow},
};
use crate::{
    App, Ctx, Error, Result, marks,
    policy::{
        AddParticipant, BlockUser, CloseConversation, Decide, Grant, LeaveConversation, Person,
        ReadConversation, RemoveParticipant, SendMessage, UploadFile,
        facts::{InConversation, Join, Leave, Other, People},
    },
    relay,
    storage::{Tx, crypter::Place},
};

/// A conversation's details.
///
/// # Errors
/// `not_found` when it is gone.
pub async fn get(app: &App, ctx: &Ctx, grant: Grant<ReadConversation>) -> Result<Conversation> {
    let mut tx = app.db.read("conversation_get").await?;
    let mut conversation = shown(app, &mut tx, ctx, *grant.resource()).await?;
    let facts = Facts::load(&mut tx, ctx, *grant.resource()).await?;
    let caller = ctx.caller()?.user_id;
    let permissions = permissions(app, ctx, &facts, facts.of(caller)?)?;
    // Whom one may not write to, one does not watch either.
    if permissions.send.allowed {
        let shown = company::shown(app, &mut tx, caller).await?;
        for participant in &mut conversation.participants {
            participant.presence = shown.get(&participant.user_id).copied();
        }
    }
    drop(tx);
    conversation.permissions = Some(permissions);
    with_last_messages(app, ctx, vec![conversation]).await?.pop().ok_or(Error::NotFound)
}

/// A conversation as the caller sees it, without messages.
pub(crate) async fn shown(app: &App, tx: &mut Tx, ctx: &Ctx, id: ConversationId) -> Result<Conversation> {
    let row = store::by_id(tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    render(app, tx, ctx, vec![row]).await?.pop().ok_or(Error::NotFound)
}

fn permissions(app: &App, ctx: &Ctx, facts: &Facts, base: InConversation) -> Result<Permissions> {
    let clinician = Person { role: Role::Doctor, ..base.caller };
    let people = People { reachable: true, blocked: false, ..base.people };
    let leave = Leave { base, user: base.caller.id };
    // What is done to a message is said by another one.
    let send =
        permission(app.policy.decide::<SendMessage>(ctx, &base).map_err(|e| facts.explain(ctx.now, e)))?;
    Ok(Permissions {
        upload: permission(
            app.policy.decide::<UploadFile>(ctx, &base).map_err(|e| facts.explain(ctx.now, e)),
        )?,
        edit: send.clone(),
        delete: send.clone(),
        send,
        add_participant: permission(
            app.policy.decide::<AddParticipant>(ctx, &Join { base, joining: vec![clinician], people }),
        )?,
        remove_participant: permission(app.policy.decide::<RemoveParticipant>(ctx, &leave))?,
        leave: permission(app.policy.decide::<LeaveConversation>(ctx, &leave))?,
        close: permission(app.policy.decide::<CloseConversation>(ctx, &base))?,
        block: block(app, ctx, facts, base.caller)?,
    })
}

/// Whether the caller may block somebody of those who take part.
fn block(app: &App, ctx: &Ctx, facts: &Facts, caller: Person) -> Result<Permission> {
    let mut refused = Permission { allowed: false, reason: None, policies: Vec::new(), next_open_at: None };
    for target in facts.people().iter().copied().filter(|person| person.id != caller.id) {
        let found = permission(app.policy.decide::<BlockUser>(ctx, &Other { caller, target }))?;
        if found.allowed {
            return Ok(found);
        }
        if refused.policies.is_empty() {
            refused = found;
        }
    }
    Ok(refused)
}

fn permission<A: Decide>(decision: Result<Grant<A>>) -> Result<Permission> {
    match decision {
        Ok(grant) => Ok(Permission {
            allowed: true,
            reason: None,
            policies: grant.basis().policies.to_vec(),
            next_open_at: None,
        }),
        Err(Error::Denied(denial)) => Ok(Permission {
            allowed: false,
            reason: denial.details["reason"].as_str().map(str::to_owned),
            next_open_at: denial.details["next_open_at"].as_str().and_then(|at| at.parse().ok()),
            policies: denial.policies,
        }),
        Err(error) => Err(error),
    }
}

/// Rows as participants see them, without messages.
pub(super) async fn render(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    rows: Vec<ConversationRow>,
) -> Result<Vec<Conversation>> {
    let caller = ctx.caller()?.user_id;
    let ids: Vec<ConversationId> = rows.iter().map(|row| row.conversation_id).collect();
    let mut people: HashMap<ConversationId, Vec<Participant>> = HashMap::new();
    let mut settings: HashMap<ConversationId, ConversationSettings> = HashMap::new();
    for row in store::participants(tx, &ids).await? {
        if row.user_id == caller {
            let ParticipantRow { notifications_enabled, archived, .. } = row;
            settings.insert(row.conversation_id, ConversationSettings { notifications_enabled, archived });
        }
        people.entry(row.conversation_id).or_default().push(participant(app, row)?);
    }
    let unread = marks::unread_in(tx, caller, &ids, ctx.now).await?;
    rows.into_iter()
        .map(|row| {
            let participants = people.remove(&row.conversation_id).unwrap_or_default();
            let settings = settings.get(&row.conversation_id).copied().unwrap_or_default();
            let unread_count = unread.get(&row.conversation_id).copied().unwrap_or(0);
            conversation(row, participants, settings, unread_count)
        })
        .collect()
}

/// With the newest message of each, on devices that may see content.
pub(super) async fn with_last_messages(
    app: &App,
    ctx: &Ctx,
    mut conversations: Vec<Conversation>,
) -> Result<Vec<Conversation>> {
    let reader = ctx.caller()?;
    if reader.kind != DeviceKind::Messaging {
        return Ok(conversations);
    }
    let ids: Vec<ConversationId> =
        conversations.iter().filter(|c| c.total_messages > 0).map(|c| c.id).collect();
    let mut newest: HashMap<_, _> = relay::read::newest(app, ctx, &ids)
        .await?
        .into_iter()
        .map(|message| (message.conversation_id, message))
        .collect();
    for conversation in &mut conversations {
        conversation.last_message = newest.remove(&conversation.id);
    }
    Ok(conversations)
}

fn participant(app: &App, row: ParticipantRow) -> Result<Participant> {
    let name = Place { table: "users", row: row.user_id.as_bytes(), column: "full_name_enc" };
    Ok(Participant {
        user_id: row.user_id,
        user_type: row.user_type.parse().map_err(Error::Internal)?,
        full_name: app.crypter.decrypt_text(name, &row.full_name_enc)?,
        role: row.role.parse().map_err(Error::Internal)?,
        joined_at: row.joined_at,
        can_leave: row.can_leave,
        waiting: row.withheld,
        presence: None,
    })
}

fn conversation(
    row: ConversationRow,
    participants: Vec<Participant>,
    settings: ConversationSettings,
    unread_count: i64,
) -> Result<Conversation> {
    Ok(Conversation {
        id: row.conversation_id,
        r#type: row.r#type.parse().map_err(Error::Internal)?,
        status: row.status.parse().map_err(Error::Internal)?,
        metadata: ConversationMetadata {
            related_appointment_id: row.related_appointment_id,
            consultation_type: row.consultation_type,
            priority: row.priority.parse().map_err(Error::Internal)?,
        },
        participants,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        closed_at: row.closed_at,
        total_messages: row.last_seq,
        settings,
        permissions: None,
        unread_count,
        last_message: None,
    })
}
