//! `/api/auth/` and the keys that verify tokens.

mod activate;
mod jwks;
mod login;
mod logout;
mod mfa;
mod oidc;
mod password;
mod refresh;
mod ws_ticket;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::SharedApp;

/// The area's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(activate::activate))
        .routes(routes!(login::login))
        .routes(routes!(refresh::refresh))
        .routes(routes!(logout::logout))
        .routes(routes!(ws_ticket::ws_ticket))
        .routes(routes!(jwks::jwks))
        .routes(routes!(oidc::start))
        .routes(routes!(oidc::callback))
        .routes(routes!(oidc::exchange))
        .merge(mfa::routes())
        .merge(password::routes())
}
