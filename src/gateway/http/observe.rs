//! What happens around every request: its id, its log line, its metrics, the headers of its answer.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::PathAndQuery},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use sigilo_seal::decision::request_hash;
use sigilo_wire::{RequestId, Timestamp};
use tracing::Instrument as _;

use super::{chat::uploads::CARRY_FILES, error, error::ApiError};
use crate::{Error, app::SharedApp, gateway::language::Language, rng};

/// Names a request in answers; accepted from callers when it is a UUID.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request that carries a file may take.
const FILE_PATIENCE: Duration = Duration::from_hours(1);

/// A request's name and the one instant it happens at.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its name.
    pub request: RequestId,
    /// When it arrived.
    pub now: Timestamp,
}

/// The bytes of a request's body once they are read: what a signed refusal names. Kept until the answer is made.
#[derive(Clone, Debug, Default)]
pub(super) struct AskedBody(pub(super) Arc<OnceLock<Bytes>>);

/// Wraps every request.
pub(super) async fn observe(State(app): State<SharedApp>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let now = app.clock.now();
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = given
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| RequestId::new(now, rng::bytes(&*app.entropy)));
    let language = language(request.headers());
    // The template, never the path: ids in paths stay out of logs and metrics.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    // What carries a file is given up when nothing comes any more, by whoever reads it.
    let patience =
        if CARRY_FILES.contains(&route) { FILE_PATIENCE } else { app.config.limits.request_timeout() };
    let method = request.method().clone();
    let span = tracing::info_span!("request", request_id = %id, method = %method, route);
    request.extensions_mut().insert(Arrival { request: id, now });
    let body = AskedBody::default();
    request.extensions_mut().insert(body.clone());
    let target = request.uri().path_and_query().cloned();

    let asked_by = method.clone();
    let work = async move {
        let answer = answer(request, next, patience).await;
        let asked = || {
            let target = target.as_ref().map_or("", PathAndQuery::as_str);
            request_hash(asked_by.as_str(), target, body.0.get().map_or(&[][..], |bytes| bytes.as_ref()))
        };
        error::finish(&app, answer, id, language, asked).await
    };
    // A task of its own: a caller who hangs up cuts off nothing that was begun, neither what an act tells after its
    // commit nor what is written of a refusal.
    let mut response = match tokio::spawn(work.instrument(span.clone())).await {
        Ok(response) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    headers(response.headers_mut(), id);

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    span.in_scope(|| tracing::info!(status, duration_us = elapsed.as_micros() as u64, "answered"));
    metrics::histogram!(
        "sigilo_http_request_duration_seconds",
        "method" => method_label(&method),
        "route" => route.to_owned(),
        "status" => status.to_string(),
    )
    .record(elapsed.as_secs_f64());
    response
}

/// The language of the answer's messages.
pub(super) fn language(headers: &HeaderMap) -> Language {
    let header = headers.get(header::ACCEPT_LANGUAGE).and_then(|header| header.to_str().ok());
    header.map_or(Language::English, Language::accepted)
}

/// The answer of the handler, of a panic, or of the clock.
async fn answer(request: Request, next: Next, patience: Duration) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(patience, handler).await {
        Ok(Ok(response)) => response,
        // The panic's own message went to the log through the panic hook; it may quote data, so it stays there.
        Ok(Err(_)) => ApiError(Error::internal("a handler panicked")).into_response(),
        Err(_) => ApiError(Error::Unavailable("the request took too long".to_owned())).into_response(),
    }
}

/// Anybody can invent methods: only known ones become labels.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Headers of every answer: the request's id, and what keeps browsers from guessing, framing, caching and
/// loading from elsewhere.
fn headers(headers: &mut HeaderMap, id: RequestId) {
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
