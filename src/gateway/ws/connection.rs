//! One socket's life: the backlog, what comes live, acknowledgements, sends, and why it ends.
//!
//! The queue is in the database. The socket remembers how far it has sent and what is not acknowledged yet, at
//! most 256 events; everything else waits in the queue, so a slow or absent client costs no memory.
//!
//! What a socket does for a moment is boxed, so that its task is as large as its waiting, not as its busiest moment.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use serde::Serialize;
use serde_json::json;
use sigilo_seal::decision::{FRAME, request_hash};
use sigilo_wire::{
    ConversationId, ErrorCode, RequestId,
    event::{ClientFrame, EventType},
    mark::{ReadPosition, ReadUpTo},
    message::{SendMessage, Taken},
    presence::PresenceStatus,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, error::Elapsed, interval_at, timeout};

use super::frames::{self, Received};
use crate::{
    App, Ctx, Error, Result,
    app::SharedApp,
    auth::{self, Session},
    conversations,
    gateway::language::Language,
    marks::{self, Reach},
    policy::{self, ShowPresence},
    presence::{self, Pace, Seat},
    relay::{
        self, MAX_SEND_REQUEST,
        deliver::{self, Acknowledgement, QueuedFrame},
        hub::{CloseReason, Ending, News, Registration},
    },
    rng,
};

/// How long a closing socket may take to say so.
const FAREWELL: Duration = Duration::from_secs(5);
/// How many sends of one socket are on their way to the disk before it is read further.
const MAX_PENDING_SENDS: usize = 64;

/// Why a socket ends.
enum End {
    /// The server closes it.
    Close(CloseReason),
    /// A frame was too large to be read.
    TooLarge,
    /// The client has gone.
    Gone,
}

/// What became of a message sent under a request id of the client's.
type Sent = (RequestId, String, Result<Taken>);

type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

struct Connection {
    app: SharedApp,
    session: Session,
    language: Language,
    conversation: Option<ConversationId>,
    socket: WebSocket,
    /// The last event sent.
    sent: i64,
    /// Whether the queue may hold more than was sent, for want of room.
    behind: bool,
    /// Sent and not acknowledged.
    in_flight: BTreeSet<i64>,
    /// Whether what waited at the beginning has been sent.
    caught_up: bool,
    heard_since_ping: bool,
    sends: FuturesUnordered<Sending>,
    /// How often it may tell others something.
    pace: Pace,
    /// Its place among those who are there, once it has said so.
    seat: Option<Seat>,
    /// When its token ends.
    ending: Ending,
}

/// Serves a socket until it ends.
pub(super) async fn run(
    app: SharedApp,
    (session, language): (Session, Language),
    conversation: Option<ConversationId>,
    registration: Registration,
    socket: WebSocket,
) {
    let _under_way = app.sockets.guard();
    metrics::gauge!("sigilo_sockets").increment(1.0);
    let pace = Pace::new(app.clock.now());
    let mut connection = Connection {
        app,
        session,
        language,
        conversation,
        socket,
        sent: 0,
        behind: true,
        in_flight: BTreeSet::new(),
        caught_up: false,
        heard_since_ping: true,
        sends: FuturesUnordered::new(),
        pace,
        seat: None,
        ending: registration.ending(),
    };
    let end = match connection.serve(&registration).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    drop(registration);
    if let Some(seat) = connection.seat.take() {
        Box::pin(presence::leave(&connection.app, &connection.ctx(), seat)).await;
    }
    Box::pin(connection.farewell(end)).await;
    metrics::gauge!("sigilo_sockets").decrement(1.0);
}

impl Connection {
    async fn serve(&mut self, registration: &Registration) -> Result<std::convert::Infallible, End> {
        Box::pin(self.begin()).await?;
        let mut ping = timer(Duration::from_secs(self.app.config.relay.ping_s));
        loop {
            // What the last round wrote leaves together.
            self.flush().await?;
            tokio::select! {
                () = registration.woken() => Box::pin(self.take_news(registration.news())).await?,
                Some(sent) = self.sends.next(), if !self.sends.is_empty() => Box::pin(self.answer_sends(sent)).await?,
                frame = self.socket.recv(), if self.sends.len() < MAX_PENDING_SENDS => {
                    Box::pin(self.receive(frame, registration)).await?;
                }
                _ = ping.tick() => self.ping().await?,
            }
        }
    }

    /// Shows what waits.
    async fn begin(&mut self) -> Result<(), End> {
        if let Err(error) = deliver::shorten_queue(&self.app, &self.session.ctx).await {
            tracing::warn!(%error, "an old queue could not be shortened");
        }
        self.fill().await
    }

    /// Answers a send, and those that were stored with it.
    async fn answer_sends(&mut self, (request, id, result): Sent) -> Result<(), End> {
        self.answer(request, Some(id), result).await?;
        while let Some(Some((request, id, result))) = self.sends.next().now_or_never() {
            self.answer(request, Some(id), result).await?;
        }
        Ok(())
    }

    /// Sends what was just stored, when it is the next of the queue; otherwise looks into the queue.
    async fn take_news(&mut self, news: News) -> Result<(), End> {
        if let Some(reason) = news.close {
            return Err(End::Close(reason));
        }
        if news.expiring {
            let data = json!({"expires_at": self.session.expires_at});
            let now = self.app.clock.now();
            self.send(&frames::transient(EventType::SessionExpiring, data, now, None)).await?;
        }
        for signal in news.signals {
            self.send(&*signal).await?;
        }
        self.behind |= news.look;
        for event in news.events {
            let next = self.caught_up && self.conversation.is_none() && event.seq == self.sent + 1;
            let room = self.in_flight.len() < self.app.config.relay.in_flight;
            if !self.behind && next && room {
                self.send_event(event).await?;
            } else {
                self.behind |= event.seq > self.sent;
            }
        }
        self.fill().await
    }

    /// Sends what waits, as far as there is room in flight.
    async fn fill(&mut self) -> Result<(), End> {
        while self.behind {
            let room = self.app.config.relay.in_flight.saturating_sub(self.in_flight.len());
            if room == 0 {
                return Ok(());
            }
            let ctx = self.ctx();
            let queued = match deliver::pending(&self.app, &ctx, self.conversation, self.sent, room).await {
                Ok(queued) => queued,
                Err(error) => {
                    tracing::warn!(%error, "a queue could not be read; the client will come back");
                    return Err(End::Close(CloseReason::Restart));
                }
            };
            self.behind = queued.len() == room;
            for event in queued {
                self.send_event(event).await?;
            }
            if !self.behind && !self.caught_up {
                self.caught_up = true;
                self.send(&frames::transient(EventType::QueueEmpty, json!({}), ctx.now, None)).await?;
            }
        }
        Ok(())
    }

    async fn send_event(&mut self, event: QueuedFrame) -> Result<(), End> {
        self.sent = event.seq;
        self.in_flight.insert(event.seq);
        self.send(&event.frame).await
    }

    async fn receive(
        &mut self,
        frame: Option<Result<Message, axum::Error>>,
        registration: &Registration,
    ) -> Result<(), End> {
        self.heard_since_ping = true;
        match frame {
            Some(Ok(Message::Text(text))) => {
                let received = frames::parse(&text);
                self.handle(received, text, registration).await
            }
            Some(Ok(Message::Binary(_))) => {
                let error =
                    Error::invalid(ErrorCode::InvalidJson, json!({"problem": "frames are JSON text"}));
                self.answer(self.request(), None, Err::<(), _>(error)).await
            }
            // axum answers pings itself; pongs only show that the client is there.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) if is_too_large(&error) => Err(End::TooLarge),
            Some(Err(_)) => Err(End::Gone),
        }
    }

    async fn handle(
        &mut self,
        Received { frame, request_id }: Received,
        text: Utf8Bytes,
        registration: &Registration,
    ) -> Result<(), End> {
        let request = self.request();
        match frame {
            Ok(ClientFrame::Ack { event_ids }) => match self.acknowledge(&event_ids).await {
                Ok(()) => self.fill().await,
                Err(error) => self.answer(request, request_id, Err::<(), _>(error)).await,
            },
            Ok(ClientFrame::Auth { token, .. }) => {
                let renewed = self.renew(&token, request, registration).await;
                self.answer(request, request_id, renewed).await
            }
            Ok(ClientFrame::SendMessage { request_id, conversation_id, data }) => {
                let ctx = Ctx { request, ..self.ctx() };
                match self.begin_send(ctx, conversation_id, Arc::from(data)).await {
                    Ok(sending) => {
                        let app = self.app.clone();
                        self.sends.push(Box::pin(async move {
                            // A refusal is written down, in a task of its own as above all that locks rows is.
                            let result = match sending.await {
                                Err(error @ Error::Denied(_)) => {
                                    let refused = async move { signed(&app, Err(error), &text).await };
                                    tokio::spawn(refused)
                                        .await
                                        .unwrap_or_else(|gone| Err(Error::internal(gone)))
                                }
                                result => result,
                            };
                            (request, request_id, result)
                        }));
                        Ok(())
                    }
                    Err(error) => {
                        let refused = signed(&self.app, Err::<(), _>(error), &text).await;
                        self.answer(request, Some(request_id), refused).await
                    }
                }
            }
            Ok(ClientFrame::Read { request_id, conversation_id, data }) => {
                let read = self.read(Ctx { request, ..self.ctx() }, conversation_id, data).await;
                let read = signed(&self.app, read, &text).await;
                self.answer(request, request_id, read).await
            }
            Ok(ClientFrame::Typing { request_id, conversation_id, data }) => {
                let told = self.typing(Ctx { request, ..self.ctx() }, conversation_id, data.typing).await;
                self.answer_if_asked(request, request_id, told).await
            }
            Ok(ClientFrame::Status { request_id, data }) => {
                let told = self.status(Ctx { request, ..self.ctx() }, data.status, registration).await;
                self.answer_if_asked(request, request_id, told).await
            }
            Err(error) => self.answer(request, request_id, Err::<(), _>(error)).await,
        }
    }

    /// Lets the others of a conversation know that the user is typing. What comes too fast is dropped.
    async fn typing(&mut self, ctx: Ctx, named: Option<ConversationId>, typing: bool) -> Result<()> {
        let conversation = self.named_or_own(named)?;
        if !self.pace.typing(conversation, typing, ctx.now) {
            return Ok(());
        }
        let (grant, snapshot) = conversations::authorize_typing(&self.app, &ctx, conversation).await?;
        presence::typing(&self.app, &ctx, &grant, &snapshot, typing)
    }

    /// Takes how the user is, and from the first time on hears of others.
    async fn status(&mut self, ctx: Ctx, status: PresenceStatus, registration: &Registration) -> Result<()> {
        self.pace.status(ctx.now)?;
        let grant = policy::own::<ShowPresence>(&self.app, &ctx)?;
        presence::arrive(&self.app, &ctx, &grant, (registration, &mut self.seat), status).await
    }

    /// The answer to a frame whose success need not be said.
    async fn answer_if_asked(
        &mut self,
        request: RequestId,
        request_id: Option<String>,
        result: Result<()>,
    ) -> Result<(), End> {
        match result {
            Ok(()) if request_id.is_none() => Ok(()),
            result => self.answer(request, request_id, result.map(|()| json!({}))).await,
        }
    }

    /// Notes how far the user has read.
    async fn read(
        &mut self,
        ctx: Ctx,
        named: Option<ConversationId>,
        read: ReadUpTo,
    ) -> Result<ReadPosition> {
        self.app.limits.clinics.request(&self.app.db, &ctx).await?;
        let grant = conversations::authorize_read(&self.app, &ctx, self.named_or_own(named)?).await?;
        marks::mark_read(&self.app, &ctx, grant, read.up_to.map_or(Reach::Newest, Reach::UpTo)).await
    }

    /// The conversation a frame is about.
    fn named_or_own(&self, named: Option<ConversationId>) -> Result<ConversationId> {
        match (self.conversation, named) {
            (Some(own), Some(named)) if own != named => {
                Err(Error::field("conversation_id", "is not this socket's conversation"))
            }
            (own, named) => named.or(own).ok_or_else(|| Error::field("conversation_id", "is missing")),
        }
    }

    /// Hands the acknowledged events to the writer.
    async fn acknowledge(&mut self, event_ids: &[String]) -> Result<()> {
        let mut events = Vec::with_capacity(event_ids.len());
        for id in event_ids {
            events.push(deliver::parse_event_id("event_ids", id)?);
        }
        let caller = self.session.ctx.caller()?;
        let (user, device) = (caller.user_id, caller.device_id);
        relay::acknowledge(&self.app, Acknowledgement { user, device, events: events.clone() }).await?;
        for event in events {
            self.in_flight.remove(&event);
        }
        Ok(())
    }

    async fn renew(
        &mut self,
        token: &str,
        request: RequestId,
        registration: &Registration,
    ) -> Result<serde_json::Value> {
        let renewed = auth::authenticate_session(&self.app, token, request, self.session.ctx.address).await?;
        // The hub knows this socket by its family.
        if renewed.ctx.caller()?.device_id != self.session.ctx.caller()?.device_id
            || renewed.family != self.session.family
        {
            return Err(Error::Unauthenticated(ErrorCode::Unauthenticated));
        }
        registration.renew(renewed.expires_at);
        self.session = renewed;
        Ok(json!({"expires_at": self.session.expires_at}))
    }

    /// Decides on a message and gives it to the writer; gives what resolves after the commit. Done before the
    /// next frame is read, so that a device's messages keep their order.
    async fn begin_send(
        &mut self,
        ctx: Ctx,
        named: Option<ConversationId>,
        message: Arc<SendMessage>,
    ) -> Result<impl Future<Output = Result<Taken>> + Send + use<>> {
        let conversation = self.named_or_own(named)?;
        let app = self.app.clone();
        let pending = match relay::begin_send(&app, &ctx, conversation, Arc::clone(&message)).await {
            // Here and now: the next frame may continue this message.
            Err(error) if relay::may_try_again(&error) => {
                relay::send_again(&app, &ctx, conversation, Arc::clone(&message)).await?.into()
            }
            pending => pending?,
        };
        Ok(async move {
            match pending.taken().await {
                // A task of its own: it locks rows, and this future rests while the loop decides on the next frame,
                // which may wait for those rows.
                Err(error) if relay::may_try_again(&error) => {
                    let again = async move { relay::send_again(&app, &ctx, conversation, message).await };
                    tokio::spawn(again).await.map_err(Error::internal)?
                }
                answer => answer,
            }
        })
    }

    async fn answer<T: serde::Serialize>(
        &mut self,
        request: RequestId,
        request_id: Option<String>,
        result: Result<T>,
    ) -> Result<(), End> {
        let now = self.app.clock.now();
        let frame = match result {
            Ok(data) => frames::transient(EventType::Result, data, now, request_id),
            Err(error) => frames::failure(&error, request, self.language, now, request_id),
        };
        self.send(&frame).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        if !self.heard_since_ping {
            return Err(End::Gone);
        }
        self.heard_since_ping = false;
        self.write(Message::Ping(Vec::new().into())).await
    }

    async fn send(&mut self, frame: &impl Serialize) -> Result<(), End> {
        // A frame is a plain structure: it always has a JSON form.
        let text = serde_json::to_string(frame).unwrap_or_default();
        self.write(Message::Text(text.into())).await
    }

    /// Puts a frame into the socket's buffer, which empties itself when it is full; [`Self::flush`] does it now.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        let patience = self.patience();
        tokio::select! {
            biased;
            // What was loaded for somebody whose token has ended stays here, however slowly they read.
            () = self.ending.ended() => Err(End::Close(CloseReason::Unauthenticated)),
            written = timeout(patience, self.socket.feed(message)) => in_time(written),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let patience = self.patience();
        tokio::select! {
            biased;
            () = self.ending.ended() => Err(End::Close(CloseReason::Unauthenticated)),
            flushed = timeout(patience, self.socket.flush()) => in_time(flushed),
        }
    }

    /// How long a client may take to make room.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.app.config.relay.slow_s)
    }

    /// Says why, if anybody still listens. Sends under way are stored all the same; the client finds out by
    /// sending them again.
    async fn farewell(mut self, end: End) {
        let unreadable = matches!(end, End::TooLarge);
        let (code, reason) = match end {
            End::Gone => return,
            End::Close(reason) => (reason.code(), reason.as_str()),
            End::TooLarge => {
                let error = Error::TooLarge { limit: MAX_SEND_REQUEST as u64 };
                let request = self.request();
                if self.answer(request, None, Err::<(), _>(error)).await.is_err() {
                    return;
                }
                (axum::extract::ws::close_code::SIZE, "frame too large")
            }
        };
        while let Ok(Some((request, id, result))) = timeout(FAREWELL, self.sends.next()).await {
            if self.answer(request, Some(id), result).await.is_err() {
                return;
            }
        }
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let said = timeout(FAREWELL, self.socket.send(close)).await.is_ok();
        if unreadable {
            // The rest of the frame cannot be read, and closing over unread bytes would reset the connection
            // before the client has seen why.
            tokio::time::sleep(FAREWELL).await;
        } else if said {
            // The closing handshake: the client answers with its own close frame.
            while let Ok(Some(Ok(_))) = timeout(FAREWELL, self.socket.recv()).await {}
        }
    }

    /// The context of what happens now.
    fn ctx(&self) -> Ctx {
        Ctx { now: self.app.clock.now(), ..self.session.ctx.clone() }
    }

    fn request(&self) -> RequestId {
        RequestId::new(self.app.clock.now(), rng::bytes(&*self.app.entropy))
    }
}

/// With a refusal by the rules signed, as the answer to this frame. Typing and status are no acts: what is refused of them
/// is neither kept nor signed.
async fn signed<T>(app: &App, result: Result<T>, frame: &Utf8Bytes) -> Result<T> {
    match result {
        Err(error) => Err(policy::sign(app, error, || request_hash(FRAME, "", frame.as_bytes())).await),
        done => done,
    }
}

fn in_time(written: Result<Result<(), axum::Error>, Elapsed>) -> Result<(), End> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(CloseReason::Slow)),
    }
}

fn timer(period: Duration) -> Interval {
    let mut timer = interval_at(Instant::now() + period, period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Whether a frame was refused for its size, which leaves the rest of the stream unreadable.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().contains("too long") || error.to_string().contains("too big")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_waiting_socket_is_a_small_task() {
        let size = size_of_output(run);
        assert!(size <= 2_048, "{size} bytes");
    }
}
