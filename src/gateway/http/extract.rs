//! What handlers take: the caller, the body, the path and the query, parsed strictly.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::json;
use sigilo_wire::{ErrorCode, TenantId};

use super::{
    error::ApiError,
    observe::{Arrival, AskedBody},
    strict::{self, from_message, no_nul},
};
use crate::{Actor, Ctx, Error, app::SharedApp, auth};

/// The caller, proven by `Authorization: Bearer <access token>`, 401 otherwise; one more of their requests, 429 when there
/// were too many.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Ctx);

/// The caller, of whom this is not counted as a request: because the capability counts it as what it is, or because it
/// must not be held up.
#[derive(Clone, Debug)]
pub struct Uncounted(pub Ctx);

/// The caller, also when their account must enrol a second factor first: for what enrols it, and for what a client
/// has to know by then.
#[derive(Clone, Debug)]
pub struct Enrolling(pub Ctx);

/// A caller who has not logged in. The clinic is the nil id until the capability knows it.
#[derive(Clone, Debug)]
pub struct Anonymous(pub Ctx);

/// A JSON body of at most `limits.request_bytes`, refused before it is read whole.
#[derive(Clone, Debug)]
pub struct ApiJson<T>(pub T);

/// A JSON body of at most `limits.send_bytes`: a send, with an envelope for every device.
#[derive(Clone, Debug)]
pub struct SendJson<T>(pub T);

/// The `Idempotency-Key` header, if there is one.
#[derive(Clone, Debug)]
pub struct IdempotencyHeader(pub Option<String>);

/// Path parameters.
#[derive(Clone, Debug)]
pub struct ApiPath<T>(pub T);

/// Query parameters; unknown ones are refused when `T` denies unknown fields.
#[derive(Clone, Debug)]
pub struct ApiQuery<T>(pub T);

impl FromRequestParts<SharedApp> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let Uncounted(ctx) = Uncounted::from_request_parts(parts, app).await?;
        app.limits.clinics.request(&app.db, &ctx).await?;
        Ok(Self(ctx))
    }
}

impl FromRequestParts<SharedApp> for Uncounted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let arrival = arrival(parts)?;
        let token =
            bearer(&parts.headers).ok_or(ApiError(Error::Unauthenticated(ErrorCode::Unauthenticated)))?;
        Ok(Self(auth::authenticate(app, token, arrival.request, address(parts, app)).await?))
    }
}

impl FromRequestParts<SharedApp> for Enrolling {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let arrival = arrival(parts)?;
        let token =
            bearer(&parts.headers).ok_or(ApiError(Error::Unauthenticated(ErrorCode::Unauthenticated)))?;
        let address = address(parts, app);
        let ctx = auth::authenticate_enrolling(app, token, arrival.request, address).await?;
        app.limits.clinics.request(&app.db, &ctx).await?;
        Ok(Self(ctx))
    }
}

impl FromRequestParts<SharedApp> for Anonymous {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let arrival = arrival(parts)?;
        Ok(Self(Ctx {
            tenant: TenantId::from_bytes([0; 16]),
            actor: Actor::Anonymous,
            request: arrival.request,
            now: arrival.now,
            address: address(parts, app),
        }))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Text that is not ASCII is refused as an empty key is.
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Ok(Self(parts.headers.get("idempotency-key").map(text)))
    }
}

impl<T: DeserializeOwned> FromRequest<SharedApp> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        json_body(request, app, app.config.limits.request_bytes).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<SharedApp> for SendJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        json_body(request, app, app.config.limits.send_bytes).await.map(Self)
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<SharedApp> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        if parts.uri.path().contains("%00") {
            return Err(ApiError(no_nul("path")));
        }
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(ApiError(from_message(&error.body_text(), "path")))
            }
            Err(error) => Err(ApiError(Error::internal(error))),
        }
    }
}

impl<T: DeserializeOwned> FromRequestParts<SharedApp> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, ApiError> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(ApiError(no_nul("query")));
        }
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| ApiError(from_message(&error.body_text(), "query")))
    }
}

/// The request's name and instant, set by the layer around every route.
pub fn arrival(parts: &Parts) -> Result<Arrival, ApiError> {
    let arrival = parts.extensions.get::<Arrival>().copied();
    arrival.ok_or_else(|| ApiError(Error::internal("a route outside the layer that names requests")))
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The caller's address: the connection's, or what the proxy in front says it was. Only the last entry of
/// `X-Forwarded-For` is the proxy's own; the ones before it are the caller's to invent.
#[must_use]
pub fn address(parts: &Parts, app: &SharedApp) -> Option<IpAddr> {
    if app.config.server.behind_proxy
        && let Some(forwarded) = parts.headers.get_all("x-forwarded-for").iter().next_back()
    {
        return forwarded.to_str().ok()?.rsplit(',').next()?.trim().parse().ok();
    }
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

async fn json_body<T: DeserializeOwned>(
    request: Request,
    app: &SharedApp,
    limit: usize,
) -> Result<T, ApiError> {
    let headers = request.headers();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError(Error::invalid(
            ErrorCode::UnsupportedMediaType,
            json!({"content_type": essence, "expected": "application/json"}),
        )));
    }
    let asked = request.extensions().get::<AskedBody>().cloned().unwrap_or_default();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = tokio::time::timeout(app.config.limits.body_timeout(), read(request, announced, limit))
        .await
        .map_err(|_| {
            let problem = json!({"problem": "the body did not arrive in time"});
            ApiError(Error::invalid(ErrorCode::InvalidJson, problem))
        })??;
    // Set once: a request has one body.
    let body = asked.0.get_or_init(|| Bytes::from(body));
    strict::json(body).map_err(ApiError)
}

/// Reads a body up to the limit. One announced as larger is not read at all; one that says nothing is refused
/// at the first byte too many.
async fn read(request: Request, announced: Option<u64>, limit: usize) -> Result<Vec<u8>, ApiError> {
    let too_large = || ApiError(Error::TooLarge { limit: limit as u64 });
    let announced = usize::try_from(announced.unwrap_or(0)).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced);
    let mut chunks = request.into_body().into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            let problem = json!({"problem": "the body broke off"});
            ApiError(Error::invalid(ErrorCode::InvalidJson, problem))
        })?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
