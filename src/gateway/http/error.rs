//! A capability's error as an HTTP answer.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sigilo_wire::RequestId;

use crate::{
    App, Error,
    gateway::{language::Language, render},
    policy,
};

/// What handlers answer when they fail. The body is written by [`render`], further out, where the request's id
/// and language are known.
#[derive(Debug)]
pub struct ApiError(pub Error);

/// What handlers give.
pub type ApiResult<T> = Result<T, ApiError>;

/// The error a response carries until its body is written.
#[derive(Clone)]
struct Fault(Arc<Error>);

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(render::status(&self.0)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Fault(Arc::new(self.0)));
        response
    }
}

/// Writes the body of a failed response; leaves others alone. A refusal by the rules is signed: `request` is the hash of
/// what was asked.
pub(super) async fn finish(
    app: &App,
    mut response: Response,
    request_id: RequestId,
    language: Language,
    request: impl FnOnce() -> [u8; 32],
) -> Response {
    let Some(Fault(error)) = response.extensions_mut().remove::<Fault>() else { return response };
    let error = Arc::into_inner(error).unwrap_or_else(|| Error::internal("an answer was copied"));
    let error = policy::sign(app, error, request).await;
    let status = StatusCode::from_u16(render::status(&error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    render::log_fault(&error, request_id);
    let body = Json(render::error_body(&error, request_id, language));
    // Headers of the failed response, such as Allow, stay.
    let kept = std::mem::take(response.headers_mut());
    let mut rendered = (status, body).into_response();
    for (name, value) in &kept {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    if let Some(seconds) = render::retry_after_s(&error) {
        rendered.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(error, Error::Unauthenticated(_)) {
        rendered.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    rendered
}
