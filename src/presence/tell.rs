//! Telling people that somebody is there, or not any more.

use std::sync::Arc;

use serde_json::json;
use sigilo_wire::{
    UserId,
    account::DeviceKind,
    event::{EventType, ServerFrame},
    presence::{PresenceStatus, Privacy, UserStatus},
};

use super::{Seat, to_the_minute};
use crate::{
    Actor, App, Caller, Ctx, Error, Result,
    conversations::{self, Companion},
    policy::{Grant, ShowPresence},
    relay::hub::{Registration, Sockets},
};

/// Takes a socket's `status` frame. The first gives it its place, and brings how everybody is whom the caller may
/// notice; each one that changes how the caller is over all sockets is told to them.
///
/// # Errors
/// `invalid_field` for `offline`; `unavailable`.
pub async fn arrive(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<ShowPresence>,
    (registration, seat): (&Registration, &mut Option<Seat>),
    status: PresenceStatus,
) -> Result<()> {
    if status == PresenceStatus::Offline {
        return Err(Error::field("data.status", "is online, away or busy: closing the socket ends it"));
    }
    let caller = *grant.resource();
    let (first, changed) = match seat {
        Some(seat) => (false, seat.set(status)),
        None => {
            let before = app.presence.status(caller);
            registration.watch();
            let device = ctx.caller()?.device_id;
            *seat = Some(app.presence.sit((caller, device), status, ctx.now));
            (true, before != app.presence.status(caller))
        }
    };
    if !first && !changed {
        return Ok(());
    }
    let (privacy, company) = company(app, ctx).await?;
    app.presence.telling(|status_of| {
        for companion in mutual(privacy, &company) {
            if changed {
                tell(app, companion, &status_frame(ctx, caller, status_of(caller)));
            }
            if first {
                let frame = status_frame(ctx, companion.user, status_of(companion.user));
                registration.signal(&companion.conversations, &frame);
            }
        }
    });
    Ok(())
}

/// A socket has closed: gives its place back, and tells those who may notice when it was the person's last, or was
/// what made them busy. A stopping server tells nobody: everybody's sockets close.
pub async fn leave(app: &App, ctx: &Ctx, seat: Seat) {
    let Ok(caller) = ctx.caller().map(|caller| caller.user_id) else { return };
    let before = app.presence.status(caller);
    drop(seat);
    app.presence.saw(caller, ctx.now);
    if app.presence.status(caller) == before || app.shutdown.borrow().is_draining() {
        return;
    }
    let (privacy, company) = match company(app, ctx).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "nobody was told that somebody has left");
            return;
        }
    };
    app.presence.telling(|status_of| {
        for companion in mutual(privacy, &company) {
            let status = status_of(caller);
            let shown = privacy.show_last_seen && companion.privacy.show_last_seen;
            let last_seen_at = (shown && status == PresenceStatus::Offline).then(|| to_the_minute(ctx.now));
            tell(app, companion, &frame(ctx, UserStatus { user_id: caller, status, last_seen_at }));
        }
    });
}

/// After the commit that changed what the caller shows: who hides from now on is gone for the others; who no longer
/// hides is there again, and hears of the others.
///
/// # Errors
/// `unavailable`.
pub async fn settings_changed(app: &App, ctx: &Ctx, before: Privacy, after: Privacy) -> Result<()> {
    let caller = *ctx.caller()?;
    if before.show_presence == after.show_presence || !app.presence.is_there(caller.user_id) {
        return Ok(());
    }
    // It is the person who is there, whichever device changed the setting.
    let actor = Actor::User(Caller { kind: DeviceKind::Messaging, ..caller });
    let ctx = &Ctx { actor, ..ctx.clone() };
    let (_, company) = company(app, ctx).await?;
    let own_devices = app.presence.devices(caller.user_id);
    app.presence.telling(|status_of| {
        let shows = Privacy { show_presence: true, ..after };
        for companion in mutual(shows, &company) {
            let status =
                if after.show_presence { status_of(caller.user_id) } else { PresenceStatus::Offline };
            tell(app, companion, &status_frame(ctx, caller.user_id, status));
            if after.show_presence {
                let frame = status_frame(ctx, companion.user, status_of(companion.user));
                for device in &own_devices {
                    app.hub.signal(*device, &companion.conversations, Sockets::Watching, &frame);
                }
            }
        }
    });
    Ok(())
}

/// Whom the caller may notice among those who are there.
async fn company(app: &App, ctx: &Ctx) -> Result<(Privacy, Vec<Companion>)> {
    conversations::company(app, ctx, |user| app.presence.is_there(user)).await
}

/// Those who show whether they are there, if the caller does, too.
fn mutual(privacy: Privacy, company: &[Companion]) -> impl Iterator<Item = &Companion> {
    company.iter().filter(move |companion| privacy.show_presence && companion.privacy.show_presence)
}

fn tell(app: &App, companion: &Companion, frame: &Arc<ServerFrame>) {
    for device in &companion.devices {
        app.hub.signal(*device, &companion.conversations, Sockets::Watching, frame);
    }
}

fn status_frame(ctx: &Ctx, user_id: UserId, status: PresenceStatus) -> Arc<ServerFrame> {
    frame(ctx, UserStatus { user_id, status, last_seen_at: None })
}

fn frame(ctx: &Ctx, status: UserStatus) -> Arc<ServerFrame> {
    Arc::new(ServerFrame {
        r#type: EventType::UserStatus,
        data: json!(status),
        timestamp: ctx.now,
        conversation_id: None,
        sender_id: Some(status.user_id),
        event_id: None,
        request_id: None,
    })
}
