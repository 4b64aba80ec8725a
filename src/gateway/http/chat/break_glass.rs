//! `/api/chat/break-glass/`

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody,
    break_glass::{BreakGlass, OpenBreakGlass},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    break_glass,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated, IdempotencyHeader},
    },
    idempotency::IdempotencyKey,
};

/// The route of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(open_break_glass))
}

/// Talk to a patient one does not treat, for some hours.
///
/// The patient, the staff and the compliance officers are told who, whom and why; only compliance reads the text. What
/// was said before stays closed.
#[utoipa::path(post, path = "/api/chat/break-glass/", tag = "Emergencies",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, remembered for 24 hours: the same key and body get the first answer.")),
    request_body = OpenBreakGlass,
    responses((status = 201, body = BreakGlass), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but clinicians, and to those who treat the patient.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody),
              (status = 409, description = "`idempotency_conflict`, `already_settled`", body = ErrorBody),
              (status = 422, description = "`phi_detected`: the text identifies somebody or names an illness.", body = ErrorBody)))]
async fn open_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    IdempotencyHeader(key): IdempotencyHeader,
    ApiJson(wanted): ApiJson<OpenBreakGlass>,
) -> ApiResult<(StatusCode, Json<BreakGlass>)> {
    let key = key.map(|key| IdempotencyKey::new(&key, "POST /api/chat/break-glass/", &wanted)).transpose()?;
    let opened = break_glass::open(&app, &ctx, wanted.patient_id, &wanted, key.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(opened)))
}
