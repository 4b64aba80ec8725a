//! Who a person is in a clinic.

use serde::{Deserialize, Serialize};

/// A person's role in their clinic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A patient of the clinic.
    Patient,
    /// Any clinician.
    Doctor,
    /// Clinic staff: people, metadata, audit; content only in administrative conversations they take part in.
    Admin,
    /// Abuse reports and quarantine; never also admin.
    Moderator,
    /// Retention, holds, exports, break-glass review.
    Compliance,
    /// Integrations and assistants.
    Service,
}

impl Role {
    /// All roles, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Patient, Self::Doctor, Self::Admin, Self::Moderator, Self::Compliance, Self::Service];

    /// The word used in JSON, on the command line and in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Doctor => "doctor",
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Compliance => "compliance",
            Self::Service => "service",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            format!("'{text}' is not a role: patient, doctor, admin, moderator, compliance, service")
        })
    }
}
