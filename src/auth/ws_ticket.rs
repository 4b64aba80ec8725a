//! Tickets for WebSocket URLs: browsers cannot send an `Authorization` header, and URLs end up in logs, so
//! what stands in a URL works once and for 30 seconds.

use std::net::IpAddr;

use sigilo_wire::{ErrorCode, RequestId, account::WsTicket};

use super::{
    Opaque, WS_TICKET_LIFE,
    authenticate::{Session, session_of_device},
    store,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    policy::{Grant, ManageOwnAccount},
};

/// A ticket for the calling device.
///
/// # Errors
/// When the database is away.
pub async fn issue_ws_ticket(app: &App, ctx: &Ctx, _grant: Grant<ManageOwnAccount>) -> Result<WsTicket> {
    app.limits.clinics.ticket(&app.db, ctx).await?;
    let caller = ctx.caller()?;
    let ticket = Opaque::new(&*app.entropy);
    let mut tx = app.db.begin("ws_ticket").await?;
    let expires_at = ctx.now + WS_TICKET_LIFE;
    store::insert_ticket(&mut tx, &ticket.hash, caller.device_id, ctx.now, expires_at).await?;
    tx.commit().await?;
    Ok(WsTicket { ticket: ticket.text, expires_in: WS_TICKET_LIFE.as_secs() })
}

/// Who holds this ticket. It is gone afterwards. A socket opened with it may stay as long as with a fresh
/// access token.
///
/// # Errors
/// 401: `unauthenticated` for a ticket that is unknown, used or expired, `device_revoked`; `network_not_allowed`,
/// `mfa_enrolment_required`.
pub async fn take_ws_ticket(
    app: &App,
    ticket: &str,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Session> {
    let unknown = || Error::Unauthenticated(ErrorCode::Unauthenticated);
    let hash = Opaque::presented(ticket).ok_or_else(unknown)?;
    let now = app.clock.now();
    let mut tx = app.db.begin("ws_ticket_take").await?;
    let (device, expires_at) = store::take_ticket(&mut tx, &hash).await?.ok_or_else(unknown)?;
    tx.commit().await?;
    if now >= expires_at {
        return Err(unknown());
    }
    session_of_device(app, device, request, address).await
}
