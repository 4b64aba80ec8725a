//! From an access token to a context: what every request with a token does first.

use std::net::IpAddr;

use sigilo_wire::{DeviceId, ErrorCode, RequestId, Timestamp, TokenFamilyId};

use super::{ACCESS_TOKEN_LIFE, known::Standing, store, token_keys::Claims};
use crate::{Actor, Caller, Ctx, Error, Result, app::App};

/// Somebody known, until when.
#[derive(Clone, Debug)]
pub struct Session {
    /// The context of what they ask.
    pub ctx: Ctx,
    /// The family of the token they showed: the session ends with it.
    pub family: TokenFamilyId,
    /// From when they must show a fresh token; sockets close then.
    pub expires_at: Timestamp,
}

/// Who holds this access token.
///
/// # Errors
/// 401: `unauthenticated` for a token that is not ours, `token_expired`, `device_revoked` when the device was
/// removed or logged out, or the account is not active; 403: `network_not_allowed`, `mfa_enrolment_required`;
/// `unavailable`.
pub async fn authenticate(
    app: &App,
    token: &str,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Ctx> {
    authenticate_session(app, token, request, address).await.map(|session| session.ctx)
}

/// Who holds this access token, also when its account must enrol a second factor first: for what enrols it.
///
/// # Errors
/// As [`authenticate`], but for `mfa_enrolment_required`.
pub async fn authenticate_enrolling(
    app: &App,
    token: &str,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Ctx> {
    known(app, token, request, address).await.map(|(session, _)| session.ctx)
}

/// Who holds this access token, and until when it is good.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_session(
    app: &App,
    token: &str,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Session> {
    let (session, standing) = known(app, token, request, address).await?;
    match app.known_devices.may_use_tokens(&app.policy, &session.ctx, &standing) {
        Err(Error::Denied(_)) => {}
        cleared => return cleared.map(|()| session),
    }
    // What is remembered may be older than an enrolment on another node: no refusal rests on it.
    app.known_devices.forget(standing.device);
    let (session, standing) = known(app, token, request, address).await?;
    app.known_devices.may_use_tokens(&app.policy, &session.ctx, &standing)?;
    Ok(session)
}

/// Who holds this access token, and where their device and account stand.
async fn known(
    app: &App,
    token: &str,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<(Session, Standing)> {
    let now = app.clock.now();
    let claims = app.tokens.verify(&app.db, &app.crypter, token, now).await?;
    let mut known = app.known_devices.get(&app.db, claims.did, now).await?;
    if known.as_ref().is_some_and(|standing| standing.family != Some(claims.fam)) {
        // What is remembered may be older than a login on another node: no refusal rests on it.
        app.known_devices.forget(claims.did);
        known = app.known_devices.get(&app.db, claims.did, now).await?;
    }
    let standing = good(known, &claims)?;
    let session = Session {
        ctx: context(&standing, request, now, address),
        family: claims.fam,
        expires_at: Timestamp::from_micros(claims.exp.saturating_mul(1_000_000)),
    };
    match app.known_devices.may_connect(&app.policy, &session.ctx, &standing) {
        Err(Error::Denied(_)) => {}
        let_in => return let_in.map(|()| (session, standing)),
    }
    // Nor may what is remembered be older than what the clinic allows now.
    app.known_devices.forget(claims.did);
    let standing = good(app.known_devices.get(&app.db, claims.did, now).await?, &claims)?;
    app.known_devices.may_connect(&app.policy, &session.ctx, &standing)?;
    Ok((session, standing))
}

/// Where a device stands, if the token is of the family whose tokens are good.
fn good(known: Option<Standing>, claims: &Claims) -> Result<Standing> {
    let standing = known
        .filter(|standing| describes(standing, claims))
        .ok_or(Error::Unauthenticated(ErrorCode::Unauthenticated))?;
    if standing.family == Some(claims.fam) {
        Ok(standing)
    } else {
        Err(Error::Unauthenticated(ErrorCode::DeviceRevoked))
    }
}

/// Asks the database itself whether a session's tokens are still good, and good from where it comes. A socket asks once it is in the hub:
/// what ended its tokens before is seen here, what ends them later finds it there.
///
/// # Errors
/// 401 `device_revoked` when they are not; `network_not_allowed`; `unavailable`.
pub async fn still_stands(app: &App, session: &Session) -> Result<()> {
    let device = session.ctx.caller()?.device_id;
    let mut tx = app.db.read("session_check").await?;
    match store::standing(&mut tx, device).await? {
        Some(standing) if standing.family == Some(session.family) => {
            app.known_devices.may_connect(&app.policy, &session.ctx, &standing)
        }
        _ => Err(Error::Unauthenticated(ErrorCode::DeviceRevoked)),
    }
}

/// The family of tokens of a device that is logged in.
///
/// # Errors
/// When the database is away.
pub(crate) async fn family_of(app: &App, device: DeviceId, now: Timestamp) -> Result<Option<TokenFamilyId>> {
    Ok(app.known_devices.get(&app.db, device, now).await?.and_then(|standing| standing.family))
}

/// A request of a device that proved itself otherwise than by a token: as the database says it stands now.
///
/// # Errors
/// 401: `unauthenticated` when there is no such device, `device_revoked`; `network_not_allowed`,
/// `mfa_enrolment_required`.
pub(crate) async fn session_of_device(
    app: &App,
    device: DeviceId,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Session> {
    let now = app.clock.now();
    let mut tx = app.db.read("device_session").await?;
    let standing = store::standing(&mut tx, device).await?;
    drop(tx);
    let standing = standing.ok_or(Error::Unauthenticated(ErrorCode::Unauthenticated))?;
    let family = standing.family.ok_or(Error::Unauthenticated(ErrorCode::DeviceRevoked))?;
    let ctx = context(&standing, request, now, address);
    app.known_devices.may_connect(&app.policy, &ctx, &standing)?;
    app.known_devices.may_use_tokens(&app.policy, &ctx, &standing)?;
    Ok(Session { ctx, family, expires_at: now + ACCESS_TOKEN_LIFE })
}

/// The context of a device's request.
pub(super) fn context(
    standing: &Standing,
    request: RequestId,
    now: Timestamp,
    address: Option<IpAddr>,
) -> Ctx {
    Ctx {
        tenant: standing.tenant,
        actor: Actor::User(Caller {
            user_id: standing.user,
            role: standing.role,
            active: true,
            device_id: standing.device,
            kind: standing.kind,
            device_number: standing.number,
        }),
        request,
        now,
        address,
    }
}

fn describes(standing: &Standing, claims: &Claims) -> bool {
    standing.tenant == claims.tid && standing.user == claims.sub && standing.kind == claims.knd
}
