//! Who may notice what a person is doing: the people of their open conversations, while the rules let the person
//! write there. Nothing checks this again at a commit, so a kept snapshot serves only when it is of this moment.

use std::{collections::HashMap, sync::Arc};

use sigilo_wire::{
    ConversationId, DeviceId, UserId,
    presence::{Presence, PresenceStatus, Privacy},
};

use super::{
    snapshot::{Member, Snapshot},
    store::company as store,
};
use crate::{
    App, Ctx, Error, Result,
    policy::{Grant, SendMessage},
    storage::Tx,
};

/// The grant to let the others of a conversation know that one is typing there: whoever may send, may. Refusals
/// are not written to the audit log: nothing was to be done.
///
/// # Errors
/// `not_found` when the caller does not take part, `message_not_allowed`, `conversation_closed`.
pub async fn authorize_typing(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(Grant<SendMessage>, Arc<Snapshot>)> {
    let mut tx = app.db.read("conversation_version").await?;
    let version = store::version(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    drop(tx);
    let snapshot = app.snapshots.of_version(app, ctx, id, version).await?;
    Ok((snapshot.decide(&app.policy, ctx)?, snapshot))
}

/// Somebody in the caller's company.
#[derive(Clone, Debug)]
pub(crate) struct Companion {
    /// Who.
    pub(crate) user: UserId,
    /// Their messaging devices.
    pub(crate) devices: Vec<DeviceId>,
    /// What they show.
    pub(crate) privacy: Privacy,
    /// The open conversations the two share.
    pub(crate) conversations: Vec<ConversationId>,
}

/// The caller's company, as far as it is `there`, and what the caller shows.
///
/// # Errors
/// When a store is away.
pub(crate) async fn company(
    app: &App,
    ctx: &Ctx,
    there: impl Fn(UserId) -> bool,
) -> Result<(Privacy, Vec<Companion>)> {
    let caller = ctx.caller()?.user_id;
    let mut tx = app.db.read("company").await?;
    let rows = store::company(&mut tx, caller).await?;
    drop(tx);
    let (mut privacy, mut company) = (Privacy::default(), HashMap::<UserId, Companion>::new());
    let mut current: Option<(ConversationId, Arc<Snapshot>)> = None;
    for (conversation, version, user) in rows.into_iter().filter(|(.., user)| there(*user)) {
        if current.as_ref().is_none_or(|(id, _)| *id != conversation) {
            let snapshot = match app.snapshots.of_version(app, ctx, conversation, version).await {
                Ok(snapshot) => snapshot,
                Err(Error::NotFound) => continue,
                Err(error) => return Err(error),
            };
            current = Some((conversation, snapshot));
        }
        let Some((_, snapshot)) = &current else { continue };
        match snapshot.decide(&app.policy, ctx) {
            Ok(_) => {}
            Err(Error::Denied(_) | Error::NotFound) => continue,
            Err(error) => return Err(error),
        }
        privacy = snapshot.member(caller).map_or(privacy, |me| me.privacy);
        if let Some(member) = snapshot.member(user) {
            let companion = company.entry(user).or_insert_with(|| Companion::new(member));
            companion.conversations.push(conversation);
        }
    }
    Ok((privacy, company.into_values().collect()))
}

impl Companion {
    fn new(member: &Member) -> Self {
        Self {
            user: member.user,
            devices: member.devices.iter().map(|device| device.id).collect(),
            privacy: member.privacy,
            conversations: Vec::with_capacity(1),
        }
    }
}

/// What the people of the caller's open conversations show to the caller. The rules are the asker's to look at.
///
/// # Errors
/// When the database is away.
pub(super) async fn shown(app: &App, tx: &mut Tx, looking: UserId) -> Result<HashMap<UserId, Presence>> {
    let shown = store::shown(tx, looking).await?.into_iter().filter(|row| row.presence || row.last_seen);
    Ok(shown
        .map(|row| {
            let there = app.presence.status(row.user_id);
            let gone = !row.presence || there == PresenceStatus::Offline;
            let status = row.presence.then_some(there);
            let last_seen_at = row.last_seen_at.filter(|_| row.last_seen && gone);
            (row.user_id, Presence { status, last_seen_at })
        })
        .collect())
}
