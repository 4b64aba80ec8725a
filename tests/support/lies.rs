//! What a cheating server says: answers and frames are changed on their way to the device.

use std::sync::{Mutex, PoisonError};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

/// Changes the body of an answer to a request with this path.
type Answers = Box<dyn FnMut(&str, &mut Value) + Send>;
/// What the device gets in the place of a frame: nothing, another one, several.
type Frames = Box<dyn FnMut(Value) -> Vec<Value> + Send>;

/// What is changed, if anything.
#[derive(Default)]
pub struct Lies {
    answers: Mutex<Option<Answers>>,
    frames: Mutex<Option<Frames>>,
}

impl std::fmt::Debug for Lies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lies")
    }
}

/// A lie that panicked has failed its test already.
fn locked<T>(lie: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lie.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lies {
    pub fn set_answers(&self, lie: Option<Answers>) {
        *locked(&self.answers) = lie;
    }

    pub fn set_frames(&self, lie: Option<Frames>) {
        *locked(&self.frames) = lie;
    }

    /// The answer as the device gets it.
    pub fn answer(&self, path: &str, body: Vec<u8>) -> Vec<u8> {
        match (locked(&self.answers).as_mut(), serde_json::from_slice(&body)) {
            (Some(lie), Ok(mut value)) => {
                lie(path, &mut value);
                value.to_string().into_bytes()
            }
            _ => body,
        }
    }

    fn frame(&self, text: &str) -> Vec<String> {
        match locked(&self.frames).as_mut() {
            Some(lie) => lie(serde_json::from_str(text).unwrap()).iter().map(ToString::to_string).collect(),
            None => vec![text.to_owned()],
        }
    }

    /// Hands frames on until one of the sides closes.
    pub async fn pump(&self, mut device: WebSocket, mut server: WebSocketStream<MaybeTlsStream<TcpStream>>) {
        loop {
            tokio::select! {
                said = server.next() => match said {
                    Some(Ok(tungstenite::Message::Text(text))) => {
                        for frame in self.frame(&text) {
                            if device.send(Message::Text(frame.into())).await.is_err() {
                                return;
                            }
                        }
                    }
                    Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {}
                    _ => return,
                },
                said = device.recv() => match said {
                    Some(Ok(Message::Text(text))) => {
                        let text = tungstenite::Message::Text(text.as_str().into());
                        if server.send(text).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return,
                },
            }
        }
    }
}
