//! A WebSocket of a test's device.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};

use super::{TestServer, device::Device};

/// How long a test waits for a frame before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open socket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens `/ws/chat/` as this device.
    pub async fn open(server: &TestServer, device: &Device) -> Self {
        Self::open_path(server, "/ws/chat/", Some(&device.token)).await.unwrap()
    }

    /// Opens a path, with a token in the header or none.
    pub async fn open_path(
        server: &TestServer,
        path: &str,
        token: Option<&str>,
    ) -> Result<Self, tungstenite::Error> {
        Self::open_url(&format!("{}{path}", server.url.replacen("http", "ws", 1)), token).await
    }

    /// Opens any WebSocket address.
    pub async fn open_url(url: &str, token: Option<&str>) -> Result<Self, tungstenite::Error> {
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Self(socket))
    }

    /// The next JSON frame.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.raw().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not a JSON frame: {other:?}"),
            }
        }
    }

    /// The next JSON frame; `None` when the socket ends.
    pub async fn next_if_open(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a frame comes") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Sends a JSON frame; `false` when the socket has ended.
    pub async fn send_if_open(&mut self, frame: &Value) -> bool {
        self.0.send(Message::text(frame.to_string())).await.is_ok()
    }

    /// The next JSON frame, which must be of this type.
    #[track_caller]
    pub fn expect(&mut self, r#type: &str) -> impl Future<Output = Value> {
        let r#type = r#type.to_owned();
        async move {
            let frame = self.next().await;
            assert_eq!(frame["type"], r#type.as_str(), "{frame}");
            frame
        }
    }

    /// How many JSON frames come before the server closes, and the code it closes with.
    pub async fn frames_until_closed(&mut self) -> (usize, u16) {
        let mut frames = 0;
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("the server closes the socket") {
                Some(Ok(Message::Close(Some(frame)))) => return (frames, frame.code.into()),
                Some(Ok(Message::Text(_))) => frames += 1,
                Some(Ok(_)) => {}
                other => panic!("closed without a code: {other:?}"),
            }
        }
    }

    /// The code the server closes with.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("the server closes the socket") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("closed without a code: {other:?}"),
            }
        }
    }

    /// Sends a JSON frame.
    pub async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Sends a text too large to be read, and gives the server's last JSON frame.
    pub async fn send_too_large(self, text: &str) -> Value {
        let (mut sink, mut stream) = self.0.split();
        let send = async {
            // The server stops reading; how far this comes does not matter.
            let _ = sink.send(Message::text(text)).await;
            std::future::pending::<Value>().await
        };
        let read = async {
            loop {
                match timeout(PATIENCE, stream.next())
                    .await
                    .expect("a frame comes")
                    .expect("the socket is open")
                {
                    Ok(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                    Ok(_) => {}
                    Err(error) => panic!("cut off without a word: {error}"),
                }
            }
        };
        tokio::select! {
            answer = read => answer,
            never = send => never,
        }
    }

    /// Acknowledges frames.
    pub async fn ack(&mut self, frames: &[&Value]) {
        let ids: Vec<&Value> = frames.iter().map(|frame| &frame["event_id"]).collect();
        self.send(&json!({"type": "ack", "event_ids": ids})).await;
    }

    /// Cuts the connection without a word.
    pub fn cut(self) {
        drop(self);
    }

    async fn raw(&mut self) -> Message {
        timeout(PATIENCE, self.0.next()).await.expect("a frame comes").expect("the socket is open").unwrap()
    }
}

/// Asks again and again until the answer is what the test waits for; fails after a while.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen in time");
        tokio::task::yield_now().await;
    }
}
