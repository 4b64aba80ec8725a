//! The emergency channel: who is on call, and what becomes of a patient's call.

use serde::{Deserialize, Serialize};

use crate::{ConversationId, ShiftId, Timestamp, UserId, conversation::Conversation, message::words};

words! {
    /// What an emergency is about, as the patient sees it. The server reads this word and nothing more.
    EmergencyCategory {
        /// A symptom that frightens.
        Symptoms = "symptoms",
        /// A medicine: its effects, a wrong dose.
        Medication = "medication",
        /// After an operation or treatment.
        AfterTreatment = "after_treatment",
        /// Mental health.
        MentalHealth = "mental_health",
        /// Pregnancy and birth.
        Pregnancy = "pregnancy",
        /// An injury.
        Injury = "injury",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// How soon somebody must look.
    EmergencyUrgency {
        /// Today.
        Urgent = "urgent",
        /// Now.
        Immediate = "immediate",
    }
}

words! {
    /// How far an emergency has come.
    EmergencyState {
        /// Nobody has acknowledged it.
        Open = "open",
        /// A clinician has.
        Acknowledged = "acknowledged",
        /// It is over.
        Closed = "closed",
    }
}

words! {
    /// How an emergency ended.
    EmergencyOutcome {
        /// Advice was enough.
        Advised = "advised",
        /// The clinic sees the patient.
        Appointment = "appointment",
        /// The patient was sent to a hospital.
        Referred = "referred",
        /// An ambulance was called.
        Ambulance = "ambulance",
        /// The patient could not be reached.
        NotReached = "not_reached",
        /// It was no emergency.
        NoEmergency = "no_emergency",
    }
}

/// POST /api/chat/emergency/
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenEmergency {
    /// What it is about.
    pub category: EmergencyCategory,
    /// How soon somebody must look.
    pub urgency: EmergencyUrgency,
}

/// POST /api/chat/emergency/{conversation_id}/close/
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloseEmergency {
    /// How it ended.
    pub outcome: EmergencyOutcome,
}

/// POST /api/chat/emergency/{conversation_id}/escalate/
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EscalateEmergency {
    /// The last tier called, as the caller sees it: when another was called since, nothing happens. Absent: the next,
    /// whichever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_tier: Option<u32>,
}

/// Somebody on call in an emergency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnCallMember {
    /// Who.
    pub user_id: UserId,
    /// Their tier, from 1.
    pub tier: u32,
}

/// An emergency, without what is said in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Emergency {
    /// Its conversation, of type `emergency`.
    pub conversation_id: ConversationId,
    /// Whose.
    pub patient_id: UserId,
    /// What it is about.
    pub category: EmergencyCategory,
    /// How soon somebody must look.
    pub urgency: EmergencyUrgency,
    /// How far it has come.
    pub state: EmergencyState,
    /// Everybody who was on call when it was opened; those of tiers above `tier` are not called yet.
    pub on_call: Vec<OnCallMember>,
    /// The last tier that was called; 0 when nobody was on call.
    pub tier: u32,
    /// How many tiers there are.
    pub tiers: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When the next tier is called unless somebody acknowledges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
    /// Who acknowledged it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<UserId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// Who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<UserId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<EmergencyOutcome>,
    /// For staff: the patient's fourth or later within 24 hours.
    #[serde(default)]
    pub flagged: bool,
}

/// The answer to POST /api/chat/emergency/.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenedEmergency {
    /// The emergency. When `tiers` is 0 nobody is on call: dial the number.
    pub emergency: Emergency,
    /// Its conversation: make the record seal and the envelopes for everybody in it, also for those who wait.
    pub conversation: Conversation,
    /// The number to dial, whatever the clinic answers.
    pub emergency_number: String,
}

/// GET /api/admin/emergencies/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmergencyList {
    /// The newest first.
    pub results: Vec<Emergency>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// `data` of the emergency's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmergencyEvent {
    /// The emergency's conversation: of those who take part only. Staff see no more than this event.
    pub emergency_id: ConversationId,
    /// What it is about.
    pub category: EmergencyCategory,
    /// How soon somebody must look.
    pub urgency: EmergencyUrgency,
    /// How far it has come.
    pub state: EmergencyState,
    /// The last tier that was called; 0 when nobody is on call.
    pub tier: u32,
    /// How many tiers there are.
    pub tiers: u32,
    /// Nobody has acknowledged, and nobody is left to call.
    #[serde(default)]
    pub exhausted: bool,
    /// How it ended, when it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<EmergencyOutcome>,
}

/// POST /api/admin/on-call/
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewShift {
    /// The clinician.
    pub user_id: UserId,
    /// Whom to call first: 1 to 5.
    pub tier: u32,
    /// From this instant on; absent: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until before this instant; absent: until the shift is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A shift of the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shift {
    /// The shift.
    pub shift_id: ShiftId,
    /// The clinician.
    pub user_id: UserId,
    /// Whom to call first.
    pub tier: u32,
    /// From this instant on.
    pub from: Timestamp,
    /// Until before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// GET /api/admin/on-call/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Roster {
    /// The shifts that have not ended, in order of their beginning.
    pub shifts: Vec<Shift>,
    /// Who would be called now.
    pub on_call_now: Vec<OnCallMember>,
    /// Who has a shift now and could not be called: no account, or no device with keys.
    pub unreachable_now: Vec<UserId>,
    /// How long each tier has to acknowledge, in seconds.
    pub escalate_after_s: u32,
}

/// PUT /api/admin/on-call/
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetEscalation {
    /// How long each tier has to acknowledge, in seconds: 60 to 3600. For emergencies opened from now on.
    pub escalate_after_s: u32,
}
