//! The WebSocket gateway: `GET /ws/chat/` (everything for the device) and `/ws/chat/{conversation_id}/` (one
//! conversation). Frames are JSON text; what they carry is parsed, decided on and stored by the same
//! capability functions as over HTTP.

mod connection;
mod frames;

use axum::{
    Router,
    extract::{
        FromRequestParts, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{header, request::Parts},
    response::Response,
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use sigilo_wire::{ConversationId, ErrorCode};

use crate::{
    Error, Result,
    app::SharedApp,
    auth::{self, Session},
    conversations,
    gateway::{
        http::{
            error::ApiError,
            extract::{ApiPath, ApiQuery, address, arrival, bearer},
        },
        language::Language,
    },
    relay::{
        MAX_SEND_REQUEST,
        hub::{Opened, Registration},
    },
};

/// A frame may be a little larger than the largest send: it also names itself.
const MAX_FRAME: usize = MAX_SEND_REQUEST + 4 * 1024;

/// How much of a socket is read at a time, in bytes: more than a text message takes. Each connection keeps a buffer
/// of this size and clears it at every read, so the library's 128 KiB would be most of what an idle connection costs.
const READ_BUFFER: usize = 3 * 1024;

/// From how many bytes on a socket's waiting frames are written without being asked to, so that a burst leaves
/// no larger buffer behind.
const WRITE_BUFFER: usize = 8 * 1024;

/// The gateway's routes.
pub fn routes() -> Router<SharedApp> {
    Router::new().route("/ws/chat/", get(all)).route("/ws/chat/{conversation_id}/", get(one))
}

/// The caller of a socket, by token or ticket, and the language they asked for.
struct SocketCaller(Session, Language);

/// `?token=`: a ticket of `POST /api/auth/ws-ticket/`, for callers that cannot send a header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    token: Option<String>,
}

impl FromRequestParts<SharedApp> for SocketCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let request = arrival(parts)?.request;
        let address = address(parts, app);
        let language = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = language.map_or_else(Language::default, Language::accepted);
        if let Some(token) = bearer(&parts.headers) {
            return Ok(Self(auth::authenticate_session(app, token, request, address).await?, language));
        }
        let ApiQuery(ticket) = ApiQuery::<Ticket>::from_request_parts(parts, app).await?;
        let ticket = ticket.token.ok_or(Error::Unauthenticated(ErrorCode::Unauthenticated))?;
        Ok(Self(auth::take_ws_ticket(app, &ticket, request, address).await?, language))
    }
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn all(
    State(app): State<SharedApp>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    open(app, caller, None, upgrade).await
}

async fn one(
    State(app): State<SharedApp>,
    caller: SocketCaller,
    ApiPath(conversation): ApiPath<ConversationId>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    conversations::authorize_read(&app, &caller.0.ctx, conversation).await?;
    open(app, caller, Some(conversation), upgrade).await
}

async fn open(
    app: SharedApp,
    SocketCaller(session, language): SocketCaller,
    conversation: Option<ConversationId>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let device = session.ctx.caller()?.device_id;
    if app.shutdown.borrow().is_draining() {
        return Err(ApiError(Error::Unavailable("the server is restarting".to_owned())));
    }
    let upgrade = upgrade.map_err(|rejection| {
        let problem = json!({"field": "upgrade", "problem": rejection.body_text()});
        Error::invalid(ErrorCode::InvalidField, problem)
    })?;
    let Session { family, expires_at, ref ctx } = session;
    let opened = Opened { family, expires_at, address: ctx.address };
    let registration: Registration = app.hub.register(device, opened, conversation);
    // The server may have begun to stop, and told its sockets, between the two.
    if app.shutdown.borrow().is_draining() {
        return Err(ApiError(Error::Unavailable("the server is restarting".to_owned())));
    }
    auth::still_stands(&app, &session).await?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| {
            connection::run(app, (session, language), conversation, registration, socket)
        }))
}
