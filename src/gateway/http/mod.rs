//! The HTTP gateway. One endpoint, or a small group, a file, in the order error, doc, handler; each area has
//! `routes()`, merged here. Every answer's shape and headers come from the layers around the routes.

mod admin;
mod auth;
mod chat;
mod clinic;
mod compliance;
mod devices;
pub mod error;
pub mod extract;
mod health;
mod keys;
mod me;
mod moderation;
pub mod observe;
mod openapi;
mod policy;
pub mod strict;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, Uri, header, uri::PathAndQuery},
    middleware,
};
use sigilo_wire::ErrorCode;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::{Error, app::SharedApp, gateway::ws};
use chat::uploads;
use error::ApiError;

/// Every area's routes, with their description.
fn areas() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::with_openapi(openapi::Api::openapi())
        .merge(health::routes())
        .merge(keys::routes())
        .merge(chat::routes())
        .merge(auth::routes())
        .merge(me::routes())
        .merge(devices::routes())
        .merge(clinic::routes())
        .merge(admin::routes())
        .merge(compliance::routes())
        .merge(moderation::routes())
        .merge(policy::routes())
}

/// The API's description.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = areas().into_openapi();
    openapi::add_common_answers(&mut document);
    document
}

/// The whole gateway.
pub fn router(app: SharedApp) -> Router {
    let (routes, mut document) = areas().split_for_parts();
    openapi::add_common_answers(&mut document);
    let inner = routes
        .merge(openapi::routes(&document))
        .merge(ws::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors(&app))
        .layer(middleware::from_fn_with_state(app.clone(), uploads::say_tus))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app);
    // Outside the routes, because the path must be settled before one is chosen.
    Router::new().fallback_service(inner).layer(middleware::map_request(canonical_path))
}

async fn not_found() -> ApiError {
    ApiError(Error::NotFound)
}

async fn method_not_allowed() -> ApiError {
    ApiError(Error::invalid(ErrorCode::MethodNotAllowed, serde_json::json!({})))
}

/// Pages of these origins may call the API: none unless configured.
fn cors(app: &SharedApp) -> CorsLayer {
    let origins = app.config.server.allowed_origins.iter().filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.collect::<Vec<HeaderValue>>()))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(
            [
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::ACCEPT_LANGUAGE,
                header::RANGE,
                header::IF_RANGE,
                HeaderName::from_static("idempotency-key"),
                observe::REQUEST_ID,
            ]
            .into_iter()
            .chain(uploads::REQUEST_HEADERS)
            .collect::<Vec<_>>(),
        )
        .expose_headers(
            [header::RETRY_AFTER, header::ETAG, header::CONTENT_RANGE, observe::REQUEST_ID]
                .into_iter()
                .chain(uploads::ANSWER_HEADERS)
                .collect::<Vec<_>>(),
        )
        .max_age(std::time::Duration::from_secs(600))
}

/// Paths work with and without the trailing slash: those of the API and of sockets have one, others none.
async fn canonical_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let with_slash = (path.starts_with("/api/") || path.starts_with("/ws/")) && path != openapi::DESCRIPTION;
    let canonical = match (with_slash, path.ends_with('/')) {
        _ if path.starts_with(openapi::PAGE) || path == "/" => return request,
        (true, false) => format!("{path}/"),
        (false, true) => path.trim_end_matches('/').to_owned(),
        _ => return request,
    };
    let canonical = match request.uri().query() {
        Some(query) => format!("{canonical}?{query}"),
        None => canonical,
    };
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path_and_query) = canonical.parse::<PathAndQuery>() {
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
