//! Who is connected to this process. The queue is in the database; the hub only says "look again".
//!
//! A connection is named by its device and path: a second one of the same name replaces the first.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sigilo_wire::{ConversationId, DeviceId};
use tokio::sync::{Notify, watch};

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

/// The connections of this process.
#[derive(Debug, Default)]
pub struct Hub {
    devices: RwLock<HashMap<DeviceId, Vec<Connection>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    path: Option<ConversationId>,
    wake: Arc<Notify>,
    close: watch::Sender<Option<CloseReason>>,
}

/// One socket's place in the hub; it leaves when dropped.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    device: DeviceId,
    number: u64,
    /// Notified when the device has new events.
    pub wake: Arc<Notify>,
    /// Says why to close, once.
    pub close: watch::Receiver<Option<CloseReason>>,
}

impl Hub {
    /// Enters a socket, closing an older one of the same device and path.
    pub fn register(self: &Arc<Self>, device: DeviceId, path: Option<ConversationId>) -> Registration {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let wake = Arc::new(Notify::new());
        let (close, closed) = watch::channel(None);
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        let connections = devices.entry(device).or_default();
        connections.retain(|connection| {
            if connection.path == path {
                connection.close.send_replace(Some(CloseReason::Replaced));
            }
            connection.path != path
        });
        connections.push(Connection { number, path, wake: Arc::clone(&wake), close });
        Registration { hub: Arc::clone(self), device, number, wake, close: closed }
    }

    /// Tells the sockets of these devices that there are new events. Devices without a socket here are
    /// passed over.
    pub fn wake(&self, devices: &[DeviceId]) {
        let connected = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        for connection in devices.iter().filter_map(|device| connected.get(device)).flatten() {
            connection.wake.notify_one();
        }
    }

    /// Closes a device's sockets.
    pub fn disconnect(&self, device: DeviceId, reason: CloseReason) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        for connection in devices.remove(&device).into_iter().flatten() {
            connection.close.send_replace(Some(reason));
        }
    }

    /// Closes every socket.
    pub fn disconnect_all(&self, reason: CloseReason) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        for (_, connections) in devices.drain() {
            for connection in connections {
                connection.close.send_replace(Some(reason));
            }
        }
    }

    /// How many sockets are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut devices = self.hub.devices.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = devices.get_mut(&self.device) {
            connections.retain(|connection| connection.number != self.number);
            if connections.is_empty() {
                devices.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 16])
    }

    #[test]
    fn a_second_socket_of_the_same_path_replaces_the_first() {
        let hub = Arc::new(Hub::default());
        let all = hub.register(device(1), None);
        let one = hub.register(device(1), Some(ConversationId::from_bytes([9; 16])));
        let newer = hub.register(device(1), None);
        assert_eq!(*all.close.borrow(), Some(CloseReason::Replaced));
        assert_eq!(*one.close.borrow(), None);
        assert_eq!(*newer.close.borrow(), None);
        drop(all);
        assert_eq!(hub.connections(), 2, "the replaced socket's leaving takes nobody with it");
    }

    #[tokio::test]
    async fn waking_reaches_every_socket_of_the_device_and_no_other() {
        let hub = Arc::new(Hub::default());
        let (mine, other) = (hub.register(device(1), None), hub.register(device(2), None));
        hub.wake(&[device(1), device(3)]);
        mine.wake.notified().await;
        hub.disconnect(device(2), CloseReason::Unauthenticated);
        assert_eq!(*other.close.borrow(), Some(CloseReason::Unauthenticated));
        assert_eq!(hub.connections(), 1);
    }
}
