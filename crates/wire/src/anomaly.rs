//! What somebody's devices do that is out of the ordinary, and what a clinic does about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AnomalyId, DeviceId, Timestamp, UserId, message::words};

words! {
    /// What is out of the ordinary.
    AnomalyKind {
        /// Many conversations started in a short time.
        ManyConversations = "many_conversations",
        /// Many acts that the rules refuse.
        RepeatedDenials = "repeated_denials",
        /// Many requests for key bundles beyond the limits.
        PrekeyDraining = "prekey_draining",
        /// Many files downloaded in a short time.
        BulkDownloads = "bulk_downloads",
        /// A log-in from a network that the account was not known to come from.
        NewPlace = "new_place",
        /// The account's log-ins have reached their limit: somebody guesses its password.
        PasswordGuessing = "password_guessing",
    }
}

impl AnomalyKind {
    /// Whether it is something the person's own devices did too much of. Only that may cost the person anything:
    /// otherwise whoever guesses at an account, or has its password, could have its owner held up or suspended.
    #[must_use]
    pub const fn is_excess(self) -> bool {
        matches!(
            self,
            Self::ManyConversations | Self::RepeatedDenials | Self::PrekeyDraining | Self::BulkDownloads
        )
    }
}

words! {
    /// What is done about it.
    AnomalyAction {
        /// Nothing, and nobody is told.
        Off = "off",
        /// The clinic's staff and compliance officers are told.
        Flag = "flag",
        /// Also, the person's limits are a tenth for an hour.
        Slow = "slow",
        /// Also, the person's account is suspended.
        Suspend = "suspend",
    }
}

words! {
    /// What a review found.
    AnomalyOutcome {
        /// Nothing is wrong.
        Harmless = "harmless",
        /// The person did what they may not.
        Misuse = "misuse",
        /// Somebody else used the account.
        Compromised = "compromised",
    }
}

words! {
    /// How an anomaly stands.
    AnomalyStatus {
        /// Nobody has closed it: more of the same counts on.
        Open = "open",
        /// It is closed: more of the same is another one.
        Reviewed = "reviewed",
    }
}

/// From when on a clinic sees something as out of the ordinary, and what it does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AnomalyRule {
    /// What is done. `slow` and `suspend` are for what the person's own devices did too much of.
    pub action: AnomalyAction,
    /// How often: 1 to 10000.
    pub count: u32,
    /// Within how many seconds: 60 to 86400.
    pub within_s: u32,
}

/// GET and PUT /api/admin/anomalies/settings/
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AnomalySettings {
    /// The rule of each kind. A kind that a change does not name has the rule of new clinics.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, AnomalyRule>))]
    pub rules: BTreeMap<AnomalyKind, AnomalyRule>,
}

/// Something out of the ordinary. More of the same by the same person counts on until somebody has closed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Anomaly {
    /// It.
    pub anomaly_id: AnomalyId,
    /// Whose account.
    pub user_id: UserId,
    /// What.
    pub kind: AnomalyKind,
    /// The device that did it last. Absent where nobody had logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// How often so far, as far as it was counted.
    pub hits: i64,
    /// What was done, the last time.
    pub action: AnomalyAction,
    /// When it was noticed.
    pub first_at: Timestamp,
    /// When it was counted last.
    pub last_at: Timestamp,
    /// Until when the person's limits are lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowed_until: Option<Timestamp>,
    /// Who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<UserId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_at: Option<Timestamp>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AnomalyOutcome>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// GET /api/admin/anomalies/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AnomalyList {
    /// The newest first.
    pub results: Vec<Anomaly>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// POST /api/admin/anomalies/{anomaly_id}/review/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReviewAnomaly {
    /// What was found.
    pub outcome: AnomalyOutcome,
    /// In words: 1 to 200 characters, without identifiers and diagnoses.
    #[serde(default)]
    pub note: Option<String>,
}

/// `data` of `anomaly_raised`, once for each anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AnomalyRaised {
    /// It.
    pub anomaly_id: AnomalyId,
    /// Whose account.
    pub user_id: UserId,
    /// What.
    pub kind: AnomalyKind,
    /// What was done.
    pub action: AnomalyAction,
    /// When.
    pub at: Timestamp,
}
