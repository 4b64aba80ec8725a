//! `/api/compliance/`

mod break_glass;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    break_glass::routes()
}
