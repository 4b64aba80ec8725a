//! The API's description, from the code, and a page to browse it.

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

use crate::app::SharedApp;

/// Where the description is.
pub(super) const DESCRIPTION: &str = "/api/openapi.json";
/// Where the page is.
pub(super) const PAGE: &str = "/api/docs";

/// What the whole API has in common.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sigilo",
        description = "End-to-end encrypted messaging for clinics. Conventions, the protocol and the meaning of \
                       every signed field: docs/API.md and docs/PROTOCOL.md.",
        license(name = "AGPL-3.0-only", identifier = "AGPL-3.0-only")
    ),
    components(schemas(sigilo_wire::ErrorBody, sigilo_wire::ErrorCode)),
    security(("bearer" = [])),
    modifiers(&Bearer)
)]
pub(super) struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(scheme).into());
    }
}

/// Adds the answers that any operation of its kind may give, and that no handler gives itself: those of reading the
/// request, the token, and a server that is away.
pub(super) fn add_common_answers(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.head, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            let has_body = operation.request_body.is_some();
            let reads = has_body || operation.parameters.as_ref().is_some_and(|list| !list.is_empty());
            let common = [
                ("400", reads, "invalid_json, unknown_field, invalid_field: the details say where."),
                ("401", operation.security.is_none(), "unauthenticated, token_expired, device_revoked"),
                ("413", has_body, "too_large"),
                ("415", has_body, "The body is not declared as JSON."),
                (
                    "429",
                    operation.security.is_none(),
                    "rate_limited: try again after the time that Retry-After names.",
                ),
                ("503", true, "unavailable: try again after the time that Retry-After names."),
            ];
            for (status, _, description) in common.into_iter().filter(|(_, applies, _)| *applies) {
                let answer = || {
                    let schema = RefOr::Ref(Ref::from_schema_name("ErrorBody"));
                    let content = ContentBuilder::new().schema(Some(schema)).build();
                    ResponseBuilder::new()
                        .description(description)
                        .content("application/json", content)
                        .build()
                };
                let answers = &mut operation.responses.responses;
                answers.entry(status.to_owned()).or_insert_with(|| RefOr::T(answer()));
            }
        }
    }
}

/// The page loads its own scripts and styles and nothing else; it sets styles of elements itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/// Serves the description and the page.
pub(super) fn routes(document: &Document) -> Router<SharedApp> {
    let description = document.clone();
    let page =
        SwaggerUi::new(PAGE).config(utoipa_swagger_ui::Config::from(DESCRIPTION).validator_url("none"));
    Router::from(page)
        .layer(middleware::from_fn(page_policy))
        .route(DESCRIPTION, get(async move || Json(description.clone())))
}

async fn page_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}
