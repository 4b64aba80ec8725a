//! The server's end of the socket to a scanner of its own process. Whoever may open the socket and has the token is the
//! scanner: it gets ciphertext and sealed keys, and what it says is a verdict only with the scanner key's signature.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::post,
};
use sigilo_seal::ScanKey;
use sigilo_wire::vault::ScannerStatement;
use subtle::ConstantTimeEq as _;
use tokio::net::UnixListener;
use tokio_util::io::ReaderStream;

use super::{
    desk::Desk,
    line::{DoneLine, EngineLine, JobLine, signed},
};
use crate::{
    Error, Result,
    config::Config,
    rng::Entropy,
    shutdown::{self, Shutdown},
};

type SharedDesk = State<Arc<dyn Desk>>;

/// Listens on the configured socket, which only this user may open, until the server drains. Makes the token when there
/// is none. Gives back what runs.
///
/// # Errors
/// When the socket or the token cannot be made.
pub fn serve(
    desk: Arc<dyn Desk>,
    config: &Config,
    entropy: &dyn Entropy,
    mut shutdown: Shutdown,
) -> Result<impl Future<Output = ()> + Send + 'static + use<>> {
    let token: Arc<str> = config.make_scanner_token(entropy)?.as_str().into();
    let path = config.scanner.socket(&config.storage.data);
    let fail =
        |error: std::io::Error| Error::internal(format!("cannot listen on {}: {error}", path.display()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(fail)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(fail)?;
    let router = Router::new()
        .route("/publish", post(publish))
        .route("/next", post(next))
        .route("/blob", post(blob))
        .route("/done", post(done))
        .route("/engine", post(engine))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            admit(Arc::clone(&token), request, next)
        }))
        .with_state(desk);
    Ok(async move {
        let served = axum::serve(listener, router);
        tokio::select! {
            ended = served => tracing::error!(?ended, "the scanner's socket is closed"),
            () = shutdown::draining(&mut shutdown) => {}
        }
    })
}

async fn admit(token: Arc<str>, request: Request, next: Next) -> Response {
    let shown =
        request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if shown.is_some_and(|shown| shown.as_bytes().ct_eq(token.as_bytes()).into()) {
        return next.run(request).await;
    }
    StatusCode::UNAUTHORIZED.into_response()
}

/// An error as the scanner is told it; its text is in the server's log.
fn away(error: &Error) -> Response {
    tracing::debug!(%error, "the scanner is told to try again");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn said(result: Result<()>) -> Response {
    result.map_or_else(|error| away(&error), |()| StatusCode::NO_CONTENT.into_response())
}

async fn publish(State(desk): SharedDesk, Json(key): Json<ScannerStatement>) -> Response {
    let Ok(of) = ScanKey::decode(key.statement.as_ref()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    said(desk.publish(signed(key), &of).await)
}

async fn next(State(desk): SharedDesk) -> Response {
    match desk.next().await {
        Ok(Some(job)) => Json(JobLine::from(&job)).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => away(&error),
    }
}

async fn blob(State(desk): SharedDesk, Json(job): Json<JobLine>) -> Response {
    match desk.blob(&job.into()).await {
        Ok(blob) => Body::from_stream(ReaderStream::with_capacity(blob, 64 * 1024)).into_response(),
        Err(error) => away(&error),
    }
}

async fn done(State(desk): SharedDesk, Json(line): Json<DoneLine>) -> Response {
    said(desk.done(&line.job.into(), line.outcome.into()).await)
}

async fn engine(State(desk): SharedDesk, Json(line): Json<EngineLine>) -> Response {
    said(desk.engine(line.state).await)
}
