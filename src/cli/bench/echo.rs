//! What a server can do at best on this machine: the same library, sending every frame back, or a file as it is.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    http::StatusCode,
    response::Response,
    routing::get,
};
use clap::Args;
use futures_util::StreamExt as _;
use tokio_util::io::ReaderStream;

use crate::{Error, Result, cli::Outcome};

/// The line that says where, before the address.
pub(super) const LISTENING: &str = "listening on ";
/// Where the file is.
pub(super) const FILE: &str = "/file";
/// How much of the file is read at a time, in bytes.
const PIECE: usize = 512 * 1024;

/// Sends WebSocket frames back; ends with the process that started it.
#[derive(Debug, Args)]
pub(super) struct Echo {
    /// A file to give out.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

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
        let mut router = Router::new().route("/", get(upgrade));
        if let Some(file) = self.file {
            let file = Arc::new(file);
            router = router.route(FILE, get(move || give(Arc::clone(&file))));
        }
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served.map_err(Error::internal)?,
            _ = terminate.recv() => {}
        }
        Ok(Outcome::Done)
    }
}

async fn give(file: Arc<PathBuf>) -> Result<Body, StatusCode> {
    let file = tokio::fs::File::open(&*file).await.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file, PIECE)))
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
