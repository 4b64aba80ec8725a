//! Break-glass: a clinician who does not treat a patient talks to them all the same, for some hours.

use serde::{Deserialize, Serialize};

use crate::{BreakGlassId, Timestamp, UserId, message::words};

words! {
    /// Why.
    BreakGlassReason {
        /// The patient needs treatment now.
        EmergencyTreatment = "emergency_treatment",
        /// Covers for the colleague who treats the patient.
        OnCallCover = "on_call_cover",
        /// A colleague asked for advice.
        SecondOpinion = "second_opinion",
        /// The patient is in danger, or endangers others.
        PatientSafety = "patient_safety",
    }
}

words! {
    /// What compliance found.
    BreakGlassFinding {
        /// It was right.
        Justified = "justified",
        /// It was not.
        Unjustified = "unjustified",
        /// It was right, and something must change.
        FollowUp = "follow_up",
    }
}

/// POST /api/chat/break-glass/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenBreakGlass {
    /// Which patient.
    pub patient_id: UserId,
    /// Why.
    pub reason: BreakGlassReason,
    /// Why, in words: 1 to 200 characters, without identifiers and diagnoses.
    pub text: String,
}

/// A use of break-glass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BreakGlass {
    /// The use.
    pub break_glass_id: BreakGlassId,
    /// Who.
    pub clinician_id: UserId,
    /// Which patient.
    pub patient_id: UserId,
    /// Why.
    pub reason: BreakGlassReason,
    /// Why, in words. Not told to the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When.
    pub opened_at: Timestamp,
    /// From when the two are as they were before.
    pub expires_at: Timestamp,
    /// Who reviewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<UserId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_at: Option<Timestamp>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<BreakGlassFinding>,
}

/// POST /api/compliance/break-glass/{break_glass_id}/close/
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloseBreakGlass {
    /// What was found.
    pub finding: BreakGlassFinding,
}

/// GET and PUT /api/admin/break-glass/settings/
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BreakGlassSettings {
    /// How long a use lasts, in seconds: 600 to 86400.
    pub break_glass_s: u32,
}

/// GET /api/compliance/break-glass/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BreakGlassList {
    /// Those that wait for their review, oldest first; with `closed=true`, the closed ones, newest first.
    pub results: Vec<BreakGlass>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
