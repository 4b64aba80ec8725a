//! Who is there, in this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sigilo_wire::{DeviceId, Timestamp, UserId, presence::PresenceStatus};

/// Everybody who is there, and who was a moment ago.
#[derive(Debug, Default)]
pub struct Board {
    people: Mutex<HashMap<UserId, Vec<Place>>>,
    seen: Mutex<HashMap<UserId, Timestamp>>,
    next: AtomicU64,
}

/// A socket's place, seen from the board.
#[derive(Debug)]
struct Place {
    id: u64,
    device: DeviceId,
    status: PresenceStatus,
}

/// One socket's place on the board; it leaves when dropped.
#[derive(Debug)]
pub struct Seat {
    board: Arc<Board>,
    user: UserId,
    id: u64,
}

impl Board {
    /// Takes a place for a socket, with its first status.
    pub(super) fn sit(
        self: &Arc<Self>,
        (user, device): (UserId, DeviceId),
        status: PresenceStatus,
        now: Timestamp,
    ) -> Seat {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.people).entry(user).or_default().push(Place { id, device, status });
        self.saw(user, now);
        Seat { board: Arc::clone(self), user, id }
    }

    /// How somebody is over all their sockets.
    pub fn status(&self, user: UserId) -> PresenceStatus {
        together(locked(&self.people).get(&user))
    }

    /// Whether somebody is there.
    pub(super) fn is_there(&self, user: UserId) -> bool {
        locked(&self.people).contains_key(&user)
    }

    /// The devices by which somebody is there.
    pub(super) fn devices(&self, user: UserId) -> Vec<DeviceId> {
        let mut devices: Vec<DeviceId> =
            locked(&self.people).get(&user).into_iter().flatten().map(|place| place.device).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Does something with how people are, while nobody's status changes: what is told in here is told in order.
    pub(super) fn telling(&self, tell: impl FnOnce(&dyn Fn(UserId) -> PresenceStatus)) {
        let people = locked(&self.people);
        tell(&|user| together(people.get(&user)));
    }

    /// Notes when somebody was there.
    pub(super) fn saw(&self, user: UserId, now: Timestamp) {
        locked(&self.seen).insert(user, now);
    }

    /// What is to be written of when people were there, in the order of their ids, in which rows are locked.
    pub(super) fn take_seen(&self) -> Vec<(UserId, Timestamp)> {
        let mut seen: Vec<_> = std::mem::take(&mut *locked(&self.seen)).into_iter().collect();
        seen.sort_unstable();
        seen
    }

    /// Keeps it for another time; what is newer stays.
    pub(super) fn put_seen_back(&self, seen: Vec<(UserId, Timestamp)>) {
        let mut kept = locked(&self.seen);
        for (user, at) in seen {
            kept.entry(user).or_insert(at);
        }
    }
}

impl Seat {
    /// Changes the socket's status; says whether that changes how the person is.
    pub(super) fn set(&self, status: PresenceStatus) -> bool {
        let mut people = locked(&self.board.people);
        let before = together(people.get(&self.user));
        let places = people.get_mut(&self.user).into_iter().flatten();
        for place in places.filter(|place| place.id == self.id) {
            place.status = status;
        }
        before != together(people.get(&self.user))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut people = locked(&self.board.people);
        if let Some(places) = people.get_mut(&self.user) {
            places.retain(|place| place.id != self.id);
            if places.is_empty() {
                people.remove(&self.user);
            }
        }
    }
}

/// How somebody with these sockets is: not to be disturbed when one of them says so, there when one is, away when all
/// are.
fn together(places: Option<&Vec<Place>>) -> PresenceStatus {
    let said = |status| places.is_some_and(|places| places.iter().any(|place| place.status == status));
    [PresenceStatus::Busy, PresenceStatus::Online, PresenceStatus::Away]
        .into_iter()
        .find(|status| said(*status))
        .unwrap_or(PresenceStatus::Offline)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_as_their_devices_are_together() {
        use PresenceStatus::{Away, Busy, Offline, Online};
        let (board, ana, now) =
            (Arc::new(Board::default()), UserId::from_bytes([1; 16]), Timestamp::from_micros(0));
        assert_eq!(board.status(ana), Offline);
        let (one, other) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
        let phone = board.sit((ana, one), Away, now);
        assert_eq!(board.status(ana), Away);
        let browser = board.sit((ana, other), Online, now);
        assert_eq!(board.status(ana), Online);
        assert_eq!(board.devices(ana), [one, other]);
        assert!(phone.set(Busy));
        assert!(!browser.set(Away), "busy on one device is busy");
        assert_eq!(board.status(ana), Busy);
        drop(phone);
        assert_eq!(board.status(ana), Away);
        drop(browser);
        assert_eq!(board.status(ana), Offline);
        assert!(!board.is_there(ana));
    }

    #[test]
    fn what_could_not_be_written_is_kept_behind_what_is_newer() {
        let (board, ana, eva) =
            (Arc::new(Board::default()), UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let at = Timestamp::from_micros;
        board.saw(eva, at(1));
        board.saw(ana, at(1));
        let taken = board.take_seen();
        assert_eq!(taken, [(ana, at(1)), (eva, at(1))]);
        board.saw(ana, at(2));
        board.put_seen_back(taken);
        assert_eq!(board.take_seen(), [(ana, at(2)), (eva, at(1))]);
    }
}
