//! The layers around every route, on routes that misbehave.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware,
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{
    error::{ApiError, ApiResult},
    extract::{self, Anonymous, ApiJson, ApiPath, ApiQuery},
    observe,
};
use crate::{App, Error, app::SharedApp, clock::SystemClock, config::Config, rng::SystemEntropy, shutdown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
}

/// An app on a fresh folder, and routes that do what routes should not.
async fn misbehaving(settings: impl FnOnce(&mut Config)) -> (Router, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::for_data(folder.path());
    settings(&mut config);
    let (_, shutdown) = shutdown::channel();
    let app: SharedApp =
        App::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy), shutdown).await.unwrap();
    let router = Router::new()
        .route("/panic", get(panicking))
        .route("/fault", get(failing))
        .route("/never", get(std::future::pending::<()>))
        .route("/echo", post(echo))
        .route("/path/{id}", get(by_id))
        .route("/query", get(by_query))
        .route("/address", get(address))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app);
    (router, folder)
}

async fn panicking() {
    panic!("with the secret");
}

async fn failing() -> ApiError {
    ApiError(Error::internal("with the secret"))
}

async fn echo(ApiJson(input): ApiJson<Input>) -> String {
    input.name
}

async fn by_id(ApiPath(id): ApiPath<sigilo_wire::UserId>) -> String {
    id.to_string()
}

async fn by_query(ApiQuery(input): ApiQuery<Input>) -> String {
    input.name
}

async fn address(State(_): State<SharedApp>, Anonymous(ctx): Anonymous) -> ApiResult<String> {
    Ok(ctx.address.map(|address| address.to_string()).unwrap_or_default())
}

async fn ask(router: &Router, request: Request) -> (StatusCode, Value) {
    let response: Response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn get_request(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

fn json_request(body: impl Into<Body>) -> Request {
    Request::post("/echo").header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

#[tokio::test]
async fn panics_and_faults_are_500_in_the_shape_and_keep_their_text() {
    let (router, _folder) = misbehaving(|_| {}).await;
    for route in ["/panic", "/fault"] {
        let (status, body) = ask(&router, get_request(route)).await;
        assert_eq!((status, &body["error"]), (StatusCode::INTERNAL_SERVER_ERROR, &"internal".into()));
        assert!(!body.to_string().contains("secret"), "{body}");
    }
}

#[tokio::test]
async fn a_handler_that_never_answers_is_503() {
    let (router, _folder) = misbehaving(|config| config.limits.request_timeout_s = 1).await;
    let response = router.clone().oneshot(get_request("/never")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused() {
    let (router, _folder) = misbehaving(|config| config.limits.body_timeout_s = 1).await;
    let endless = Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let (status, body) = ask(&router, json_request(endless)).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &"invalid_json".into()));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_whole() {
    let (router, _folder) = misbehaving(|config| config.limits.request_bytes = 100).await;
    let (status, body) = ask(&router, json_request(r#"{"name": "Ana"}"#)).await;
    assert_eq!((status, body), (StatusCode::OK, "Ana".into()));

    // Announced: refused without a byte of it, which never comes.
    let mut announced =
        json_request(Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>()));
    announced.headers_mut().insert(header::CONTENT_LENGTH, 101.into());
    let (status, body) = ask(&router, announced).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(body["details"]["max_size"], 100);

    // Not announced: refused at the first chunk too many, although there is no end.
    let chunks =
        futures_util::stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(40))));
    let (status, _) = ask(&router, json_request(Body::from_stream(chunks))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let (router, _folder) = misbehaving(|_| {}).await;
    for (content_type, expected) in [
        (None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Some("text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Some("application/json-patch+json"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Some("Application/JSON; charset=utf-8"), StatusCode::OK),
    ] {
        let mut request = Request::post("/echo");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let (status, body) = ask(&router, request.body(Body::from(r#"{"name": "x"}"#)).unwrap()).await;
        assert_eq!(status, expected, "{content_type:?}: {body}");
    }
}

#[tokio::test]
async fn wrong_paths_and_queries_say_what_is_wrong() {
    let (router, _folder) = misbehaving(|_| {}).await;
    for (uri, code, field) in [
        ("/path/7", "invalid_field", "path"),
        ("/query?name=x&nme=y", "unknown_field", "query.nme"),
        ("/query", "invalid_field", "query.name"),
    ] {
        let (status, body) = ask(&router, get_request(uri)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}");
        assert_eq!((&body["error"], &body["details"]["field"]), (&code.into(), &field.into()), "{body}");
    }
}

#[tokio::test]
async fn addresses_of_proxies_are_believed_only_behind_one() {
    for (behind_proxy, expected) in [(false, "10.0.0.1"), (true, "203.0.113.7")] {
        let (router, _folder) = misbehaving(|config| config.server.behind_proxy = behind_proxy).await;
        let mut request = get_request("/address");
        request.headers_mut().insert("x-forwarded-for", "198.51.100.1, 203.0.113.7".parse().unwrap());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 9))));
        let (status, body) = ask(&router, request).await;
        assert_eq!((status, body), (StatusCode::OK, expected.into()));
    }
    assert_eq!(
        extract::bearer(&[(header::AUTHORIZATION, "bearer  x ".parse().unwrap())].into_iter().collect()),
        Some("x")
    );
}
