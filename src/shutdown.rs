//! How the server stops: first it drains (nothing new, what is under way ends, sockets close), then it stops.

use tokio::sync::watch;

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
