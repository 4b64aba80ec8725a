//! Addresses of content that work without a token, for five minutes, for one device of one login: for whatever fetches a
//! file but cannot say who asks, such as a download of a browser. What stands in an address is bound to all of it by an
//! HMAC, and dies with the device's tokens.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sigilo_wire::{DeviceId, FileId, RequestId, Timestamp, TokenFamilyId};
use subtle::ConstantTimeEq as _;

use crate::{App, Ctx, Error, Result, auth};

/// How long an address is good.
pub const LIFE: Duration = Duration::from_mins(5);

/// What stands in an address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The device it is for.
    pub device: DeviceId,
    /// Its login: which of the device's families of tokens.
    pub login: TokenFamilyId,
    /// From when it is not good any more, in seconds since the Unix epoch.
    pub expires: i64,
    /// Over all of it, in base64url.
    pub signature: String,
}

/// The address of a file's content for the calling device.
///
/// # Errors
/// `unavailable` when the database is away; `not_found` when the device's tokens ended meanwhile.
pub(super) async fn address(app: &App, ctx: &Ctx, file: FileId) -> Result<String> {
    let device = ctx.caller()?.device_id;
    let family = auth::family_of(app, device, ctx.now).await?.ok_or(Error::NotFound)?;
    let expires = (ctx.now + LIFE).seconds();
    let signature = URL_SAFE_NO_PAD.encode(mac(app, file, device, family, expires));
    Ok(format!(
        "/api/chat/files/{file}/content/?device={device}&login={family}&expires={expires}&signature={signature}"
    ))
}

/// Who an address of a file's content is for.
///
/// # Errors
/// `not_found` when it is over, was altered, or the device's login has ended; `network_not_allowed`,
/// `mfa_enrolment_required`.
pub async fn open(
    app: &App,
    file: FileId,
    link: &Link,
    request: RequestId,
    address: Option<IpAddr>,
) -> Result<Ctx> {
    let now = app.clock.now();
    if now >= Timestamp::from_micros(link.expires.saturating_mul(1_000_000)) {
        return Err(Error::NotFound);
    }
    // First: whoever only guesses costs the database nothing.
    let given = URL_SAFE_NO_PAD.decode(&link.signature).unwrap_or_default();
    let good: bool = mac(app, file, link.device, link.login, link.expires).ct_eq(&given).into();
    if !good {
        return Err(Error::NotFound);
    }
    let session =
        auth::session_of_device(app, link.device, request, address).await.map_err(|error| match error {
            Error::Unauthenticated(_) => Error::NotFound,
            error => error,
        })?;
    if session.family == link.login { Ok(session.ctx) } else { Err(Error::NotFound) }
}

fn mac(app: &App, file: FileId, device: DeviceId, family: TokenFamilyId, expires: i64) -> Vec<u8> {
    app.crypter.link_mac(&[file.as_bytes(), device.as_bytes(), family.as_bytes(), &expires.to_be_bytes()])
}
