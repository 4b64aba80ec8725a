//! The WebSocket: kept open, reconnected with growing pauses, its frames handed to the engine in order.
//!
//! The pump owns the connection and knows nothing of messages. Answers go to whoever asked; everything else goes
//! to the engine, which acknowledges an event only after it is on disk.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use sigilo_wire::{
    RequestId,
    event::{ClientFrame, EventType, ServerFrame},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error as SocketError, Message as SocketMessage, Utf8Bytes, client::IntoClientRequest as _,
        protocol::CloseFrame,
    },
};

use crate::{
    Error, Result,
    api::{Api, path},
    env::Env,
};

/// The socket was replaced by another one of the same device.
const REPLACED: u16 = 4409;
/// The token expired.
const TOKEN_EXPIRED: u16 = 4401;
/// First pause before a reconnection; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause before a reconnection.
const PAUSE_MOST: Duration = Duration::from_secs(30);
/// The server pings every 30 s: silence for longer than two pings and a half is a dead connection.
const SILENCE: Duration = Duration::from_secs(75);
/// A request without an answer for this long has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the opening handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the pump tells the engine.
#[derive(Debug)]
pub(crate) enum SocketEvent {
    /// Open.
    Up,
    /// A frame that answers nobody's request.
    Frame(Box<ServerFrame>),
    /// Closed; the pump tries again.
    Down { reason: String },
    /// Another socket of this device took over; the pump has stopped.
    Replaced,
    /// The tokens are no longer valid; the pump has stopped.
    LoggedOut,
}

enum Outgoing {
    Frame(ClientFrame),
    Request { id: String, frame: ClientFrame, answer: oneshot::Sender<Result<ServerFrame>> },
}

/// The engine's side of the pump.
pub(crate) struct Socket {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    open: Rc<RefCell<bool>>,
    pump: JoinHandle<()>,
    env: Rc<Env>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Socket {
    /// Starts the pump on this thread's local set.
    pub(crate) fn start(api: Rc<Api>, env: Rc<Env>, events: mpsc::UnboundedSender<SocketEvent>) -> Self {
        let (outgoing, incoming) = mpsc::unbounded_channel();
        let open = Rc::new(RefCell::new(false));
        let pump = Pump { api, env: Rc::clone(&env), events, outgoing: incoming, open: Rc::clone(&open) };
        Self { outgoing, open, pump: tokio::task::spawn_local(pump.run()), env }
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Sends a frame nobody waits for an answer to; lost when the socket is closed.
    pub(crate) fn send(&self, frame: ClientFrame) {
        let _lost_with_the_pump = self.outgoing.send(Outgoing::Frame(frame));
    }

    /// Sends a frame and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Offline`] when the socket closes first: whether the frame arrived is not known then.
    pub(crate) async fn request(&self, frame: impl FnOnce(String) -> ClientFrame) -> Result<ServerFrame> {
        let id = RequestId::new(self.env.now(), self.env.bytes()).to_string();
        let (answer, answered) = oneshot::channel();
        let request = Outgoing::Request { frame: frame(id.clone()), id, answer };
        self.outgoing.send(request).map_err(|_| closed("the socket has stopped"))?;
        match tokio::time::timeout(self.env.pause(ANSWER_TIMEOUT), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed("the socket closed")),
            Err(_) => Err(closed("no answer in time")),
        }
    }
}

fn closed(reason: &str) -> Error {
    Error::Offline(reason.into())
}

type Connection = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Pump {
    api: Rc<Api>,
    env: Rc<Env>,
    events: mpsc::UnboundedSender<SocketEvent>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    open: Rc<RefCell<bool>>,
}

/// Why a connection ended.
enum End {
    Again(String),
    Renew { token: String, reason: String },
    Replaced,
    LoggedOut,
    EngineGone,
}

impl Pump {
    async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            let end = match self.connect().await {
                Ok((connection, token)) => {
                    pause = PAUSE_FIRST;
                    self.open.replace(true);
                    let _engine_gone = self.events.send(SocketEvent::Up);
                    let end = self.serve(connection, token).await;
                    self.open.replace(false);
                    end
                }
                Err(end) => end,
            };
            let reason = match end {
                End::Again(reason) => reason,
                End::Renew { token, reason } => match self.api.renew(&token).await {
                    Err(Error::LoggedOut) => return self.tell(SocketEvent::LoggedOut),
                    _ => reason,
                },
                End::Replaced => return self.tell(SocketEvent::Replaced),
                End::LoggedOut => return self.tell(SocketEvent::LoggedOut),
                End::EngineGone => return,
            };
            self.tell(SocketEvent::Down { reason });
            self.refuse_while(self.env.jitter(pause)).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn tell(&self, event: SocketEvent) {
        let _engine_gone = self.events.send(event);
    }

    /// Waits; requests made meanwhile fail at once, so that they take the other way.
    async fn refuse_while(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Ok(Some(outgoing)) = tokio::time::timeout_at(until, self.outgoing.recv()).await {
            if let Outgoing::Request { answer, .. } = outgoing {
                let _asker_gone = answer.send(Err(closed("the socket is closed")));
            }
        }
        tokio::time::sleep_until(until).await;
    }

    async fn connect(&self) -> std::result::Result<(Connection, String), End> {
        let again = |error: String| End::Again(error);
        let token = match self.api.access_token().await {
            Ok(token) => token,
            Err(Error::LoggedOut) => return Err(End::LoggedOut),
            Err(error) => return Err(again(error.to_string())),
        };
        let mut request = self
            .api
            .server()
            .websocket(path::SOCKET)
            .into_client_request()
            .map_err(|error| again(error.to_string()))?;
        let header = format!("Bearer {token}").parse().map_err(|_| again("an unusable token".into()))?;
        request.headers_mut().insert("Authorization", header);
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, connect_async(request)).await;
        match opened {
            Ok(Ok((connection, _))) => Ok((connection, token)),
            Ok(Err(SocketError::Http(answer))) if answer.status().as_u16() == 401 => {
                Err(End::Renew { token, reason: "the token has expired".into() })
            }
            Ok(Err(error)) => Err(again(error.to_string())),
            Err(_) => Err(again("the server does not answer".into())),
        }
    }

    async fn serve(&mut self, mut connection: Connection, mut token: String) -> End {
        let mut waiting = HashMap::<String, oneshot::Sender<Result<ServerFrame>>>::new();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                outgoing = self.outgoing.recv() => {
                    let Some(outgoing) = outgoing else {
                        let _closing = connection.close(None).await;
                        return End::EngineGone;
                    };
                    if let Err(error) = write(&mut connection, outgoing, &mut waiting).await {
                        return End::Again(error);
                    }
                }
                read = connection.next() => {
                    heard = Instant::now();
                    let text = match read {
                        Some(Ok(SocketMessage::Text(text))) => text,
                        Some(Ok(SocketMessage::Close(frame))) => return closing(frame, token),
                        // The library answers pings by itself, with the next write or flush.
                        Some(Ok(_)) => match connection.flush().await {
                            Ok(()) => continue,
                            Err(error) => return End::Again(error.to_string()),
                        },
                        Some(Err(error)) => return End::Again(error.to_string()),
                        None => return End::Again("the connection was cut".into()),
                    };
                    match self.take(&text, &mut waiting) {
                        Taken::Done => {}
                        Taken::Expiring => match self.renew_in_place(&mut connection, &token).await {
                            Ok(fresh) => token = fresh,
                            Err(end) => return end,
                        },
                        Taken::Unknown(event_id) => {
                            let frame = ClientFrame::Ack { event_ids: vec![event_id] };
                            if let Err(error) = write_frame(&mut connection, &frame).await {
                                return End::Again(error);
                            }
                        }
                        Taken::EngineGone => return End::EngineGone,
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE) => {
                    return End::Again("the server went silent".into());
                }
            }
        }
    }

    fn take(&self, text: &str, waiting: &mut HashMap<String, oneshot::Sender<Result<ServerFrame>>>) -> Taken {
        let frame: ServerFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "a frame of an unknown kind");
                return unknown(text);
            }
        };
        match frame.r#type {
            EventType::Result | EventType::Error => {
                if let Some(asker) = frame.request_id.as_ref().and_then(|id| waiting.remove(id)) {
                    let _asker_gone = asker.send(Ok(frame));
                }
                Taken::Done
            }
            EventType::SessionExpiring => Taken::Expiring,
            _ => match self.events.send(SocketEvent::Frame(Box::new(frame))) {
                Ok(()) => Taken::Done,
                Err(_) => Taken::EngineGone,
            },
        }
    }

    async fn renew_in_place(
        &self,
        connection: &mut Connection,
        token: &str,
    ) -> std::result::Result<String, End> {
        let fresh = match self.api.renew(token).await {
            Ok(fresh) => fresh,
            Err(Error::LoggedOut) => return Err(End::LoggedOut),
            Err(error) => return Err(End::Again(error.to_string())),
        };
        let frame = ClientFrame::Auth { request_id: None, token: fresh.clone() };
        write_frame(connection, &frame).await.map_err(End::Again)?;
        Ok(fresh)
    }
}

enum Taken {
    Done,
    Expiring,
    /// An event of a newer server's. It is acknowledged: kept, it would take the place of those after it.
    Unknown(String),
    EngineGone,
}

fn unknown(text: &str) -> Taken {
    #[derive(serde::Deserialize)]
    struct Event {
        event_id: Option<String>,
    }
    match serde_json::from_str(text) {
        Ok(Event { event_id: Some(event_id) }) => Taken::Unknown(event_id),
        _ => Taken::Done,
    }
}

fn closing(frame: Option<CloseFrame>, token: String) -> End {
    let Some(frame) = frame else { return End::Again("the server closed the connection".into()) };
    let code = u16::from(frame.code);
    let reason = format!("the server closed the connection ({code})");
    match code {
        REPLACED => End::Replaced,
        TOKEN_EXPIRED => End::Renew { token, reason },
        _ => End::Again(reason),
    }
}

async fn write(
    connection: &mut Connection,
    outgoing: Outgoing,
    waiting: &mut HashMap<String, oneshot::Sender<Result<ServerFrame>>>,
) -> std::result::Result<(), String> {
    match outgoing {
        Outgoing::Frame(frame) => write_frame(connection, &frame).await,
        Outgoing::Request { id, frame, answer } => {
            // Askers that gave up are dropped here.
            waiting.retain(|_, asker| !asker.is_closed());
            waiting.insert(id, answer);
            write_frame(connection, &frame).await
        }
    }
}

async fn write_frame(connection: &mut Connection, frame: &ClientFrame) -> std::result::Result<(), String> {
    let text = serde_json::to_string(frame).map_err(|error| error.to_string())?;
    connection.send(SocketMessage::Text(Utf8Bytes::from(text))).await.map_err(|error| error.to_string())
}
