//! /api/admin/

mod anomalies;
mod break_glass;
mod care_teams;
mod emergencies;
mod hours;
mod identity_resets;
mod networks;
mod oidc;
mod on_call;
mod relationships;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    identity_resets::routes()
        .merge(hours::routes())
        .merge(on_call::routes())
        .merge(emergencies::routes())
        .merge(relationships::routes())
        .merge(care_teams::routes())
        .merge(networks::routes())
        .merge(break_glass::routes())
        .merge(oidc::routes())
        .merge(anomalies::routes())
}
