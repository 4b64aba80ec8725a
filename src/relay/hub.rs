//! Who is connected to this process. The queue is in the database: the hub says "look again", or hands over an
//! event that was just stored. A socket takes such an event only when it is the next of its queue.
//!
//! A connection is named by its device and path: a second one of the same name replaces the first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sigilo_wire::{ConversationId, DeviceId, Timestamp, TokenFamilyId, event::ServerFrame};
use tokio::sync::Notify;

use super::deliver::QueuedFrame;

/// Why the server closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The server stops or restarts: connect again.
    Restart,
    /// The token has expired or the device was revoked.
    Unauthenticated,
    /// The client reads too slowly. Nothing is lost.
    Slow,
    /// A newer socket of the same device and path took over.
    Replaced,
}

impl CloseReason {
    /// The WebSocket close code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Restart => 1012,
            Self::Unauthenticated => 4401,
            Self::Slow => 4408,
            Self::Replaced => 4409,
        }
    }

    /// A word for people reading traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Unauthenticated => "unauthenticated",
            Self::Slow => "slow consumer",
            Self::Replaced => "replaced by a newer connection",
        }
    }
}

/// How long before its token ends a client is told.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// The most events kept for a socket that has not looked yet; beyond that it reads them from its queue.
const KEPT_EVENTS: usize = 32;

/// The most signals kept for a socket that has not looked yet; the oldest go first.
const KEPT_SIGNALS: usize = 64;

/// Which of a device's sockets are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// All of them.
    All,
    /// Those that asked to hear who is there.
    Watching,
}

/// What a socket was opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// The family of the token.
    pub family: TokenFamilyId,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// The connections of this process.
#[derive(Debug, Default)]
pub struct Hub {
    devices: RwLock<HashMap<DeviceId, Vec<Arc<Slot>>>>,
}

/// A socket's place in the hub, seen from both sides.
#[derive(Debug)]
struct Slot {
    family: TokenFamilyId,
    address: Option<IpAddr>,
    path: Option<ConversationId>,
    watching: AtomicBool,
    wake: Notify,
    /// Notified once when its token ends, for a socket that waits for a slow reader and takes no news.
    ended: Notify,
    news: Mutex<News>,
    token: Mutex<Token>,
}

/// The token a socket stands on.
#[derive(Debug)]
struct Token {
    expires_at: Timestamp,
    /// Whether the client was told that it is about to.
    told: bool,
}

/// What a socket finds when it was woken.
#[derive(Debug, Default)]
pub struct News {
    /// Why to close.
    pub close: Option<CloseReason>,
    /// Whether there is something in the queue that is not in `events`.
    pub look: bool,
    /// Events that were just stored, in order.
    pub events: Vec<QueuedFrame>,
    /// Whether the token is about to expire.
    pub expiring: bool,
    /// What is told once and kept nowhere, the newest of its kind only.
    pub signals: VecDeque<Arc<ServerFrame>>,
}

/// Says when a socket's token has ended, whatever the socket is doing.
#[derive(Debug)]
pub struct Ending(Arc<Slot>);

impl Ending {
    /// Waits until the token has ended; once.
    pub async fn ended(&self) {
        self.0.ended.notified().await;
    }
}

/// One socket's registration; it leaves the hub when dropped.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    device: DeviceId,
    slot: Arc<Slot>,
}

impl Registration {
    /// Waits until there is news.
    pub async fn woken(&self) {
        self.slot.wake.notified().await;
    }

    /// What a socket waits for beside a slow reader.
    #[must_use]
    pub fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.slot))
    }

    /// Takes the news.
    #[must_use]
    pub fn news(&self) -> News {
        std::mem::take(&mut self.slot.lock())
    }

    /// Notes that the client has shown a new token of the same family.
    pub fn renew(&self, expires_at: Timestamp) {
        *self.slot.token() = Token { expires_at, told: false };
    }

    /// From now on the socket hears who is there.
    pub fn watch(&self) {
        self.slot.watching.store(true, Ordering::Relaxed);
    }

    /// Hands this socket what is told once, if it is of these conversations.
    pub fn signal(&self, within: &[ConversationId], frame: &Arc<ServerFrame>) {
        self.slot.signal(within, Sockets::All, frame);
    }
}

impl Slot {
    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_expiry(&self, now: Timestamp) {
        let mut token = self.token();
        if now >= token.expires_at {
            self.close(CloseReason::Unauthenticated);
        } else if !token.told && now + EXPIRY_NOTICE >= token.expires_at {
            token.told = true;
            self.tell(|news| news.expiring = true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, tell: impl FnOnce(&mut News)) {
        tell(&mut self.lock());
        self.wake.notify_one();
    }

    fn signal(&self, within: &[ConversationId], sockets: Sockets, frame: &Arc<ServerFrame>) {
        let on_path = self.path.is_none_or(|path| within.contains(&path));
        if !on_path || (sockets == Sockets::Watching && !self.watching.load(Ordering::Relaxed)) {
            return;
        }
        let about = |frame: &ServerFrame| (frame.r#type, frame.sender_id, frame.conversation_id);
        self.tell(|news| {
            news.signals.retain(|older| about(older) != about(frame));
            if news.signals.len() >= KEPT_SIGNALS {
                news.signals.pop_front();
            }
            news.signals.push_back(Arc::clone(frame));
        });
    }

    fn close(&self, reason: CloseReason) {
        self.tell(|news| _ = news.close.get_or_insert(reason));
        if reason == CloseReason::Unauthenticated {
            self.ended.notify_one();
        }
    }
}

impl Hub {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<DeviceId, Vec<Arc<Slot>>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<DeviceId, Vec<Arc<Slot>>>> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a socket, closing an older one of the same device and path.
    pub fn register(
        self: &Arc<Self>,
        device: DeviceId,
        Opened { family, expires_at, address }: Opened,
        path: Option<ConversationId>,
    ) -> Registration {
        let token = Mutex::new(Token { expires_at, told: false });
        let (watching, wake, ended) = (AtomicBool::new(false), Notify::new(), Notify::new());
        let news = Mutex::default();
        let slot = Arc::new(Slot { family, address, path, watching, wake, ended, news, token });
        let mut devices = self.write();
        let slots = devices.entry(device).or_insert_with(|| Vec::with_capacity(1));
        slots.retain(|older| {
            if older.path == path {
                older.close(CloseReason::Replaced);
            }
            older.path != path
        });
        slots.push(Arc::clone(&slot));
        drop(devices);
        Registration { hub: Arc::clone(self), device, slot }
    }

    /// Tells the sockets of these devices that there are new events. Devices without a socket here are
    /// passed over.
    pub fn wake(&self, devices: &[DeviceId]) {
        let connected = self.read();
        for slot in devices.iter().filter_map(|device| connected.get(device)).flatten() {
            slot.tell(|news| news.look = true);
        }
    }

    /// Hands a device's sockets an event that was just stored, so that they need not look for it. A socket of one
    /// conversation hears of that one's only. `event` is made only when there is a socket.
    pub fn push(&self, device: DeviceId, about: Option<ConversationId>, event: impl Fn() -> QueuedFrame) {
        let connected = self.read();
        let slots = connected.get(&device).into_iter().flatten();
        for slot in slots.filter(|slot| slot.path.is_none() || slot.path == about) {
            slot.tell(|news| {
                if news.look || news.events.len() >= KEPT_EVENTS {
                    news.look = true;
                    news.events = Vec::new();
                } else {
                    news.events.push(event());
                }
            });
        }
    }

    /// Hands a device's sockets what is told once and kept nowhere: those of its own path, and those of one of these
    /// conversations.
    pub fn signal(
        &self,
        device: DeviceId,
        within: &[ConversationId],
        sockets: Sockets,
        frame: &Arc<ServerFrame>,
    ) {
        let connected = self.read();
        for slot in connected.get(&device).into_iter().flatten() {
            slot.signal(within, sockets, frame);
        }
    }

    /// Closes a device's sockets.
    pub fn disconnect(&self, device: DeviceId, reason: CloseReason) {
        let slots = self.write().remove(&device);
        for slot in slots.into_iter().flatten() {
            slot.close(reason);
        }
    }

    /// Closes a device's sockets, but for those opened with tokens of this family.
    pub fn disconnect_all_but(&self, device: DeviceId, family: Option<TokenFamilyId>, reason: CloseReason) {
        let connected = self.read();
        for slot in connected.get(&device).into_iter().flatten() {
            if Some(slot.family) != family {
                slot.close(reason);
            }
        }
    }

    /// Closes a device's sockets that come from this address.
    pub fn disconnect_from(&self, device: DeviceId, address: Option<IpAddr>, reason: CloseReason) {
        let connected = self.read();
        let slots = connected.get(&device).into_iter().flatten();
        slots.filter(|slot| slot.address == address).for_each(|slot| slot.close(reason));
    }

    /// Every device with a socket here, with each address it comes from.
    #[must_use]
    pub fn sockets(&self) -> HashSet<(DeviceId, Option<IpAddr>)> {
        let connected = self.read();
        let of = |(device, slots): (&DeviceId, &Vec<Arc<Slot>>)| {
            let device = *device;
            slots.iter().map(move |slot| (device, slot.address)).collect::<Vec<_>>()
        };
        connected.iter().flat_map(of).collect()
    }

    /// Closes the sockets whose tokens have expired, and warns those whose tokens are about to. Called once a second
    /// for all: a timer for each socket would keep the server busy with thousands that are silent.
    pub fn check_expiry(&self, now: Timestamp) {
        self.read().values().flatten().for_each(|slot| slot.check_expiry(now));
    }

    /// Closes every socket.
    pub fn disconnect_all(&self, reason: CloseReason) {
        let devices = std::mem::take(&mut *self.write());
        for slot in devices.into_values().flatten() {
            slot.close(reason);
        }
    }

    /// How many sockets are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut devices = self.hub.write();
        if let Some(slots) = devices.get_mut(&self.device) {
            slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
            if slots.is_empty() {
                devices.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sigilo_wire::{Timestamp, event::EventType};

    use super::*;
    use crate::relay::frame::{EventData, EventFrame};

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 16])
    }

    fn family(byte: u8) -> TokenFamilyId {
        TokenFamilyId::from_bytes([byte; 16])
    }

    fn token(byte: u8) -> Opened {
        Opened { family: family(byte), expires_at: Timestamp::from_micros(1_000_000_000), address: None }
    }

    #[test]
    fn a_second_socket_of_the_same_path_replaces_the_first() {
        let hub = Arc::new(Hub::default());
        let all = hub.register(device(1), token(1), None);
        let one = hub.register(device(1), token(1), Some(ConversationId::from_bytes([9; 16])));
        let newer = hub.register(device(1), token(1), None);
        assert_eq!(all.news().close, Some(CloseReason::Replaced));
        assert_eq!(one.news().close, None);
        assert_eq!(newer.news().close, None);
        drop(all);
        assert_eq!(hub.connections(), 2, "the replaced socket's leaving takes nobody with it");
    }

    #[tokio::test]
    async fn waking_reaches_every_socket_of_the_device_and_no_other() {
        let hub = Arc::new(Hub::default());
        let (mine, other) =
            (hub.register(device(1), token(1), None), hub.register(device(2), token(2), None));
        hub.wake(&[device(1), device(3)]);
        mine.woken().await;
        assert!(mine.news().look);
        assert!(!mine.news().look, "news is taken once");
        assert!(!other.news().look);
        hub.disconnect(device(2), CloseReason::Unauthenticated);
        other.woken().await;
        assert_eq!(other.news().close, Some(CloseReason::Unauthenticated));
        assert_eq!(hub.connections(), 1);
    }

    fn event(seq: i64) -> QueuedFrame {
        let data = EventData::Other(serde_json::json!({}));
        let (r#type, timestamp) = (EventType::KeysLow, Timestamp::from_micros(0));
        let frame = EventFrame {
            r#type,
            data,
            timestamp,
            conversation_id: None,
            sender_id: None,
            event_id: String::new(),
        };
        QueuedFrame { seq, frame }
    }

    #[test]
    fn events_are_handed_on_until_there_are_too_many_to_keep() {
        let hub = Arc::new(Hub::default());
        let mine = hub.register(device(1), token(1), None);
        hub.push(device(2), None, || panic!("nobody is there to hand it to"));
        let seqs = |news: &News| news.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        hub.push(device(1), None, || event(1));
        hub.push(device(1), None, || event(2));
        let news = mine.news();
        assert_eq!((seqs(&news), news.look), (vec![1, 2], false));
        for seq in 0..=KEPT_EVENTS as i64 {
            hub.push(device(1), None, || event(seq));
        }
        let news = mine.news();
        assert_eq!((seqs(&news), news.look), (vec![], true), "what was dropped is looked for");
    }

    #[tokio::test]
    async fn a_client_is_told_once_that_its_token_ends_and_out_when_it_has() {
        let hub = Arc::new(Hub::default());
        let mine = hub.register(device(1), token(1), None);
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        hub.check_expiry(at(900));
        assert!(!mine.news().expiring);
        hub.check_expiry(at(940));
        mine.woken().await;
        assert!(mine.news().expiring);
        hub.check_expiry(at(941));
        assert!(!mine.news().expiring, "said once");
        mine.renew(at(2_000));
        hub.check_expiry(at(1_000));
        assert_eq!(mine.news().close, None, "a newer token was shown");
        hub.check_expiry(at(1_940));
        assert!(mine.news().expiring, "said once for each token");
        hub.check_expiry(at(2_000));
        assert_eq!(mine.news().close, Some(CloseReason::Unauthenticated));
    }

    #[test]
    fn a_socket_of_one_conversation_is_not_disturbed_by_another() {
        let hub = Arc::new(Hub::default());
        let (here, elsewhere) = (ConversationId::from_bytes([9; 16]), ConversationId::from_bytes([8; 16]));
        let (all, one) =
            (hub.register(device(1), token(1), None), hub.register(device(1), token(1), Some(here)));
        hub.push(device(1), Some(elsewhere), || event(1));
        hub.push(device(1), None, || event(2));
        assert_eq!((all.news().events.len(), one.news().events.len()), (2, 0));
        hub.push(device(1), Some(here), || event(3));
        assert_eq!((all.news().events.len(), one.news().events.len()), (1, 1));
    }

    #[test]
    fn a_signal_reaches_its_conversations_sockets_and_only_the_newest_is_kept() {
        let hub = Arc::new(Hub::default());
        let (here, elsewhere) = (ConversationId::from_bytes([9; 16]), ConversationId::from_bytes([8; 16]));
        let all = hub.register(device(1), token(1), None);
        let one = hub.register(device(1), token(1), Some(here));
        let other = hub.register(device(1), token(1), Some(elsewhere));
        let signal = |who: u8, said: &str| {
            Arc::new(ServerFrame {
                r#type: EventType::UserStatus,
                data: serde_json::json!(said),
                timestamp: Timestamp::from_micros(0),
                conversation_id: None,
                sender_id: Some(sigilo_wire::UserId::from_bytes([who; 16])),
                event_id: None,
                request_id: None,
            })
        };
        let said = |news: News| news.signals.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>();
        hub.signal(device(1), &[here], Sockets::Watching, &signal(1, "nobody watches"));
        assert_eq!(said(all.news()), [""; 0]);
        all.watch();
        hub.signal(device(1), &[here], Sockets::Watching, &signal(1, "watched"));
        assert_eq!((said(all.news()), said(one.news())), (vec!["watched".into()], vec![]));
        for n in 0..3 {
            hub.signal(device(1), &[here], Sockets::All, &signal(1, &n.to_string()));
        }
        hub.signal(device(1), &[here], Sockets::All, &signal(2, "another"));
        assert_eq!(said(all.news()), ["2", "another"]);
        assert_eq!(said(one.news()), ["2", "another"]);
        assert_eq!(said(other.news()), [""; 0]);
        for who in 0..=255 {
            hub.signal(device(1), &[here], Sockets::All, &signal(who, "many"));
        }
        assert_eq!(said(all.news()).len(), KEPT_SIGNALS);
    }

    #[test]
    fn only_sockets_of_ended_tokens_are_closed() {
        let hub = Arc::new(Hub::default());
        let old = hub.register(device(1), token(1), None);
        let new = hub.register(device(1), token(2), Some(ConversationId::from_bytes([9; 16])));
        hub.disconnect_all_but(device(1), Some(family(2)), CloseReason::Unauthenticated);
        assert_eq!(old.news().close, Some(CloseReason::Unauthenticated));
        assert_eq!(new.news().close, None);
        hub.disconnect_all_but(device(1), None, CloseReason::Unauthenticated);
        assert_eq!(new.news().close, Some(CloseReason::Unauthenticated));
    }
}
