//! The load: every pair's patient sends, the doctor's device receives and acknowledges, and the patient's
//! device hears that it was delivered.
//!
//! Times run from the moment a message is handed to the socket or the HTTP client; with a given rate from the
//! moment it was due, so that a server that holds everybody up cannot hide it. Client and server share the
//! machine and its clock.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Transport,
    pace::Pacer,
    sign::Frame,
    socket::{Acks, Incoming, PATIENCE, Socket, silent},
    stats::Times,
};
use crate::{Error, Result};

/// A pair as the load sees it.
pub(super) struct LoadPair {
    /// The sending device's token.
    pub(super) sender_token: String,
    /// The receiving device's token.
    pub(super) receiver_token: String,
    /// Where a message is posted.
    pub(super) path: String,
    /// The messages, all of them, from the first.
    pub(super) frames: Arc<[Frame]>,
    /// How many have been sent in earlier phases.
    pub(super) sent: usize,
}

/// How a phase sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Over what.
    pub(super) transport: Transport,
    /// For how long, unless the messages end before.
    pub(super) time: Duration,
    /// How many unanswered sends a socket may have. HTTP has one a device: each message names the one before.
    pub(super) window: usize,
    /// How many messages a second all pairs together send; as fast as answers come when absent.
    pub(super) rate: Option<f64>,
    /// The most messages a pair sends in this phase.
    pub(super) messages: usize,
}

/// What a phase came to.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Sends the server accepted.
    pub(super) accepted: u64,
    /// Messages that reached their receiver.
    pub(super) delivered: u64,
    /// Messages that reached it again.
    pub(super) duplicates: u64,
    /// From the first send to the last receipt.
    pub(super) time: Duration,
    /// From send to receipt.
    pub(super) receipt: Times,
    /// From send to the receiver's device.
    pub(super) delivery: Times,
    /// From send until the sender knows it was delivered.
    pub(super) mark: Times,
    /// WebSocket frames to the server.
    pub(super) frames_in: u64,
    /// WebSocket frames from the server.
    pub(super) frames_out: u64,
}

/// What the two devices of a pair share for the measurement.
struct Shared {
    start: Instant,
    /// The number of the phase's first message, less one.
    before: usize,
    /// When each message was sent, in microseconds after the start.
    sent: Vec<AtomicU64>,
    /// Which message has which id; the receiver learns it first.
    ids: Mutex<HashMap<String, usize>>,
}

impl Shared {
    fn note_sent(&self, place: usize, at: Instant) {
        if let Some(sent) = self.sent.get(place) {
            sent.store(micros(at.saturating_duration_since(self.start)), Ordering::Release);
        }
    }

    fn since_sent(&self, place: usize) -> Duration {
        let sent = self.sent.get(place).map_or(0, |sent| sent.load(Ordering::Acquire));
        self.start.elapsed().saturating_sub(Duration::from_micros(sent))
    }

    fn learn(&self, id: &str, place: usize) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), place);
    }

    fn place_of(&self, id: &str) -> Option<usize> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Sends as planned and waits until everything accepted has been delivered, marked and acknowledged.
///
/// # Errors
/// When the server refuses a message, closes a socket or falls silent.
pub(super) async fn run(address: &str, pairs: &mut [LoadPair], plan: &Plan) -> Result<Measured> {
    let sockets: Vec<(Socket, Socket)> = stream::iter(&*pairs)
        .map(|pair| async move {
            Ok::<_, Error>((
                Socket::open_device(address, "/ws/chat/", &pair.sender_token).await?,
                Socket::open_device(address, "/ws/chat/", &pair.receiver_token).await?,
            ))
        })
        .buffered(16)
        .try_collect()
        .await?;
    // The HTTP client's TLS library wants to know; nothing here uses TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(Error::internal)?;
    let pacer = Pacer::start()?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    let all = pairs.len();
    for (number, (pair, (sending, receiving))) in pairs.iter().zip(sockets).enumerate() {
        let frames: Vec<Frame> = pair.frames.iter().skip(pair.sent).take(plan.messages).cloned().collect();
        let shared = Arc::new(Shared {
            start,
            before: pair.sent,
            sent: frames.iter().map(|_| AtomicU64::new(0)).collect(),
            ids: Mutex::default(),
        });
        let (done, over) = watch::channel(false);
        tasks.spawn(receive(receiving, Arc::clone(&shared), over));
        let pace = Pace { start, plan: *plan, number, all, pacer: pacer.clone() };
        let post = Post {
            http: http.clone(),
            url: format!("http://{address}{}", pair.path),
            token: pair.sender_token.clone(),
        };
        tasks.spawn(async move {
            let measured = match pace.plan.transport {
                Transport::Ws => send_by_socket(sending, &frames, &shared, &pace).await,
                Transport::Http => send_by_http(sending, &frames, &shared, &pace, &post).await,
            }?;
            // The receiver may have gone with an error of its own, which is reported there.
            let _ = done.send(true);
            Ok((Some((number, measured.accepted)), measured))
        });
    }
    let mut total = Measured::default();
    while let Some(ended) = tasks.join_next().await {
        let (who, measured) = ended.map_err(Error::internal)??;
        if let Some((number, accepted)) = who
            && let Some(pair) = pairs.get_mut(number)
        {
            pair.sent += usize::try_from(accepted).map_err(Error::internal)?;
        }
        total.add(measured);
    }
    Ok(total)
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.time = self.time.max(other.time);
        self.receipt.merge(other.receipt);
        self.delivery.merge(other.delivery);
        self.mark.merge(other.mark);
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
    }
}

/// When one sender's messages are due.
struct Pace {
    start: Instant,
    plan: Plan,
    number: usize,
    all: usize,
    pacer: Pacer,
}

impl Pace {
    /// When the message at a place is due; `None` when the time is over.
    fn due(&self, place: usize) -> Option<Instant> {
        let due = match self.plan.rate {
            // The senders take turns.
            Some(rate) => {
                let turn = place * self.all + self.number;
                self.start + Duration::from_secs_f64(turn as f64 / rate)
            }
            None => Instant::now(),
        };
        (due < self.start + self.plan.time).then_some(due)
    }
}

/// What a sending device hears on its socket.
struct Heard {
    socket: Socket,
    acks: Acks,
    measured: Measured,
    marks: u64,
}

impl Heard {
    fn new(socket: Socket) -> Self {
        Self { socket, acks: Acks::default(), measured: Measured::default(), marks: 0 }
    }

    /// Takes a frame; says whether it was a receipt.
    fn take(&mut self, text: &str, shared: &Shared) -> Result<bool> {
        let frame = Incoming::parse(text)?;
        self.acks.note(&frame);
        match frame.r#type {
            "result" => {
                let place = frame.request_id.and_then(|id| id.parse::<usize>().ok());
                let place = place.and_then(|seq| seq.checked_sub(shared.before + 1));
                let place = place.ok_or_else(|| Error::internal(format!("an answer to nothing: {text}")))?;
                self.note_receipt(shared, place);
                Ok(true)
            }
            "message_delivered" => {
                let place = frame.data.message_id.and_then(|id| shared.place_of(id));
                if let Some(place) = place {
                    self.measured.mark.note(shared.since_sent(place));
                    self.marks += 1;
                }
                Ok(false)
            }
            "error" => Err(Error::internal(format!("the server refused a message: {text}"))),
            _ => Ok(false),
        }
    }

    fn note_receipt(&mut self, shared: &Shared, place: usize) {
        self.measured.receipt.note(shared.since_sent(place));
        self.measured.accepted += 1;
        self.measured.time = shared.start.elapsed();
    }

    /// Takes a frame and all others that are here, and acknowledges them. Says how many receipts there were.
    async fn take_all(&mut self, text: &str, shared: &Shared) -> Result<usize> {
        let mut receipts = usize::from(self.take(text, shared)?);
        while let Some(text) = self.socket.ready()? {
            receipts += usize::from(self.take(&text, shared)?);
        }
        self.socket.acknowledge(&mut self.acks).await?;
        Ok(receipts)
    }

    fn finish(mut self) -> Measured {
        self.measured.frames_in += self.socket.sent;
        self.measured.frames_out += self.socket.received;
        self.measured
    }
}

async fn send_by_socket(socket: Socket, frames: &[Frame], shared: &Shared, pace: &Pace) -> Result<Measured> {
    let mut heard = Heard::new(socket);
    let mut waiting = frames.iter().enumerate();
    let mut next = waiting.next();
    let mut unanswered = 0;
    let mut sent = 0;
    loop {
        let mut due = None;
        while let Some((place, frame)) = next
            && unanswered < pace.plan.window
        {
            let Some(at) = pace.due(place) else {
                next = None;
                break;
            };
            if at > Instant::now() {
                due = Some(at);
                break;
            }
            shared.note_sent(place, at);
            heard.socket.feed(frame.websocket()).await?;
            (unanswered, sent, next) = (unanswered + 1, sent + 1, waiting.next());
        }
        heard.socket.flush().await?;
        if next.is_none() && unanswered == 0 && heard.marks == sent {
            return Ok(heard.finish());
        }
        let text = match due {
            Some(due) => tokio::select! {
                () = pace.pacer.sleep_until(due) => continue,
                text = heard.socket.next(due + PATIENCE) => text?,
            },
            None => heard.socket.next(Instant::now() + PATIENCE).await?,
        };
        let text = text.ok_or_else(silent)?;
        unanswered -= heard.take_all(&text, shared).await?.min(unanswered);
    }
}

/// One device's way to send over HTTP.
struct Post {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Post {
    async fn send(&self, body: String) -> Result<()> {
        let request = self.http.post(&self.url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json").body(body);
        let response = request.send().await.map_err(Error::internal)?;
        let status = response.status();
        let answer = response.bytes().await.map_err(Error::internal)?;
        if status.as_u16() == 201 {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&answer);
        Err(Error::internal(format!("the server refused a message: {status} {answer}")))
    }
}

async fn send_by_http(
    socket: Socket,
    frames: &[Frame],
    shared: &Shared,
    pace: &Pace,
    post: &Post,
) -> Result<Measured> {
    // How many were sent, once that is known: so many marks must come.
    let (all, mut expected) = watch::channel(None);
    let sending = async {
        let mut measured = Measured::default();
        for (place, frame) in frames.iter().enumerate() {
            let Some(due) = pace.due(place) else { break };
            if pace.plan.rate.is_some() {
                pace.pacer.sleep_until(due).await;
            }
            shared.note_sent(place, due);
            post.send(frame.http()).await?;
            measured.receipt.note(shared.since_sent(place));
            measured.accepted += 1;
            measured.time = shared.start.elapsed();
        }
        // The other half may have gone with an error of its own.
        let _ = all.send(Some(measured.accepted));
        Ok::<_, Error>(measured)
    };
    let hearing = async {
        let mut heard = Heard::new(socket);
        loop {
            if *expected.borrow_and_update() == Some(heard.marks) {
                return Ok(heard.finish());
            }
            let known = expected.borrow().is_some();
            let text = tokio::select! {
                text = heard.socket.next(Instant::now() + PATIENCE) => text?,
                changed = expected.changed(), if !known => {
                    changed.map_err(|_| silent())?;
                    continue;
                }
            };
            match text {
                Some(text) => _ = heard.take_all(&text, shared).await?,
                None if known => return Err(silent()),
                None => {}
            }
        }
    };
    let (mut sent, heard) = tokio::try_join!(sending, hearing)?;
    sent.add(heard);
    Ok(sent)
}

type Received = (Option<(usize, u64)>, Measured);

/// The receiving device: takes messages and acknowledges them until the sender has heard of all.
async fn receive(
    mut socket: Socket,
    shared: Arc<Shared>,
    mut over: watch::Receiver<bool>,
) -> Result<Received> {
    let mut measured = Measured::default();
    let mut seen = vec![false; shared.sent.len()];
    let mut acks = Acks::default();
    loop {
        let text = tokio::select! {
            // When the sender fails, its error is the one to report.
            _ = over.changed() => break,
            text = socket.next(Instant::now() + PATIENCE) => text?,
        };
        let Some(mut text) = text else { continue };
        loop {
            take_message(&text, &shared, &mut seen, &mut acks, &mut measured)?;
            match socket.ready()? {
                Some(another) => text = another,
                None => break,
            }
        }
        socket.acknowledge(&mut acks).await?;
    }
    measured.frames_in += socket.sent;
    measured.frames_out += socket.received;
    // The other side may be gone already.
    let _ = timeout(PATIENCE, socket.flush()).await;
    Ok((None, measured))
}

fn take_message(
    text: &str,
    shared: &Shared,
    seen: &mut [bool],
    acks: &mut Acks,
    measured: &mut Measured,
) -> Result<()> {
    let frame = Incoming::parse(text)?;
    acks.note(&frame);
    let (Some(id), Some(seq)) = (frame.data.id, frame.data.device_seq) else { return Ok(()) };
    let place = seq.checked_sub(shared.before + 1);
    let Some((place, seen)) = place.and_then(|place| Some((place, seen.get_mut(place)?))) else {
        // Of an earlier phase: sent again because its acknowledgement was under way.
        return Ok(());
    };
    if std::mem::replace(seen, true) {
        measured.duplicates += 1;
        return Ok(());
    }
    measured.delivery.note(shared.since_sent(place));
    measured.delivered += 1;
    shared.learn(id, place);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: Option<f64>, number: usize) -> Pace {
        let time = Duration::from_secs(2);
        let plan = Plan { transport: Transport::Ws, time, window: 1, rate, messages: 100 };
        Pace { start: Instant::now(), plan, number, all: 4, pacer: Pacer::start().unwrap() }
    }

    #[test]
    fn senders_take_turns_at_a_rate_until_the_time_is_over() {
        let pace = pace(Some(8.0), 1);
        let after = |place| pace.due(place).map(|due| due - pace.start);
        assert_eq!(after(0), Some(Duration::from_millis(125)));
        assert_eq!(after(3), Some(Duration::from_millis(1_625)));
        assert_eq!(after(4), None);
    }

    #[test]
    fn without_a_rate_everything_is_due_now() {
        let pace = pace(None, 1);
        assert!(pace.due(1_000_000).unwrap() <= Instant::now());
    }

    #[test]
    fn a_message_counts_once() {
        let shared =
            Shared { start: Instant::now(), before: 5, sent: vec![AtomicU64::new(0)], ids: Mutex::default() };
        let (mut seen, mut acks, mut measured) = ([false], Acks::default(), Measured::default());
        let text = r#"{"type":"new_message","event_id":"e","data":{"id":"m","device_seq":6}}"#;
        for _ in 0..2 {
            take_message(text, &shared, &mut seen, &mut acks, &mut measured).unwrap();
        }
        assert_eq!((measured.delivered, measured.duplicates), (1, 1));
        assert_eq!(shared.place_of("m"), Some(0));
        let earlier = text.replace('6', "5");
        take_message(&earlier, &shared, &mut seen, &mut acks, &mut measured).unwrap();
        assert_eq!(measured.delivered, 1);
    }
}
