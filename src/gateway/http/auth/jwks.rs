//! GET /.well-known/jwks.json

use axum::{Json, extract::State};

use crate::{app::SharedApp, auth::Jwks};

/// The public keys that verify access tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Accounts", security(()),
    responses((status = 200, body = Jwks)))]
pub(super) async fn jwks(State(app): State<SharedApp>) -> Json<Jwks> {
    Json(app.tokens.jwks())
}
