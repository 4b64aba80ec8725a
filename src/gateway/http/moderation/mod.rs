//! `/api/moderation/`

mod quarantine;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    quarantine::routes()
}
