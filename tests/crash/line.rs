//! A device's line to a server that may be away: what comes back, or that it is to be tried again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sigilo_wire::{
    ConversationId,
    message::{Accepted, SendMessage},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as SocketError, Message, client::IntoClientRequest as _},
};

use crate::support::{device::Device, server::client};

/// A server that answers nothing for this long is as good as away.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// What came of an attempt.
#[derive(Debug)]
pub enum Came<T> {
    /// An answer.
    Answer(T),
    /// Nothing, or that the server cannot now.
    Later(String),
}

/// The way to one server.
#[derive(Clone)]
pub struct Line {
    url: String,
    client: reqwest::Client,
    unavailable: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
}

/// An open socket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>, Line);

impl Line {
    pub fn to(address: std::net::SocketAddr) -> Self {
        let (unavailable, accepted) = Default::default();
        Self { url: format!("http://{address}"), client: client(), unavailable, accepted }
    }

    /// How many requests were told to come again, by a server that was there.
    pub fn unavailable(&self) -> usize {
        self.unavailable.load(Ordering::SeqCst)
    }

    /// How many messages were accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Asks once. A 503 must say when to come again, and nothing else may be wrong with the server.
    pub async fn ask(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Came<Value> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.url)).bearer_auth(token).timeout(SILENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Came::Later(error.to_string()),
        };
        let (status, wait) = (answer.status(), answer.headers().contains_key("retry-after"));
        let body: Value = match answer.json().await {
            Ok(body) => body,
            Err(error) => return Came::Later(error.to_string()),
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(wait, "a 503 without Retry-After: {body}");
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                Came::Later(body.to_string())
            }
            status if status.is_success() => Came::Answer(body),
            status => panic!("{status} for {path}: {body}"),
        }
    }

    /// Asks until there is an answer; counts the attempts that had none.
    pub async fn insist(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        vain: &mut usize,
    ) -> Value {
        loop {
            match self.ask(method.clone(), path, token, body).await {
                Came::Answer(body) => return body,
                Came::Later(_) => {
                    *vain += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends a message by HTTP, once.
    pub async fn post(
        &self,
        device: &Device,
        conversation: ConversationId,
        message: &Value,
    ) -> Came<Accepted> {
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        match self.ask(Method::POST, &path, &device.token, Some(message)).await {
            Came::Answer(body) => Came::Answer(self.note(serde_json::from_value(body).unwrap())),
            Came::Later(why) => Came::Later(why),
        }
    }

    fn note(&self, accepted: Accepted) -> Accepted {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        accepted
    }

    /// Opens a device's socket, once.
    pub async fn open(&self, device: &Device) -> Option<Socket> {
        let url = format!("{}/ws/chat/", self.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        let token = format!("Bearer {}", device.token).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        match timeout(SILENCE, connect_async(request)).await {
            Ok(Ok((socket, _))) => Some(Socket(socket, self.clone())),
            Ok(Err(SocketError::Http(answer))) => {
                let (status, wait) = (answer.status(), answer.headers().contains_key("retry-after"));
                assert!(status == StatusCode::SERVICE_UNAVAILABLE && wait, "{status} for a socket");
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(PAUSE).await;
                None
            }
            _ => {
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }
}

impl Socket {
    /// The next frame; `None` when the socket is gone.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                _ => return None,
            }
        }
    }

    /// Sends a frame; whether it arrived is not known.
    pub async fn send(&mut self, frame: &Value) -> Option<()> {
        self.0.send(Message::text(frame.to_string())).await.ok()
    }

    /// Sends a message and waits for its answer.
    pub async fn post(
        &mut self,
        conversation: ConversationId,
        message: &SendMessage,
    ) -> Option<Came<Accepted>> {
        let id = message.client_message_id.to_string();
        let frame = json!({"type": "send_message", "request_id": id, "conversation_id": conversation, "data": message});
        self.send(&frame).await?;
        timeout(SILENCE, async {
            loop {
                let mut frame = self.next().await?;
                if frame["request_id"] != id.as_str() {
                    continue;
                }
                let data = frame["data"].take();
                return Some(match frame["type"].as_str() {
                    Some("result") => Came::Answer(self.1.note(serde_json::from_value(data).unwrap())),
                    _ if data["error"] == "unavailable" => {
                        assert!(data["details"]["retry_after_s"].is_u64(), "{data}");
                        self.1.unavailable.fetch_add(1, Ordering::SeqCst);
                        Came::Later(data.to_string())
                    }
                    _ => panic!("refused: {data}"),
                });
            }
        })
        .await
        .ok()
        .flatten()
    }
}
