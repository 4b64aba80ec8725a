//! The line between the devices and the server. It drops, doubles, reorders and delays frames, cuts connections, and
//! loses requests and answers, each device's by a generator of its own, so that what happens to one does not depend on
//! what the others do at the same time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{
        Request, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{SinkExt as _, StreamExt as _};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sigilo_wire::DeviceId;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Error as SocketError, client::IntoClientRequest as _},
};

use crate::support::server::client;

/// A frame that is held back comes this much later, or behind the next ones.
const HELD: Duration = Duration::from_millis(4);

/// How often what happens, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A request does not arrive.
    pub request: u32,
    /// A request arrives, and its answer is lost.
    pub answer: u32,
    /// A frame is lost.
    pub drop: u32,
    /// A frame comes twice.
    pub double: u32,
    /// A frame comes behind later ones.
    pub hold: u32,
    /// The connection is cut in place of a frame.
    pub cut: u32,
}

/// Which of a device's generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stream {
    Requests,
    ToDevice,
    ToServer,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
    Double,
    Hold,
    Cut,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    None,
    Request,
    Answer,
}

/// How much went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub lost_requests: u64,
    pub lost_answers: u64,
    pub frames: u64,
    pub dropped: u64,
    pub doubled: u64,
    pub held: u64,
    pub cut: u64,
}

#[derive(Default)]
struct Weather {
    seed: u64,
    faults: Faults,
    server: String,
    /// How the devices are called in a simulation: by person and number, the same in every run of a seed.
    names: HashMap<DeviceId, (usize, u8)>,
    away: HashSet<DeviceId>,
    streams: HashMap<((usize, u8), Stream), ChaCha20Rng>,
    tally: Tally,
}

struct Shared {
    client: reqwest::Client,
    weather: Mutex<Weather>,
}

/// The line.
pub struct Line {
    pub url: String,
    shared: Arc<Shared>,
}

impl Line {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { client: client(), weather: Mutex::default() });
        let router =
            Router::new().route("/ws/chat/", get(socket)).fallback(forward).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// A new simulation, with a line that works until it is told otherwise.
    pub fn begin(&self, seed: u64, server: &str) {
        let weather = Weather { seed, server: server.to_owned(), ..Weather::default() };
        *self.shared.weather.lock().unwrap() = weather;
    }

    pub fn to(&self, server: &str) {
        self.weather(|weather| server.clone_into(&mut weather.server));
    }

    pub fn faults(&self, faults: Faults) {
        self.weather(|weather| weather.faults = faults);
    }

    pub fn name(&self, device: DeviceId, name: (usize, u8)) {
        self.weather(|weather| weather.names.insert(device, name));
    }

    /// From now on nothing comes from the device or to it.
    pub fn away(&self, device: DeviceId) {
        self.weather(|weather| weather.away.insert(device));
    }

    pub fn back(&self, device: DeviceId) {
        self.weather(|weather| weather.away.remove(&device));
    }

    pub fn tally(&self) -> Tally {
        self.weather(|weather| weather.tally)
    }

    fn weather<T>(&self, change: impl FnOnce(&mut Weather) -> T) -> T {
        change(&mut self.shared.weather.lock().unwrap())
    }
}

impl Weather {
    fn draw(&mut self, device: Option<DeviceId>, stream: Stream) -> u32 {
        let name = device.and_then(|device| self.names.get(&device).copied()).unwrap_or((usize::MAX, 0));
        let seed = self.seed;
        let stream = self.streams.entry((name, stream)).or_insert_with(|| {
            let mut key = [stream as u8; 32];
            key[..8].copy_from_slice(&seed.to_be_bytes());
            key[8..16].copy_from_slice(&name.0.to_be_bytes());
            key[16] = name.1;
            ChaCha20Rng::from_seed(key)
        });
        stream.next_u32() % 1_000
    }

    fn request(&mut self, device: Option<DeviceId>) -> Loss {
        self.tally.requests += 1;
        let Faults { request, answer, .. } = self.faults;
        let drawn = self.draw(device, Stream::Requests);
        if device.is_some_and(|device| self.away.contains(&device)) {
            Loss::Request
        } else if drawn < request {
            self.tally.lost_requests += 1;
            Loss::Request
        } else if drawn < request + answer {
            self.tally.lost_answers += 1;
            Loss::Answer
        } else {
            Loss::None
        }
    }

    fn frame(&mut self, device: Option<DeviceId>, stream: Stream) -> Fate {
        self.tally.frames += 1;
        let Faults { drop, double, hold, cut, .. } = self.faults;
        let drawn = self.draw(device, stream);
        let tally = &mut self.tally;
        let mut limit = 0;
        for (share, fate, count) in [
            (drop, Fate::Drop, &mut tally.dropped),
            (double, Fate::Double, &mut tally.doubled),
            (hold, Fate::Hold, &mut tally.held),
            (cut, Fate::Cut, &mut tally.cut),
        ] {
            limit += share;
            if drawn < limit {
                *count += 1;
                return fate;
            }
        }
        Fate::Pass
    }
}

/// Whose token it is; a line looks, and does not check.
fn device_of(headers: &HeaderMap) -> Option<DeviceId> {
    #[derive(serde::Deserialize)]
    struct Claims {
        did: DeviceId,
    }
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Claims>(&claims).ok()?.did)
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return nobody() };
    let path = parts.uri.path_and_query().unwrap().to_string();
    let (loss, server) = {
        let mut weather = shared.weather.lock().unwrap();
        (weather.request(device_of(&parts.headers)), weather.server.clone())
    };
    if loss == Loss::Request {
        return nobody();
    }
    match pass_on(&shared, parts.method, &format!("{server}{path}"), parts.headers, body).await {
        Some(answer) if loss == Loss::None => answer,
        _ => nobody(),
    }
}

async fn pass_on(
    shared: &Shared,
    method: reqwest::Method,
    url: &str,
    mut headers: HeaderMap,
    body: Bytes,
) -> Option<Response> {
    headers.remove(header::HOST);
    let answer = shared.client.request(method, url).headers(headers).body(body).send().await.ok()?;
    let mut response = Response::builder().status(answer.status());
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    Some(response.body(Body::from(answer.bytes().await.ok()?)).unwrap())
}

async fn socket(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let device = device_of(&headers);
    let (loss, server) = {
        let mut weather = shared.weather.lock().unwrap();
        (weather.request(device), weather.server.clone())
    };
    if loss != Loss::None {
        return nobody();
    }
    let mut request = format!("{}/ws/chat/", server.replacen("http", "ws", 1)).into_client_request().unwrap();
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    match connect_async(request).await {
        Ok((server, _)) => upgrade.on_upgrade(async move |here| {
            Pump { shared, device, to_device: Way::default(), to_server: Way::default() }
                .run(here, server)
                .await;
        }),
        Err(SocketError::Http(answer)) => answer.status().into_response(),
        Err(_) => nobody(),
    }
}

fn nobody() -> Response {
    Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::from("nobody there")).unwrap()
}

/// One direction of a connection: what is held back, and since when.
#[derive(Default)]
struct Way {
    held: VecDeque<String>,
    until: Option<Instant>,
}

impl Way {
    /// What goes on in the place of this frame; `None` when the connection is cut.
    fn take(&mut self, text: String, fate: Fate) -> Option<Vec<String>> {
        Some(match fate {
            Fate::Cut => return None,
            Fate::Drop => Vec::new(),
            Fate::Hold => {
                self.held.push_back(text);
                self.until = Some(Instant::now() + HELD);
                Vec::new()
            }
            Fate::Double => vec![text.clone(), text],
            Fate::Pass => {
                let mut out = vec![text];
                out.extend(self.release());
                out
            }
        })
    }

    fn release(&mut self) -> impl Iterator<Item = String> + '_ {
        self.until = None;
        self.held.drain(..).rev()
    }
}

struct Pump {
    shared: Arc<Shared>,
    device: Option<DeviceId>,
    to_device: Way,
    to_server: Way,
}

impl Pump {
    /// Hands frames on until one of the sides closes, or the line is cut.
    async fn run(&mut self, mut here: WebSocket, mut there: WebSocketStream<MaybeTlsStream<TcpStream>>) {
        loop {
            let due = [self.to_device.until, self.to_server.until].into_iter().flatten().min();
            tokio::select! {
                said = there.next() => {
                    let text = match said {
                        Some(Ok(tungstenite::Message::Text(text))) => text.to_string(),
                        Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => continue,
                        Some(Ok(tungstenite::Message::Close(frame))) => {
                            let frame = frame.map(|frame| axum::extract::ws::CloseFrame {
                                code: frame.code.into(),
                                reason: frame.reason.as_str().into(),
                            });
                            let _gone = here.send(Message::Close(frame)).await;
                            return;
                        }
                        _ => return,
                    };
                    let fate = self.fate(Stream::ToDevice);
                    let Some(out) = self.to_device.take(text, fate) else { return };
                    for text in out {
                        if here.send(Message::Text(text.into())).await.is_err() {
                            return;
                        }
                    }
                }
                said = here.recv() => {
                    let text = match said {
                        Some(Ok(Message::Text(text))) => text.to_string(),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        _ => return,
                    };
                    let fate = self.fate(Stream::ToServer);
                    let Some(out) = self.to_server.take(text, fate) else { return };
                    for text in out {
                        if there.send(tungstenite::Message::Text(text.into())).await.is_err() {
                            return;
                        }
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    for text in self.to_device.release() {
                        if here.send(Message::Text(text.into())).await.is_err() {
                            return;
                        }
                    }
                    for text in self.to_server.release() {
                        if there.send(tungstenite::Message::Text(text.into())).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn fate(&self, stream: Stream) -> Fate {
        let mut weather = self.shared.weather.lock().unwrap();
        if self.device.is_some_and(|device| weather.away.contains(&device)) {
            return Fate::Cut;
        }
        weather.frame(self.device, stream)
    }
}
