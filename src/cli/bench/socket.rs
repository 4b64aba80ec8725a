//! A client's socket, counting its frames.

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, Utf8Bytes, client::IntoClientRequest as _, http::header::AUTHORIZATION},
};

use crate::{Error, Result};

/// How long anything may take before the run is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connected socket.
pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Frames sent.
    pub(super) sent: u64,
    /// Frames received.
    pub(super) received: u64,
}

/// What a client reads of a frame; the rest is skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Incoming<'a> {
    /// What it is.
    pub(super) r#type: &'a str,
    /// Its place in the queue, when it is durable.
    #[serde(default)]
    pub(super) event_id: Option<&'a str>,
    /// Which frame it answers.
    #[serde(default)]
    pub(super) request_id: Option<&'a str>,
    /// What it says.
    #[serde(borrow)]
    pub(super) data: Data<'a>,
}

/// Of all kinds of frames.
#[derive(Debug, Deserialize)]
pub(super) struct Data<'a> {
    /// Of `new_message`: the message.
    #[serde(default)]
    pub(super) id: Option<&'a str>,
    /// Of `new_message`: its number among its device's.
    #[serde(default)]
    pub(super) device_seq: Option<usize>,
    /// Of `message_delivered`: the message.
    #[serde(default)]
    pub(super) message_id: Option<&'a str>,
}

impl<'a> Incoming<'a> {
    /// Reads a frame.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("{error} in the frame {text}")))
    }
}

impl Socket {
    /// Connects to `ws://address/path`, with a token if there is one.
    pub(super) async fn open(address: &str, path: &str, token: Option<&str>) -> Result<Self> {
        let connect = async {
            let mut request =
                format!("ws://{address}{path}").into_client_request().map_err(Error::internal)?;
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().map_err(Error::internal)?;
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            let stream = TcpStream::connect(address).await.map_err(Error::internal)?;
            stream.set_nodelay(true).map_err(Error::internal)?;
            let (stream, _) = client_async(request, stream).await.map_err(Error::internal)?;
            Ok(Self { stream, sent: 0, received: 0 })
        };
        timeout(PATIENCE, connect).await.map_err(|_| Error::internal(format!("no socket at {path}")))?
    }

    /// Connects a device and takes what waits for it.
    pub(super) async fn open_device(address: &str, path: &str, token: &str) -> Result<Self> {
        let mut socket = Self::open(address, path, Some(token)).await?;
        let mut acks = Acks::default();
        loop {
            let text = socket.next(Instant::now() + PATIENCE).await?.ok_or_else(silent)?;
            let frame = Incoming::parse(&text)?;
            if frame.r#type == "queue_empty" {
                socket.acknowledge(&mut acks).await?;
                return Ok(socket);
            }
            acks.note(&frame);
            // The server sends 256 at most before it hears of them.
            socket.acknowledge(&mut acks).await?;
        }
    }

    /// Writes a frame into the buffer.
    pub(super) async fn feed(&mut self, text: Utf8Bytes) -> Result<()> {
        self.sent += 1;
        timeout(PATIENCE, self.stream.feed(Message::Text(text)))
            .await
            .map_err(|_| silent())?
            .map_err(Error::internal)
    }

    /// Sends what was fed.
    pub(super) async fn flush(&mut self) -> Result<()> {
        timeout(PATIENCE, self.stream.flush()).await.map_err(|_| silent())?.map_err(Error::internal)
    }

    /// The next frame; `None` when there is none until an instant.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<Utf8Bytes>> {
        loop {
            let Ok(message) = timeout_at(until, self.stream.next()).await else { return Ok(None) };
            if let Some(text) = self.text(message)? {
                return Ok(Some(text));
            }
        }
    }

    /// A frame that is here already.
    pub(super) fn ready(&mut self) -> Result<Option<Utf8Bytes>> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(text) = self.text(message)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn text(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Option<Utf8Bytes>> {
        match message {
            Some(Ok(Message::Text(text))) => {
                self.received += 1;
                Ok(Some(text))
            }
            Some(Ok(Message::Close(reason))) => {
                Err(Error::internal(format!("the server closed a socket: {reason:?}")))
            }
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(Error::internal(error)),
            None => Err(Error::internal("the server ended a socket")),
        }
    }

    /// Sends the acknowledgements that have gathered, in one frame.
    pub(super) async fn acknowledge(&mut self, acks: &mut Acks) -> Result<()> {
        if let Some(frame) = acks.take() {
            self.feed(frame.into()).await?;
            self.flush().await?;
        }
        Ok(())
    }
}

/// The server has not said what it should within [`PATIENCE`].
pub(super) fn silent() -> Error {
    Error::internal(format!("the server was silent for {} s", PATIENCE.as_secs()))
}

/// Event ids to acknowledge.
#[derive(Debug, Default)]
pub(super) struct Acks(Vec<String>);

impl Acks {
    /// Notes a frame's, if it is durable.
    pub(super) fn note(&mut self, frame: &Incoming<'_>) {
        self.0.extend(frame.event_id.map(str::to_owned));
    }

    /// The frame that acknowledges them.
    fn take(&mut self) -> Option<String> {
        let ids = std::mem::take(&mut self.0);
        (!ids.is_empty()).then(|| serde_json::json!({"type": "ack", "event_ids": ids}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_what_it_needs_of_each_frame() {
        let frame = Incoming::parse(
            r#"{"type":"new_message","data":{"id":"m","device_seq":7,"sender":{"x":1}},"timestamp":"t","event_id":"e"}"#,
        )
        .unwrap();
        assert_eq!((frame.data.id, frame.data.device_seq, frame.event_id), (Some("m"), Some(7), Some("e")));
        let mut acks = Acks::default();
        assert_eq!(acks.take(), None);
        acks.note(&frame);
        let ack: serde_json::Value = serde_json::from_str(&acks.take().unwrap()).unwrap();
        assert_eq!(ack, serde_json::json!({"type": "ack", "event_ids": ["e"]}));
        assert_eq!(acks.take(), None, "each once");
        assert!(Incoming::parse("x").is_err());
    }
}
