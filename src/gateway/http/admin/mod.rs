//! /api/admin/

mod hours;
mod identity_resets;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    identity_resets::routes().merge(hours::routes())
}
