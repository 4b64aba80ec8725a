//! What a WebSocket server can do at best on this machine: the same library, sending every frame back.

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
    routing::get,
};
use clap::Args;
use futures_util::StreamExt as _;

use crate::{Error, Result, cli::Outcome};

/// The line that says where, before the address.
pub(super) const LISTENING: &str = "listening on ";

/// Sends WebSocket frames back; ends with the process that started it.
#[derive(Debug, Args)]
pub(super) struct Echo {}

impl Echo {
    #[expect(clippy::print_stderr, reason = "the parent reads where it listens")]
    pub(super) async fn run(self) -> Result<Outcome> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(Error::internal)?;
        let address = listener.local_addr().map_err(Error::internal)?;
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(Error::internal)?;
        eprintln!("{LISTENING}{address}");
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // As the server does; without it the frames would wait for each other.
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().route("/", get(upgrade));
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served.map_err(Error::internal)?,
            _ = terminate.recv() => {}
        }
        Ok(Outcome::Done)
    }
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(send_back)
}

async fn send_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
