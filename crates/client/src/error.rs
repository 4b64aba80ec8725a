//! What can go wrong, and whether trying again can help.

use std::time::Duration;

use libsignal_protocol::SignalProtocolError;
use sigilo_wire::{ErrorBody, ErrorCode, UserId, vault::ScanStatus};

/// The client's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused; the body says why and what to do.
    #[error("{} ({})", .body.message, .body.error)]
    Server {
        /// The HTTP status; 0 for an answer by WebSocket.
        status: u16,
        /// The server's answer.
        body: Box<ErrorBody>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// The hash of what was asked, which a signed refusal must name.
        request_sha256: [u8; 32],
    },
    /// The server could not be reached.
    #[error("the server cannot be reached: {0}")]
    Offline(String),
    /// The server answered with something the contract does not know.
    #[error("the server's answer makes no sense: {0}")]
    Answer(String),
    /// The invitation's text is malformed.
    #[error("this is not an invitation: {0}")]
    Invitation(&'static str),
    /// Without TLS, a server is only spoken to on this machine.
    #[error("{0} is not https: only a server on this machine may be reached without TLS")]
    Insecure(String),
    /// The profile's passphrase or key is another one.
    #[error("the passphrase does not open this profile")]
    WrongPassphrase,
    /// Another process has the profile open; two would break its sessions.
    #[error("another process is using this profile")]
    ProfileInUse,
    /// There is no profile, or its activation has not ended.
    #[error("this profile is not activated")]
    NotActivated,
    /// The profile belongs to another invitation.
    #[error("this profile is already activated")]
    AlreadyActivated,
    /// An earlier attempt at the activation stands in the way; says what to do.
    #[error("the activation does not go on: {0}")]
    Activation(&'static str),
    /// A device cannot be linked; says why.
    #[error("the device is not linked: {0}")]
    Link(&'static str),
    /// What came through the server does not fit what the new device shows. Somebody may be between the two.
    #[error("the device is not linked: {0}. Do not try again over this connection")]
    LinkRefused(String),
    /// Reading or writing the profile failed.
    #[error("the profile cannot be read or written: {0}")]
    Profile(String),
    /// The clinic's root key is not the one of the invitation, or a statement does not verify under it.
    #[error("the clinic's keys do not verify: {0}. Do not go on; compare the root card at the clinic")]
    ClinicKeys(String),
    /// Somebody's published keys do not verify.
    #[error("the keys of {user} do not verify: {problem}")]
    ContactKeys {
        /// Whose keys.
        user: UserId,
        /// What is wrong.
        problem: String,
    },
    /// Somebody's identity key has changed; nothing is sent until the user confirms it.
    #[error("the identity key of {user} has changed; compare safety numbers, then confirm it")]
    IdentityChanged {
        /// Whose.
        user: UserId,
    },
    /// Somebody has not published keys yet.
    #[error("{user} has not activated a device yet")]
    KeysMissing {
        /// Who.
        user: UserId,
    },
    /// A session could not be opened or used.
    #[error("no secure session: {0}")]
    Session(String),
    /// The server's and the device's memory of what this device sent differ.
    #[error("the server's record of this device's messages is not this device's own: {0}")]
    ChainConflict(String),
    /// A repair was tried as often as makes sense.
    #[error("the message could not be repaired: {0}")]
    Unrepairable(String),
    /// The conversation or message is not known here.
    #[error("{0} is not known on this device")]
    Unknown(&'static str),
    /// A file on this device cannot be read or written.
    #[error("the file cannot be read or written: {0}")]
    File(String),
    /// A file still waits for its scan; it opens when it is found clean.
    #[error("the file waits for its scan ({0}); try again later")]
    FileWaits(ScanStatus),
    /// A file is not opened on this device; says why.
    #[error("the file is not opened: {0}")]
    FileRefused(String),
    /// The server offers a scan key that is not the clinic's: nobody gets the file's key.
    #[error("the scan key does not verify: {0}. The file was not sent; tell the clinic")]
    ScanKey(String),
    /// The content cannot be sent.
    #[error("the message cannot be sent: {0}")]
    Content(&'static str),
    /// The device was logged out; log in again.
    #[error("this device is logged out; log in again")]
    LoggedOut,
    /// The client was shut down.
    #[error("the client was shut down")]
    Closed,
    /// A cryptographic step failed that can only fail by a fault of this program.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl Error {
    /// The server's code, when the server refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server { body, .. } => Some(body.error),
            _ => None,
        }
    }

    /// Whether the same act may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Offline(_) => true,
            Self::Server { body, .. } => {
                matches!(body.error, ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::Internal)
            }
            _ => false,
        }
    }

    /// Whether what was being taken in must be left to come again: it may be read later.
    pub(crate) fn is_for_later(&self) -> bool {
        self.is_transient() || matches!(self, Self::LoggedOut | Self::Profile(_))
    }

    /// How long to wait before trying again, when the server said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn internal(problem: impl std::fmt::Display) -> Self {
        Self::Internal(problem.to_string())
    }

    pub(crate) fn contact(user: UserId, problem: impl std::fmt::Display) -> Self {
        Self::ContactKeys { user, problem: problem.to_string() }
    }
}

/// How the stores under libsignal mark a failure of the profile.
pub(crate) const PROFILE: &str = "profile";

impl From<SignalProtocolError> for Error {
    fn from(error: SignalProtocolError) -> Self {
        match error {
            // The stores' own failures (see `sessions::stores`).
            SignalProtocolError::InvalidState(PROFILE, problem) => Self::Profile(problem),
            other => Self::Session(other.to_string()),
        }
    }
}
