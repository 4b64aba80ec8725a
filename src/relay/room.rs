//! Room for what waits for the writer: bounded as a whole, and for each clinic by half of that, so that a clinic
//! that sends more than the disk takes makes its own senders wait and leaves room for the others'.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use sigilo_wire::TenantId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The share of a clinic is the whole by this.
const SHARE: u32 = 2;

/// Permits for waiting sends, by number and by size.
#[derive(Debug)]
pub(super) struct Room {
    /// What each clinic may have of the whole.
    share_places: usize,
    share_kib: u32,
    whole: Bounds,
    /// One for each clinic that has sent anything; clinics are few and made by the operator.
    clinics: RwLock<HashMap<TenantId, Bounds>>,
}

/// A bound on the number of sends and on their size.
#[derive(Clone, Debug)]
struct Bounds {
    places: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// A place for one send; dropped when it is written.
#[derive(Debug)]
pub(super) struct Place {
    _clinic: [OwnedSemaphorePermit; 2],
    _whole: [OwnedSemaphorePermit; 2],
}

impl Bounds {
    fn new(places: usize, kib: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), kib: Arc::new(Semaphore::new(kib as usize)) }
    }

    async fn take(&self, kib: u32) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
        let place = Arc::clone(&self.places).acquire_owned().await?;
        Ok([place, Arc::clone(&self.kib).acquire_many_owned(kib).await?])
    }
}

impl Room {
    /// Room for so many sends of so many KiB together.
    pub(super) fn new(places: usize, kib: u32) -> Self {
        Self {
            share_places: (places / SHARE as usize).max(1),
            share_kib: (kib / SHARE).max(1),
            whole: Bounds::new(places, kib),
            clinics: RwLock::default(),
        }
    }

    /// Waits for a place. What a clinic waits for behind its own share takes nothing of the whole. A send larger
    /// than a share waits for a whole share.
    pub(super) async fn take(&self, clinic: TenantId, kib: u32) -> Result<Place, AcquireError> {
        let kib = kib.min(self.share_kib);
        let own = self.of(clinic).take(kib).await?;
        Ok(Place { _clinic: own, _whole: self.whole.take(kib).await? })
    }

    fn of(&self, clinic: TenantId) -> Bounds {
        let known = self.clinics.read().unwrap_or_else(PoisonError::into_inner).get(&clinic).cloned();
        known.unwrap_or_else(|| {
            let mut clinics = self.clinics.write().unwrap_or_else(PoisonError::into_inner);
            let share = || Bounds::new(self.share_places, self.share_kib);
            clinics.entry(clinic).or_insert_with(share).clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn taken(room: &Room, clinic: u8, kib: u32) -> Option<Place> {
        room.take(TenantId::from_bytes([clinic; 16]), kib).now_or_never().map(|place| place.unwrap())
    }

    #[test]
    fn a_clinic_that_floods_leaves_half_of_the_room_to_the_others() {
        let room = Room::new(100, 64);
        let flood: Vec<Place> = std::iter::from_fn(|| taken(&room, 1, 8)).collect();
        assert_eq!(flood.len(), 4, "half of 64 KiB");
        assert!(
            taken(&Room::new(100, 64), 1, 500).is_some(),
            "a send larger than a share is not refused for ever"
        );
        let other = taken(&room, 2, 32).expect("another clinic finds its half");
        assert!(taken(&room, 3, 1).is_none(), "and all of it together stays bounded");
        drop(other);
        assert!(taken(&room, 3, 1).is_some(), "what is written makes room");
        assert!(taken(&room, 1, 1).is_none(), "to others, while the clinic's own share is full");
    }

    #[test]
    fn many_small_sends_are_bounded_too() {
        let room = Room::new(10, 1_000);
        let flood: Vec<Place> = std::iter::from_fn(|| taken(&room, 1, 1)).collect();
        assert_eq!(flood.len(), 5);
        assert!(taken(&room, 2, 1).is_some());
    }
}
