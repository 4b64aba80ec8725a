//! /api/auth/oidc/

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use sigilo_wire::{ErrorBody, account::Tokens, oidc::ExchangeOidc};
use utoipa::IntoParams;

use crate::{
    Error,
    app::SharedApp,
    auth::oidc::{self, Answered},
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson, ApiPath, ApiQuery},
    },
};

/// Of an app that begins a login.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StartQuery {
    /// SHA-256 of the app's verifier, base64url without padding.
    challenge: String,
    /// Where to return to: one of the addresses the provider is configured with.
    return_to: String,
}

/// Of a provider that sends the browser back. What else it adds is passed over.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// Ours.
    state: String,
    /// The provider's code.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// Who answers (RFC 9207).
    iss: Option<String>,
}

/// Begin a login with the clinic's identity provider.
///
/// To be opened in a browser, which is sent to the provider and comes back to the callback.
#[utoipa::path(get, path = "/api/auth/oidc/{provider}/start/", tag = "Accounts", security(()), operation_id = "start_oidc",
    params(("provider" = String, Path, description = "Its name in the configuration."), StartQuery),
    responses((status = 303, description = "To the provider."),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody, description = "No such provider."),
        (status = 429, body = ErrorBody),
        (status = 503, body = ErrorBody, description = "The provider does not answer.")))]
pub(super) async fn start(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(provider): ApiPath<String>,
    ApiQuery(query): ApiQuery<StartQuery>,
) -> ApiResult<Response> {
    let jar = Jar::of(app.providers.is_public(&provider)?);
    let begun = oidc::start(&app, &ctx, &provider, (&query.challenge, &query.return_to)).await?;
    let cookie = format!("{}={}; {}", jar.name, begun.cookie, jar.attributes(oidc::LOGIN_LIFE.as_secs()));
    let mut response = see_other(&begun.url)?;
    response
        .headers_mut()
        .insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).map_err(Error::internal)?);
    Ok(response)
}

/// Hear from the provider who it was.
///
/// The browser is sent back to the app, with `code`, or with `error`: `oidc_login_failed`, `oidc_not_bound`.
#[utoipa::path(get, path = "/api/auth/oidc/{provider}/callback/", tag = "Accounts", security(()), operation_id = "finish_oidc",
    params(("provider" = String, Path, description = "Its name in the configuration."), CallbackQuery),
    responses((status = 303, description = "To the app."),
        (status = 401, body = ErrorBody, description = "oidc_login_failed: nobody knows where to return to"),
        (status = 404, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn callback(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(provider): ApiPath<String>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<CallbackQuery>,
) -> ApiResult<Response> {
    let CallbackQuery { state, code, error, iss } = query;
    let answered = Answered { state, code, error, iss };
    let jar = Jar::of(app.providers.is_public(&provider)?);
    let url = oidc::callback(&app, &ctx, &provider, &answered, jar.find(&headers)).await?;
    let mut response = see_other(&url)?;
    let gone = format!("{}=; {}", jar.name, jar.attributes(0));
    response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_str(&gone).map_err(Error::internal)?);
    Ok(response)
}

/// Trade the code for tokens.
///
/// As a login with a password, for the app that began: it shows its verifier. An account with a second factor is asked
/// for a code of it; the code of the login stays good for that.
#[utoipa::path(post, path = "/api/auth/oidc/{provider}/token/", tag = "Accounts", security(()), operation_id = "exchange_oidc",
    params(("provider" = String, Path, description = "Its name in the configuration.")), request_body = ExchangeOidc,
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "oidc_login_failed, mfa_required, invalid_totp, device_revoked"),
        (status = 403, body = ErrorBody, description = "network_not_allowed"),
        (status = 404, body = ErrorBody, description = "no such provider; no messaging device of that id"),
        (status = 409, body = ErrorBody, description = "device_limit"), (status = 429, body = ErrorBody)))]
pub(super) async fn exchange(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(provider): ApiPath<String>,
    ApiJson(request): ApiJson<ExchangeOidc>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(oidc::exchange(&app, &ctx, &provider, &request).await?))
}

/// The cookie that holds the callback to the browser that began. No script reads it, and no page of another site sends it
/// but by a redirection.
struct Jar {
    name: &'static str,
    secure: &'static str,
}

impl Jar {
    /// By TLS its name keeps other hosts, and pages in the open, from setting it (RFC 6265bis, `__Host-`).
    const fn of(public: bool) -> Self {
        if public {
            Self { name: "__Host-sigilo_oidc", secure: "; Secure" }
        } else {
            Self { name: "sigilo_oidc", secure: "" }
        }
    }

    fn attributes(&self, seconds: u64) -> String {
        format!("Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{}", self.secure)
    }

    fn find<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.name).map(|(_, value)| value)
    }
}

/// An answer that sends the browser elsewhere, and tells nobody from where.
fn see_other(url: &str) -> ApiResult<Response> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(url).map_err(Error::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
