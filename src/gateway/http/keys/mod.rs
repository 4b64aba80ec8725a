//! The key server's endpoints.

mod bundles;
mod check;
mod identity;
mod manifest;
mod own;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::SharedApp;

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(identity::put_identity))
        .routes(routes!(own::put_keys, own::get_counts))
        .routes(routes!(check::check_keys))
        .routes(routes!(manifest::put_manifest))
        .routes(routes!(manifest::get_manifest))
        .routes(routes!(bundles::fetch_keys))
}
