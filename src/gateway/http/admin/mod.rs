//! /api/admin/

mod emergencies;
mod hours;
mod identity_resets;
mod on_call;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    identity_resets::routes().merge(hours::routes()).merge(on_call::routes()).merge(emergencies::routes())
}
