//! What people notice of each other while they are there: who is typing, who is online, who was seen when. None of
//! it is an act, and none of it is kept but the last minute somebody was there.

use serde::{Deserialize, Serialize};

use crate::{ConversationId, Timestamp, UserId, message::words};

words! {
    /// Whether somebody is there.
    PresenceStatus {
        /// There.
        Online = "online",
        /// A device is open, nobody is at it.
        Away = "away",
        /// There, and not to be disturbed.
        Busy = "busy",
        /// Not there. Never said by a client: it is what is left when the last socket has closed.
        Offline = "offline",
    }
}

/// What a person lets others notice. Each is mutual: who hides something does not see it of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Privacy {
    /// That they are typing.
    pub show_typing: bool,
    /// Whether they are online, away or busy.
    pub show_presence: bool,
    /// The last minute they were there. While it is hidden it is not stored either.
    pub show_last_seen: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { show_typing: true, show_presence: true, show_last_seen: true }
    }
}

/// What to change of [`Privacy`]; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PrivacyChange {
    /// That they are typing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show_typing: Option<bool>,
    /// Whether they are online, away or busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show_presence: Option<bool>,
    /// The last minute they were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show_last_seen: Option<bool>,
}

impl PrivacyChange {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The settings after the change.
    #[must_use]
    pub fn of(self, before: Privacy) -> Privacy {
        Privacy {
            show_typing: self.show_typing.unwrap_or(before.show_typing),
            show_presence: self.show_presence.unwrap_or(before.show_presence),
            show_last_seen: self.show_last_seen.unwrap_or(before.show_last_seen),
        }
    }
}

/// What the caller may know of somebody's being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Presence {
    /// Whether they are there; absent where one of the two hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PresenceStatus>,
    /// The last minute they were known to be there; absent where one of the two hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
}

/// `data` of a `typing` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// Whether the user is typing now.
    pub typing: bool,
}

/// `data` of a `status` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// `online`, `away` or `busy`.
    pub status: PresenceStatus,
}

/// `data` of `typing_indicator`. Good for six seconds unless it is said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TypingIndicator {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
    /// Whether they are typing now.
    pub typing: bool,
}

/// `data` of `user_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserStatus {
    /// Who.
    pub user_id: UserId,
    /// Whether they are there, over all their devices.
    pub status: PresenceStatus,
    /// Of somebody who has just left: the minute, where both show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
}
