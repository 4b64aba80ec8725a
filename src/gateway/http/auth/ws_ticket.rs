//! POST /api/auth/ws-ticket/

use axum::{Json, extract::State};
use sigilo_wire::{ErrorBody, account::WsTicket};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{error::ApiResult, extract::Uncounted},
    policy,
};

/// Get a ticket for a WebSocket URL: single use, 30 seconds.
#[utoipa::path(post, path = "/api/auth/ws-ticket/", tag = "Accounts",
    responses((status = 200, body = WsTicket), (status = 401, body = ErrorBody)))]
pub(super) async fn ws_ticket(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
) -> ApiResult<Json<WsTicket>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(auth::issue_ws_ticket(&app, &ctx, grant).await?))
}
