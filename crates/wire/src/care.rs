//! Who treats whom: care relationships, and the care teams that make some of them.
//!
//! A care team is FHIR R4's CareTeam (<https://hl7.org/fhir/R4/careteam.html>): clinicians who plan to take part in
//! the care of its subjects, each for a period. One of a single patient is made for that patient; a standing one has
//! patients assigned to it.

use serde::{Deserialize, Serialize};

use crate::{CareTeamId, RelationshipId, Timestamp, UserId, message::words};

words! {
    /// What makes a care relationship.
    CareSource {
        /// An appointment that was not called off.
        Appointment = "appointment",
        /// The clinician is in a care team, and the patient is assigned to it.
        CareTeam = "care_team",
        /// A decision of the clinic's staff.
        Grant = "grant",
        /// The clinician broke the glass.
        BreakGlass = "break_glass",
    }
}

words! {
    /// Why the clinic's staff say that a clinician treats a patient.
    GrantReason {
        /// Their appointment is in no system that is imported.
        AppointmentElsewhere = "appointment_elsewhere",
        /// A colleague has referred the patient.
        Referral = "referral",
        /// Covers for the colleague who treats the patient.
        Cover = "cover",
        /// A colleague asked for advice.
        SecondOpinion = "second_opinion",
        /// Plans the patient's care with others, or follows up on it.
        CareCoordination = "care_coordination",
    }
}

/// POST /api/admin/relationships/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantRelationship {
    /// The patient.
    pub patient_id: UserId,
    /// The clinician.
    pub clinician_id: UserId,
    /// Why.
    pub reason: GrantReason,
    /// Why, in words: 1 to 200 characters, without identifiers and diagnoses.
    pub text: String,
    /// When it ends: to come, and at most 366 days from now.
    pub expires_at: Timestamp,
}

/// A care relationship, for those who manage them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Relationship {
    /// The relationship.
    pub id: RelationshipId,
    /// `care`.
    pub kind: String,
    /// The patient.
    pub patient_id: UserId,
    /// Their name.
    pub patient_name: String,
    /// The clinician.
    pub clinician_id: UserId,
    /// Their name.
    pub clinician_name: String,
    /// What makes it.
    pub source: CareSource,
    /// The team, of a `care_team`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub care_team_id: Option<CareTeamId>,
    /// Why, of a `grant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<GrantReason>,
    /// Why, in words, of a `grant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// From when it counts, when not from the first moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When it ends by itself, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Which of the two have blocked the other: then nothing passes between them, whatever stands here.
    pub blocked_by: Vec<UserId>,
}

/// GET /api/admin/relationships/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelationshipList {
    /// Oldest first, those that have ended among them.
    pub results: Vec<Relationship>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// What a revocation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokedRelationships {
    /// The patient.
    pub patient_id: UserId,
    /// The clinician.
    pub clinician_id: UserId,
    /// The relationships that stood until now.
    pub relationships: Vec<RelationshipId>,
    /// How many conversations take no new messages between the two.
    pub conversations: usize,
}

/// POST /api/admin/care-teams/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCareTeam {
    /// What the clinic calls it: 1 to 200 characters, without identifiers and diagnoses.
    pub name: String,
}

/// From when to when somebody is in a care team: half-open, in instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CarePeriod {
    /// The first instant; absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The instant before which it ends; absent: until they are taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

/// A clinician of a care team, or a patient assigned to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CareTeamMember {
    /// Who.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when, if that is known.
    pub ends_at: Option<Timestamp>,
}

/// A care team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CareTeam {
    /// The team.
    pub care_team_id: CareTeamId,
    /// What the clinic calls it.
    pub name: String,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Its clinicians, at most 50.
    pub clinicians: Vec<CareTeamMember>,
    /// The patients assigned to it, at most 2,000.
    pub patients: Vec<CareTeamMember>,
}

/// A care team, without its people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CareTeamSummary {
    /// The team.
    pub care_team_id: CareTeamId,
    /// What the clinic calls it.
    pub name: String,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// How many clinicians it has.
    pub clinicians: i64,
    /// How many patients are assigned to it.
    pub patients: i64,
}

/// GET /api/admin/care-teams/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CareTeamList {
    /// Oldest first, those that have ended among them.
    pub results: Vec<CareTeamSummary>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
