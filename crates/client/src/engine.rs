//! The engine: one thread, one act after the other, so that no two acts advance the same session.
//!
//! libsignal's stores are not `Send`; the engine therefore lives on a thread of its own, and [`crate::Client`]
//! hands it acts to do.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use sigilo_wire::{
    ConversationId, UserId,
    anomaly::AnomalyRaised,
    break_glass::BreakGlass,
    emergency::EmergencyEvent,
    event::{
        ClientFrame, EventType, IdentityReset, MessageDelivered, MessageRead, NewMessageEvent, NewPlace,
        ParticipantChanged, ServerFrame,
    },
    vault::FileChanged,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    Error, Result,
    api::Api,
    env::Env,
    event::{ClientEvent, Listeners, TimelineNote},
    presence::Presence,
    profile::{
        Profile,
        records::{Account, ConversationRecord, Cursor, ONLY},
    },
    search::Search,
    socket::{Socket, SocketEvent},
    vault::Transfers,
};

/// An act for the engine.
pub(crate) type Job = Box<dyn FnOnce(Rc<Engine>) -> LocalBoxFuture<'static, ()> + Send>;

/// Events acknowledged in one frame.
const ACK_BATCH: usize = 64;
/// How long events wait after one could not be processed for want of a connection.
const INBOX_PAUSE: Duration = Duration::from_secs(2);
/// What waits is tried again this soon.
const SOON: Duration = Duration::from_millis(10);

/// How long the other devices leave it to the one that removed a device to sign the next manifest.
const REMOVAL_PAUSE: Duration = Duration::from_secs(3);

/// Everything the acts share.
pub(crate) struct Engine {
    pub(crate) env: Rc<Env>,
    pub(crate) profile: Rc<Profile>,
    pub(crate) api: Rc<Api>,
    pub(crate) listeners: Listeners,
    pub(crate) search: Search,
    pub(crate) presence: Presence,
    pub(crate) transfers: Transfers,
    account: RefCell<Option<Rc<Account>>>,
    socket: RefCell<Option<Rc<Socket>>>,
    socket_events: mpsc::UnboundedSender<SocketEvent>,
    inbox: RefCell<VecDeque<ServerFrame>>,
    inbox_at: Cell<Option<Instant>>,
    flush_at: Cell<Option<Instant>>,
    upkeep_at: Cell<Option<Instant>>,
    devices_at: Cell<Option<Instant>>,
    stopping: Cell<bool>,
}

impl Engine {
    pub(crate) async fn new(
        env: Rc<Env>,
        profile: Rc<Profile>,
        api: Rc<Api>,
        socket_events: mpsc::UnboundedSender<SocketEvent>,
    ) -> Result<Self> {
        let account: Option<Account> = profile.get(ONLY).await?;
        Ok(Self {
            env,
            profile,
            api,
            listeners: Listeners::default(),
            search: Search::default(),
            presence: Presence::default(),
            transfers: Transfers::default(),
            account: RefCell::new(account.map(Rc::new)),
            socket: RefCell::new(None),
            socket_events,
            inbox: RefCell::default(),
            inbox_at: Cell::new(None),
            flush_at: Cell::new(None),
            upkeep_at: Cell::new(None),
            devices_at: Cell::new(None),
            stopping: Cell::new(false),
        })
    }

    /// This device's account.
    pub(crate) fn account(&self) -> Result<Rc<Account>> {
        self.account.borrow().clone().ok_or(Error::NotActivated)
    }

    pub(crate) fn set_account(&self, account: Account) {
        self.account.replace(Some(Rc::new(account)));
    }

    pub(crate) fn tell(&self, event: ClientEvent) {
        self.listeners.tell(&event);
    }

    /// Tries what waits again, soon.
    pub(crate) fn flush_soon(&self) {
        self.flush_in(SOON);
    }

    /// Tries what waits again, not later than after `pause`.
    pub(crate) fn flush_in(&self, pause: Duration) {
        plan(&self.flush_at, pause);
    }

    /// Does what is due besides messages, soon.
    pub(crate) fn upkeep_soon(&self) {
        self.upkeep_in(SOON);
    }

    /// Does what is due besides messages, not later than after `pause`.
    pub(crate) fn upkeep_in(&self, pause: Duration) {
        plan(&self.upkeep_at, pause);
    }

    /// Looks for devices of the user that are gone, not later than after `pause`.
    pub(crate) fn look_for_removed_in(&self, pause: Duration) {
        plan(&self.devices_at, pause);
    }

    /// Opens the socket and keeps it open.
    pub(crate) fn connect(&self) {
        let mut socket = self.socket.borrow_mut();
        if socket.is_none() {
            let pump = Socket::start(Rc::clone(&self.api), Rc::clone(&self.env), self.socket_events.clone());
            *socket = Some(Rc::new(pump));
        }
    }

    /// Closes the socket.
    pub(crate) fn disconnect(&self) {
        self.socket.replace(None);
        self.inbox.borrow_mut().clear();
    }

    /// The socket, while it is open.
    pub(crate) fn open_socket(&self) -> Option<Rc<Socket>> {
        self.socket.borrow().clone().filter(|socket| socket.is_open())
    }

    pub(crate) fn stop(&self) {
        self.stopping.set(true);
    }

    /// Does acts, takes events in and sends what waits, until it is stopped.
    pub(crate) async fn run(
        self: Rc<Self>,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        mut socket: mpsc::UnboundedReceiver<SocketEvent>,
    ) {
        while !self.stopping.get() {
            let due = [&self.flush_at, &self.inbox_at, &self.upkeep_at, &self.devices_at];
            let due = due.into_iter().filter_map(Cell::get).min();
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => job(Rc::clone(&self)).await,
                    None => break,
                },
                Some(event) = socket.recv() => {
                    self.on_socket(event);
                    while let Ok(event) = socket.try_recv() {
                        self.on_socket(event);
                    }
                    self.warn(self.process_inbox().await);
                }
                // It may have planned what is due.
                () = self.transfers.ended() => {}
                () = sleep_until(due) => self.on_timer().await,
            }
        }
        self.transfers.stop();
        self.disconnect();
    }

    async fn on_timer(self: &Rc<Self>) {
        let now = Instant::now();
        if self.inbox_at.get().is_some_and(|at| at <= now) {
            self.inbox_at.set(None);
            self.warn(self.process_inbox().await);
        }
        if self.flush_at.get().is_some_and(|at| at <= now) {
            self.flush_at.set(None);
            self.warn(self.flush().await.map(|_| ()));
            self.warn(self.resume_uploads().await);
        }
        if self.upkeep_at.get().is_some_and(|at| at <= now) {
            self.upkeep_at.set(None);
            self.warn(self.upkeep().await);
        }
        if self.devices_at.get().is_some_and(|at| at <= now) {
            self.devices_at.set(None);
            match self.drop_removed().await {
                // The next connection looks again.
                Err(error) if error.is_transient() => {}
                result => self.warn(result),
            }
        }
    }

    /// What is due besides messages: content that has expired goes, seals that waited for a key are judged, bad
    /// ones are reported, the removal of a device is finished.
    pub(crate) async fn upkeep(&self) -> Result<()> {
        self.erase_expired().await?;
        self.recheck_seals().await?;
        self.report_seals().await?;
        self.hand_over_keys().await?;
        self.finish_removal().await
    }

    fn warn(&self, result: Result<()>) {
        if let Err(error) = result {
            self.tell(ClientEvent::Warning { reason: error.to_string() });
        }
    }

    fn on_socket(&self, event: SocketEvent) {
        match event {
            SocketEvent::Up => {
                self.tell(ClientEvent::Connected);
                self.show_status();
                self.flush_soon();
                self.upkeep_soon();
                self.look_for_removed_in(SOON);
            }
            SocketEvent::Frame(frame) => self.inbox.borrow_mut().push_back(*frame),
            SocketEvent::Down { reason } => {
                // The server sends again what was not acknowledged.
                self.inbox.borrow_mut().clear();
                self.tell(ClientEvent::Disconnected { reason });
            }
            SocketEvent::Replaced => {
                self.disconnect();
                self.tell(ClientEvent::Replaced);
            }
            SocketEvent::LoggedOut => {
                self.disconnect();
                self.tell(ClientEvent::LoggedOut);
            }
        }
    }

    /// Takes in what came, in order; acknowledges what is on disk.
    async fn process_inbox(&self) -> Result<()> {
        if self.inbox_at.get().is_some() {
            return Ok(());
        }
        let mut done = Vec::new();
        loop {
            let Some(frame) = self.inbox.borrow().front().cloned() else { break };
            match self.process(&frame).await {
                Err(error) if error.is_for_later() => {
                    self.inbox_at.set(Some(Instant::now() + self.env.pause(INBOX_PAUSE)));
                    self.acknowledge(&mut done);
                    return if error.is_transient() { Ok(()) } else { Err(error) };
                }
                // What cannot be read now or ever is not read again and again.
                result => self.warn(result),
            }
            self.inbox.borrow_mut().pop_front();
            done.extend(frame.event_id);
            if done.len() >= ACK_BATCH {
                self.acknowledge(&mut done);
            }
        }
        self.acknowledge(&mut done);
        Ok(())
    }

    fn acknowledge(&self, done: &mut Vec<String>) {
        if done.is_empty() {
            return;
        }
        if let Some(socket) = self.open_socket() {
            socket.send(ClientFrame::Ack { event_ids: std::mem::take(done) });
        }
    }

    /// Takes one frame in; what must last is on disk when this returns.
    pub(crate) async fn process(&self, frame: &ServerFrame) -> Result<()> {
        let malformed = |error: serde_json::Error| Error::Answer(error.to_string());
        match frame.r#type {
            EventType::NewMessage | EventType::MessageEdited | EventType::MessageDeleted => {
                let event: NewMessageEvent = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.receive(event).await
            }
            EventType::MessageHeldRefused => {
                self.held_refused(serde_json::from_value(frame.data.clone()).map_err(malformed)?).await
            }
            EventType::ResealNeeded => {
                self.take_back(serde_json::from_value(frame.data.clone()).map_err(malformed)?).await
            }
            EventType::MessageDelivered => {
                let mark: MessageDelivered = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.mark_delivered(mark.message_id, mark.user_id, mark.delivered_at).await
            }
            EventType::MessageRead => {
                let mark: MessageRead = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.mark_read(mark).await
            }
            EventType::ConversationUpdated => match frame.conversation_id {
                Some(conversation) => self.conversation_changed(conversation).await,
                None => Ok(()),
            },
            EventType::ParticipantChanged => {
                let change: ParticipantChanged =
                    serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.participants_changed(change).await
            }
            EventType::IdentityChanged | EventType::ManifestChanged => self.keys_changed(frame).await,
            EventType::DeviceRemoved => {
                self.look_for_removed_in(self.env.jitter(REMOVAL_PAUSE));
                Ok(())
            }
            EventType::IdentityReset => {
                let reset: IdentityReset = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.tell(ClientEvent::IdentityReset { stage: reset.stage, expires_at: reset.expires_at });
                Ok(())
            }
            EventType::EmergencyOpened
            | EventType::EmergencyAcknowledged
            | EventType::EmergencyEscalated
            | EventType::EmergencyClosed => {
                let event: EmergencyEvent = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                if let Some(conversation) = frame.conversation_id {
                    self.conversation_changed(conversation).await?;
                }
                let member = frame.conversation_id.is_some();
                self.tell(ClientEvent::Emergency { event, member });
                Ok(())
            }
            EventType::BreakGlassOpened => {
                let opened: BreakGlass = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.tell(ClientEvent::BreakGlass { opened });
                Ok(())
            }
            EventType::NewPlace => {
                let place: NewPlace = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.tell(ClientEvent::NewPlace { place });
                Ok(())
            }
            EventType::AnomalyRaised => {
                let raised: AnomalyRaised = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.tell(ClientEvent::AnomalyRaised { raised });
                Ok(())
            }
            EventType::FileShared
            | EventType::FileScanned
            | EventType::FileRecalled
            | EventType::RescanKeyNeeded => {
                let changed: FileChanged = serde_json::from_value(frame.data.clone()).map_err(malformed)?;
                self.file_changed(frame.r#type, changed).await
            }
            EventType::KeysLow => self.top_up_keys().await,
            EventType::RotationDue => self.rotate_keys().await,
            EventType::TypingIndicator => self.is_typing(frame),
            EventType::UserStatus => self.status_of(frame),
            EventType::QueueTruncated => {
                self.restore_later().await?;
                self.tell(ClientEvent::QueueTruncated);
                Ok(())
            }
            EventType::QueueEmpty => {
                self.tell(ClientEvent::CaughtUp);
                Ok(())
            }
            EventType::SessionExpiring | EventType::Result | EventType::Error => Ok(()),
        }
    }

    async fn conversation_changed(&self, id: ConversationId) -> Result<()> {
        if let Some(mut record) = self.profile.get::<ConversationRecord>(id.as_bytes()).await? {
            record.refresh_due = true;
            self.profile.put(&record).await?;
        }
        self.refresh_conversation(id).await?;
        self.tell(ClientEvent::ConversationUpdated { conversation: id });
        Ok(())
    }

    /// Fetches a conversation whose members are others now. Whoever has left cannot: what they know of it stays as it
    /// was, without them.
    async fn participants_changed(&self, change: ParticipantChanged) -> Result<()> {
        let (id, me) = (change.conversation_id, self.account()?.user);
        if !change.left.contains(&me) {
            self.take_change(&change).await?;
            return self.conversation_changed(id).await;
        }
        self.note_own_act(id, &change.joined, &change.left).await?;
        let Some(mut record) = self.profile.get::<ConversationRecord>(id.as_bytes()).await? else {
            return Ok(());
        };
        if record.shown_members.contains(&me) {
            record.conversation.participants.retain(|participant| participant.user_id != me);
            record.shown_members.retain(|user| *user != me);
            record.refresh_due = true;
            self.profile.put(&record).await?;
            self.note(id, TimelineNote::Left(me)).await?;
        }
        self.tell(ClientEvent::ConversationUpdated { conversation: id });
        Ok(())
    }

    async fn keys_changed(&self, frame: &ServerFrame) -> Result<()> {
        let named = frame.data.get("user_id").and_then(serde_json::Value::as_str);
        let user: Option<UserId> = named.and_then(|id| id.parse().ok()).or(frame.sender_id);
        let Some(user) = user else { return Ok(()) };
        // Kept first: without a connection, the next send fetches.
        self.refresh_later(user).await?;
        match self.refresh_manifest(user).await {
            Ok(_) | Err(Error::IdentityChanged { .. } | Error::KeysMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        if user == self.account()?.user && frame.r#type == EventType::ManifestChanged {
            self.take_history_key(frame).await?;
        }
        self.flush_soon();
        Ok(())
    }

    /// Reads what waits on the server without a socket; nothing is acknowledged, so it comes again on the next
    /// connection and is recognised then. Gives how many events there were.
    pub(crate) async fn sync_offline(&self) -> Result<usize> {
        let mut count = 0;
        loop {
            let cursor: Option<Cursor> = self.profile.get(ONLY).await?;
            let page = self.api.events(cursor.as_ref().map(|c| c.event_id.as_str())).await?;
            for frame in &page.results {
                match self.process(frame).await {
                    Err(error) if error.is_for_later() => return Err(error),
                    result => self.warn(result),
                }
                if let Some(event_id) = frame.event_id.clone() {
                    self.profile.put(&Cursor { event_id }).await?;
                    count += 1;
                }
            }
            if !page.has_more || page.results.is_empty() {
                break;
            }
        }
        self.flush().await?;
        self.upkeep().await?;
        self.drop_removed().await?;
        Ok(count)
    }
}

/// Sets an alarm for the end of `pause`, unless it is set for earlier.
fn plan(alarm: &Cell<Option<Instant>>, pause: Duration) {
    let at = Instant::now() + pause;
    if alarm.get().is_none_or(|planned| at < planned) {
        alarm.set(Some(at));
    }
}

/// Never, when nothing is due.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
