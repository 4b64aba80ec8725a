//! The clinic's emergencies, without what was said in them.

use axum::{Json, extract::State};
use serde::Deserialize;
use sigilo_wire::{ErrorBody, emergency::EmergencyList};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    emergency,
    gateway::http::{
        error::ApiResult,
        extract::{ApiQuery, Authenticated},
    },
    paging::Paging,
};

/// The route of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_emergencies))
}

/// Which emergencies.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EmergencyQuery {
    /// Only those of patients who had opened three others within 24 hours.
    #[serde(default)]
    flagged: bool,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The clinic's emergencies, the newest first.
#[utoipa::path(get, path = "/api/admin/emergencies/", tag = "Administration", params(EmergencyQuery),
    responses((status = 200, body = EmergencyList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn list_emergencies(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<EmergencyQuery>,
) -> ApiResult<Json<EmergencyList>> {
    let grant = emergency::authorize_manage(&app, &ctx).await?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(emergency::list(&app, &ctx, grant, query.flagged, &paging).await?))
}
