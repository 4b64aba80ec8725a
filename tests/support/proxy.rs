//! What stands between a device and the server: it forwards, notes what went through, loses what it is told to
//! lose, and lies as it is told to lie. To the device a lost answer looks like a gateway that gave up.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error as SocketError, client::IntoClientRequest as _},
};

use super::{TestServer, lies::Lies};

/// The headers of answers that devices read.
const HEADERS: [&str; 5] =
    ["content-type", "retry-after", "content-range", "upload-offset", "sigilo-file-id"];

/// A request that came through, and what the server answered; 0 when it never got there.
#[derive(Clone, Debug)]
pub struct Passed {
    pub path: String,
    pub idempotency_key: Option<String>,
    pub body: Bytes,
    pub status: u16,
    /// Whether the answer reached the device.
    pub answered: bool,
}

/// What the proxy does with requests.
#[derive(Clone, Copy, Debug)]
enum Line {
    Up,
    Down,
    /// Answers to requests whose path has this in it do not come back.
    Loses(&'static str),
}

#[derive(Debug)]
struct Shared {
    server: String,
    client: reqwest::Client,
    line: Mutex<Line>,
    /// Answers to requests whose path has this in it end after so many bytes.
    cuts: Mutex<Option<(&'static str, usize)>>,
    passed: Mutex<Vec<Passed>>,
    lies: Lies,
}

/// A proxy on loopback.
#[derive(Debug)]
pub struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn start(server: &TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            server: server.url.clone(),
            client: server.client.clone(),
            line: Mutex::new(Line::Up),
            cuts: Mutex::default(),
            passed: Mutex::default(),
            lies: Lies::default(),
        });
        let router =
            Router::new().route("/ws/chat/", get(socket)).fallback(forward).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    pub fn up(&self) {
        *self.shared.line.lock().unwrap() = Line::Up;
    }

    pub fn down(&self) {
        *self.shared.line.lock().unwrap() = Line::Down;
    }

    /// From now on, answers to requests whose path has this in it end after so many bytes.
    pub fn cut_answers(&self, path: &'static str, after: usize) {
        *self.shared.cuts.lock().unwrap() = Some((path, after));
    }

    pub fn lose(&self, path: &'static str) {
        *self.shared.line.lock().unwrap() = Line::Loses(path);
    }

    /// From now on, the bodies of answers reach the device as this leaves them; it is told the request's path.
    pub fn answers(&self, lie: impl FnMut(&str, &mut Value) + Send + 'static) {
        self.shared.lies.set_answers(Some(Box::new(lie)));
    }

    /// From now on, the device's socket gets what this makes of each frame.
    pub fn frames(&self, lie: impl FnMut(Value) -> Vec<Value> + Send + 'static) {
        self.shared.lies.set_frames(Some(Box::new(lie)));
    }

    /// No more lies.
    pub fn honest(&self) {
        self.shared.lies.set_answers(None);
        self.shared.lies.set_frames(None);
    }

    /// The requests whose path has this in it, in order.
    pub fn passed(&self, path: &str) -> Vec<Passed> {
        let passed = self.shared.passed.lock().unwrap();
        passed.iter().filter(|request| request.path.contains(path)).cloned().collect()
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let key = parts.headers.get("Idempotency-Key").map(|key| key.to_str().unwrap().to_owned());
    let line = *shared.line.lock().unwrap();
    let answer = match line {
        Line::Down => None,
        Line::Up | Line::Loses(_) => {
            let mut headers: HeaderMap = parts.headers;
            headers.remove(header::HOST);
            let url = format!("{}{path}", shared.server);
            let request = shared.client.request(parts.method, url).headers(headers).body(body.clone());
            Some(request.send().await.unwrap())
        }
    };
    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    let lost = matches!(line, Line::Loses(part) if path.contains(part));
    let answered = answer.is_some() && !lost;
    let passed = Passed { path: path.clone(), idempotency_key: key, body, status, answered };
    shared.passed.lock().unwrap().push(passed);
    match answer {
        Some(answer) if answered => {
            let mut response = Response::builder().status(answer.status());
            for name in HEADERS {
                if let Some(value) = answer.headers().get(name) {
                    response = response.header(name, value);
                }
            }
            let mut body = answer.bytes().await.unwrap().to_vec();
            if let Some((_, after)) = shared.cuts.lock().unwrap().filter(|(part, _)| path.contains(part)) {
                body.truncate(after);
            }
            response.body(Body::from(shared.lies.answer(&path, body))).unwrap()
        }
        _ => nobody(),
    }
}

async fn socket(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if matches!(*shared.line.lock().unwrap(), Line::Down) {
        return nobody();
    }
    let url = format!("{}/ws/chat/", shared.server.replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    match connect_async(request).await {
        Ok((server, _)) => upgrade.on_upgrade(async move |device| shared.lies.pump(device, server).await),
        Err(SocketError::Http(answer)) => answer.status().into_response(),
        Err(_) => nobody(),
    }
}

fn nobody() -> Response {
    Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::from("nobody there")).unwrap()
}
