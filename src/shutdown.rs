//! How the server stops: first it drains (nothing new, what is under way ends, sockets close), then it stops.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes requests.
    Running,
    /// Takes no new connections; ends what is under way.
    Draining,
    /// Requests have ended; writers flush and leave.
    Stopped,
}

impl Phase {
    /// Whether writers are to flush and leave.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped)
    }

    /// Whether nothing new is to begin.
    #[must_use]
    pub const fn is_draining(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// Tells a phase.
pub type Shutdown = watch::Receiver<Phase>;
/// Changes the phase.
pub type ShutdownHandle = watch::Sender<Phase>;

/// A server that runs, and the handle to stop it.
#[must_use]
pub fn channel() -> (ShutdownHandle, Shutdown) {
    watch::channel(Phase::Running)
}

/// Resolves once the server drains, or nobody is left to say so.
pub async fn draining(shutdown: &mut Shutdown) {
    while !shutdown.borrow_and_update().is_draining() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}

/// Counts what is under way: whoever holds a [`Guard`] is waited for.
#[derive(Debug)]
pub struct Tracker {
    guards: Mutex<Option<mpsc::Sender<()>>>,
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

/// Something under way, until it is dropped.
#[derive(Clone, Debug)]
pub struct Guard {
    _held: Option<mpsc::Sender<()>>,
}

impl Default for Tracker {
    fn default() -> Self {
        let (guards, ended) = mpsc::channel(1);
        Self { guards: Mutex::new(Some(guards)), ended: tokio::sync::Mutex::new(ended) }
    }
}

impl Tracker {
    /// A guard to hold while something is under way. Once [`Tracker::drained`] was called it counts nothing.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard { _held: self.guards.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    /// Resolves when every guard is gone. To be called once, when nothing new begins any more.
    pub async fn drained(&self) {
        drop(self.guards.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Nobody sends: this ends when the last sender is dropped.
        while self.ended.lock().await.recv().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn draining_waits_for_every_guard() {
        let tracker = Tracker::default();
        let (one, two) = (tracker.guard(), tracker.guard());
        let copy = one.clone();
        drop(one);
        drop(copy);
        let mut drained = std::pin::pin!(tracker.drained());
        let now = drained.as_mut().now_or_never();
        assert!(now.is_none(), "one guard is left");
        drop(two);
        drained.await;
    }
}
